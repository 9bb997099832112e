"""Enumerations that the allow-list knows by word.

A value outside its set says something only its writer knows, and may say it about a person: it is kept as `other` or as
a keyed hash, and in full only as redacted text.
"""

from __future__ import annotations

from typing import Final

FINISH_REASONS: Final = frozenset(
    "stop length tool_calls tool_use function_call content_filter end_turn max_tokens stop_sequence safety recitation "
    "refusal pause_turn error cancelled incomplete completed timeout".split()
)

ERROR_TYPES: Final = frozenset(
    "timeout rate_limited RateLimitError APITimeoutError Timeout TimeoutError ReadTimeout ConnectTimeout "
    "APIConnectionError ConnectionError ConnectError APIError APIStatusError APIResponseValidationError "
    "InternalServerError BadRequestError AuthenticationError PermissionDeniedError NotFoundError ConflictError "
    "UnprocessableEntityError OverloadedError ServiceUnavailableError ContentPolicyViolationError "
    "ContextWindowExceededError BudgetExceededError ValueError TypeError KeyError RuntimeError JSONDecodeError "
    "ValidationError CancelledError overloaded_error rate_limit_error invalid_request_error authentication_error "
    "permission_error not_found_error api_error server_error insufficient_quota context_length_exceeded "
    "content_filter _OTHER".split()
)

# Names and labels of evaluations and feedback.
JUDGEMENTS: Final = frozenset(
    "accuracy correctness faithfulness groundedness relevance answer_relevance context_relevance context_recall "
    "hallucination helpfulness coherence fluency conciseness toxicity safety bias sentiment similarity exact_match f1 "
    "rouge bleu pass fail good bad neutral positive negative safe unsafe correct incorrect yes no up down".split()
)

OPERATIONS: Final = frozenset(
    "chat generate_content text_completion embeddings retrieval execute_tool create_agent invoke_agent "
    "invoke_workflow plan".split()
)

# Sampling parameters that are numbers; any other parameter may hold text and is dropped.
PARAMETERS: Final = frozenset(
    "temperature top_p top_k max_tokens max_output_tokens max_completion_tokens frequency_penalty presence_penalty "
    "seed n choice_count logprobs top_logprobs".split()
)

# Words of the providers' message shapes, as keys or values: structure, not content.
STRUCTURE: Final = frozenset(
    "role content type text name arguments input output function tool tool_calls tool_call_id id parts parameters "
    "result user assistant system developer model tool_use tool_result tool_use_id function_call image image_url "
    "input_text output_text url source media_type data index message thinking reasoning is_error json".split()
)
