"""The event that applications send (`tokentrail.event.v1`): one JSON object a record, one record a call.

The struct is both contract and decoder. Wrong types and impossible numbers are refused here; what may be *kept* of a
field is decided later, by the allow-list in `pipeline.intake`. Unknown fields are accepted by the decoder and dropped
there. Text may be any JSON, because providers' message shapes differ; the walk over it is `pipeline.intake.messages`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=10**12)]
DurationMs = Annotated[float, Meta(ge=0, le=10**10)]
Money = Annotated[float, Meta(ge=0, le=10**9)]
Name = Annotated[str, Meta(min_length=1, max_length=1024)]

Kind = Literal["call", "feedback", "evaluation", "canary", "heartbeat", "tick"]
Status = Literal["ok", "error", "refused", "filtered", "timeout", "rate_limited", "blocked"]
ContentMode = Literal["full", "hash", "none"]


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call; the totals include their parts (OpenTelemetry GenAI)."""

    input: Count | None = None
    cached: Count | None = None
    cache_write: Count | None = None
    output: Count | None = None
    reasoning: Count | None = None


class Error(msgspec.Struct, frozen=True):
    """How a call failed."""

    type: str | None = None
    code: str | int | None = None
    message: str | None = None
    http_status: Annotated[int, Meta(ge=0, le=999)] | None = None
    retry_after_s: DurationMs | None = None


class Guardrail(msgspec.Struct, frozen=True):
    """One guardrail's verdict."""

    name: Name
    triggered: bool = False


class ToolCall(msgspec.Struct, frozen=True):
    """One tool call the model asked for; the result often arrives only in the next call's input."""

    name: str | None = None
    arguments: Any = None
    result: Any = None
    id: str | None = None


class Evaluation(msgspec.Struct, frozen=True):
    """A score for an earlier call."""

    name: str | None = None
    score: Annotated[float, Meta(ge=-(10**9), le=10**9)] | None = None
    label: str | None = None
    call: str | None = None


class Feedback(msgspec.Struct, frozen=True):
    """What a person said of an earlier call."""

    rating: Annotated[float, Meta(ge=-(10**6), le=10**6)] | None = None
    label: str | None = None
    comment: str | None = None
    outcome: str | None = None
    call: str | None = None


class Retrieval(msgspec.Struct, frozen=True):
    """What a retrieval step brought into the prompt."""

    requested: Count | None = None
    hits: Count | None = None
    sources: list[str] | None = None


class ProducerInfo(msgspec.Struct, frozen=True):
    """Which producer instance sent the event; a gap in `sequence` is a loss."""

    id: str | None = None
    sequence: Count | None = None
    library: str | None = None


class Heartbeat(msgspec.Struct, frozen=True):
    """What a producer instance has done so far."""

    emitted: Count = 0
    delivered: Count = 0
    refused: Count = 0
    dropped: Count = 0
    last_sequence: Annotated[int, Meta(ge=-1)] | None = None
    controls_position: int | None = None
    closing: bool = False


class Cut(msgspec.Struct, frozen=True):
    """A text that the producer shortened: where, how long it was, and its keyed hash."""

    path: str
    length: Count
    hash: str


class Event(msgspec.Struct, frozen=True):
    """One event. Only `tenant` is required; what a producer does not know stays out.

    `ts` is milliseconds since 1970 in UTC, by the producer's clock: data, never trusted for retention.
    """

    tenant: Name
    kind: Kind = "call"
    id: str | None = None
    ts: Annotated[int, Meta(ge=0)] | None = None
    # who
    environment: str | None = None
    team: str | None = None
    service: str | None = None
    feature: str | None = None
    user: str | None = None
    session: str | None = None
    run: str | None = None
    step: Count | None = None
    parent: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    # what
    provider: str | None = None
    model: str | None = None
    response_model: str | None = None
    operation: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    variant: str | None = None
    parameters: dict[str, Any] | None = None
    streaming: bool | None = None
    # text
    input: Any = None
    output: Any = None
    tool_calls: list[ToolCall] | None = None
    prompt_size_bytes: Count | None = None
    content: ContentMode = "full"
    cut: list[Cut] | None = None
    # numbers
    usage: Usage | None = None
    latency_ms: DurationMs | None = None
    ttft_ms: DurationMs | None = None
    retries: Count | None = None
    cache_hit: bool | None = None
    cost_usd: Money | None = None
    # how it ended
    status: Status = "ok"
    finish_reason: str | None = None
    error: Error | None = None
    guardrails: list[Guardrail] | None = None
    schema_valid: bool | None = None
    output_label: str | None = None
    # quality
    evaluation: Evaluation | None = None
    feedback: Feedback | None = None
    retrieval: Retrieval | None = None
    # origin
    producer: ProducerInfo | None = None
    tags: dict[str, str] | None = None
    backfill: bool = False
    heartbeat: Heartbeat | None = None


__all__ = [
    "ContentMode",
    "Cut",
    "Error",
    "Evaluation",
    "Event",
    "Feedback",
    "Guardrail",
    "Heartbeat",
    "Kind",
    "ProducerInfo",
    "Retrieval",
    "Status",
    "ToolCall",
    "Usage",
]
