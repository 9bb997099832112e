"""OpenTelemetry GenAI semantic conventions, name by name, for the fields of our event.

Attribute names as of the conventions' development status; what they have no name for (tenant, feature, cost, loops) is
ours alone and absent here.
"""

from __future__ import annotations

from typing import Final

# Our field (a dot goes into a nested object) -> the attribute of a GenAI span or event.
ATTRIBUTES: Final[dict[str, str]] = {
    "operation": "gen_ai.operation.name",
    "provider": "gen_ai.provider.name",
    "model": "gen_ai.request.model",
    "response_model": "gen_ai.response.model",
    "session": "gen_ai.conversation.id",
    "prompt_name": "gen_ai.prompt.name",
    "streaming": "gen_ai.request.stream",
    "parameters.temperature": "gen_ai.request.temperature",
    "parameters.top_p": "gen_ai.request.top_p",
    "parameters.top_k": "gen_ai.request.top_k",
    "parameters.max_tokens": "gen_ai.request.max_tokens",
    "parameters.seed": "gen_ai.request.seed",
    "parameters.frequency_penalty": "gen_ai.request.frequency_penalty",
    "parameters.presence_penalty": "gen_ai.request.presence_penalty",
    "usage.input": "gen_ai.usage.input_tokens",
    "usage.output": "gen_ai.usage.output_tokens",
    "usage.cached": "gen_ai.usage.cache_read.input_tokens",
    "usage.cache_write": "gen_ai.usage.cache_write.input_tokens",
    "usage.reasoning": "gen_ai.usage.reasoning.output_tokens",
    "finish_reason": "gen_ai.response.finish_reasons",
    "error.type": "error.type",
    "error.http_status": "http.response.status_code",
    "input": "gen_ai.input.messages",
    "output": "gen_ai.output.messages",
    "tool_calls.name": "gen_ai.tool.name",
    "tool_calls.arguments": "gen_ai.tool.call.arguments",
    "tool_calls.result": "gen_ai.tool.call.result",
    "evaluation.name": "gen_ai.evaluation.name",
    "evaluation.score": "gen_ai.evaluation.score.value",
    "evaluation.label": "gen_ai.evaluation.score.label",
    "environment": "deployment.environment.name",
    "service": "service.name",
    "user": "user.id",
}
