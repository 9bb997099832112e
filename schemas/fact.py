"""The fact (`tokentrail.fact.v1`): what `measure` says of one raw record, one to one, without a byte of its text.

Numbers, enumerations, readable identifiers, keyed hashes and loop fingerprints. Every raw record gives exactly one
fact: a bad one gives a `stub`, positions that Kafka proves to be gone give one `gap` that stands for all of them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.position import Position

RecordType = Literal["call", "feedback", "evaluation", "canary", "heartbeat", "tick", "stub", "gap"]
CostSource = Literal["reported", "computed", "unknown", "none"]


class Shape(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """What a text is like, for near repeats: numbers and keyed bits, from which no text can be read.

    Attributes:
        high: Texts that share most of their words differ in few of these 64 bits (`pipeline.detection.words`); 0 where
            there are no words.
        low: 32 bits more.
        words: How many different words of content it has, at most 127.
        numbers: How many numbers, identifiers and paths, at most 127.
        levels: Its first numbers, each shifted by a secret of the tenant and modulo 65,536: of two of them only the
            difference means something, so that a counter that gets on can be seen.
        tag: 16 keyed bits of the names of the tools.
        told: Keyed bits of the identifiers in it that the model had been told before, one of 32 bits for each: which
            item of a list it is about. 0 where it names none.
        made_up: Whether it holds identifiers of which the model had been told none, although the input shows what it
            was told.
        writes: Whether a tool changes something, by its name.
    """

    high: int = 0
    low: int = 0
    words: int = 0
    numbers: int = 0
    levels: tuple[int, ...] = ()
    tag: int = 0
    told: int = 0
    made_up: bool = False
    writes: bool = False


class Loop(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Keyed fingerprints made before redaction, so that loops are seen without text.

    Attributes:
        actions: One hash for each tool call of this call, over its name and canonicalised arguments, in order.
        results: One hash for each tool result this call brought, in order.
        own_results: True when they are results of these `actions` (inline); False when they came at the tail of `input`
            and so belong to the call before.
        output: Hash of the canonicalised output text.
        input_tail: Hash of the last message of the input, canonicalised.
        tool_errors: How many of those results look like errors.
        input_messages: How many messages the input held.
        asked: The actions whose `results` came at the tail of `input`, where the input shows them too. With them a step
            is whole in one call, in whatever order the calls of several processes arrive.
        action_shape: Of all `actions` together.
        asked_shape: Of all `asked` together.
        result_shape: Of all `results` together.
        output_shape: Of the output text; only where no tools are used.
        tail_shape: Of the last message of the input; only where no tools are used.
        tail_role: Who said that message: `user`, `assistant` or `other`; only where no tools are used.
        answer_words: Keyed hashes of some words of the results, or of the output where no tools are used: the smallest
            of all, so that those of many answers show how many of their words are new; 16 bits each.
    """

    actions: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    own_results: bool = False
    output: str | None = None
    input_tail: str | None = None
    tool_errors: int = 0
    input_messages: int = 0
    asked: tuple[str, ...] = ()
    action_shape: Shape | None = None
    asked_shape: Shape | None = None
    result_shape: Shape | None = None
    output_shape: Shape | None = None
    tail_shape: Shape | None = None
    tail_role: Literal["", "user", "assistant", "other"] = ""
    answer_words: tuple[int, ...] = ()


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="schema", tag="tokentrail.fact.v1"):
    """One fact.

    `received_at` and `ts` are milliseconds since 1970 (the broker's append time; the producer's clock). `event_ms`,
    which windows and watermarks use, is min(ts, received_at). Money is integer nano-dollars; None is an unknown price,
    never 0.

    `first` is the offset at which the range began that this record was made in: all before it had been delivered when
    the range was begun, so a stage resumes at the `first` of the last record in its output.

    `guardrails` names those that were triggered. `error_words` are keyed hashes: of the error's message without what
    varies in it, and then of each of its words (`*` for what was taken out), so that templates are found without text.
    `refusal`, `language`, `length_bucket` and `topics` (`topic_bucket` is the first of them) are derived from text: see
    `pipeline.intake.shapes`.
    """

    type: RecordType
    position: Position
    first: int
    received_at: int
    ts: int
    tenant: str = ""
    gap_last: int | None = None
    reason: str | None = None
    backfill: bool = False
    # readable identifiers
    environment: str | None = None
    team: str | None = None
    service: str | None = None
    feature: str | None = None
    provider: str | None = None
    model: str | None = None
    response_model: str | None = None
    operation: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    variant: str | None = None
    output_label: str | None = None
    # keyed hashes
    id: str | None = None
    run: str | None = None
    user: str | None = None
    session: str | None = None
    trace: str | None = None
    # numbers
    step: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    retries: int | None = None
    cache_hit: bool | None = None
    streaming: bool | None = None
    prompt_size_bytes: int | None = None
    output_chars: int | None = None
    # how it ended
    status: str = "ok"
    finish_reason: str | None = None
    error_type: str | None = None
    http_status: int | None = None
    retry_after_s: float | None = None
    schema_valid: bool | None = None
    guardrails_triggered: int | None = None
    guardrails: tuple[str, ...] = ()
    refusal: bool | None = None
    error_words: tuple[str, ...] = ()
    # money
    cost_nano_usd: int | None = None
    list_cost_nano_usd: int | None = None
    cost_source: CostSource = "none"
    price_version: str | None = None
    # quality
    score: float | None = None
    rating: float | None = None
    evaluation_name: str | None = None
    label: str | None = None
    about: str | None = None
    retrieval_requested: int | None = None
    retrieval_hits: int | None = None
    # shifts and loops
    language: str | None = None
    length_bucket: int | None = None
    topic_bucket: int | None = None
    topics: tuple[int, ...] = ()
    loop: Loop | None = None

    @property
    def next_offset(self) -> int:
        """The source offset that must follow this record."""
        return (self.position.offset if self.gap_last is None else self.gap_last) + 1

    @property
    def event_ms(self) -> int:
        """Event time for windows and watermarks: the producer's clock, but never ahead of the broker's."""
        return min(self.ts, self.received_at)
