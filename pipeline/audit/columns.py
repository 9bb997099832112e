"""What stands in the rows of each table that ranges put rows into, column by column, in the order of `TABLES`.

By columns and not by rows, because a list of one field of ten thousand records costs a fraction of as many tuples, and
columns are what ClickHouse takes. Pure, and the same at every repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pipeline.audit.leaves import NO_COMMITMENT, commitments, salts
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Dead, HeartbeatCounts, Producer, Replay
from schemas.fact import Fact, Loop
from schemas.position import Position

# One sequence of values a column, all but the seal.
Columns = list[Sequence[Any]]
# Commitments to texts by source offset; a record without text has none.
Bound = Mapping[int, bytes]

# Whose records may have a row in `call_content` too.
WITH_TEXT: Final = ("calls", "evaluations", "feedback")

_NO_PRODUCER: Final = Producer()
_NO_LOOP: Final = Loop()
_NO_CONTENT: Final = Content()
_NO_BEAT: Final = HeartbeatCounts()
_NO_REPLAY: Final = Replay(Position(0, 0, 0), 0)


def columns(table: str, life: int, cleans: Sequence[Clean], keys: Keys, bound: Bound) -> Columns:
    """The rows of records in one table, in their order.

    Args:
        table: One that each of them has a row in.
        life: For how many days it keeps them.
        cleans: Records.
        keys: For the salts of texts.
        bound: Commitments to texts, which the rows of `call_content` have in their column `commitment`.
    """
    facts = [clean.fact for clean in cleans]
    positions = [fact.position for fact in facts]
    identity: Columns = [
        [position.epoch for position in positions],
        [position.partition for position in positions],
        [position.offset for position in positions],
        [fact.tenant for fact in facts],
        [fact.received_at for fact in facts],
        [life] * len(cleans),
    ]
    if table == "call_content":
        return identity + _contents(cleans, facts, keys)
    commitments = [bound.get(offset, NO_COMMITMENT) for offset in identity[2]] if table in WITH_TEXT else []
    return identity + _FURTHER[table](cleans, facts, commitments)


def _contents(cleans: Sequence[Clean], facts: Sequence[Fact], keys: Keys) -> Columns:
    texts = [clean.content or _NO_CONTENT for clean in cleans]
    inputs = [text.input for text in texts]
    outputs = [text.output for text in texts]
    tool_calls = [text.tool_calls for text in texts]
    others = [text.other for text in texts]
    grains = salts(keys, ((clean.fact.tenant, clean.stamp.keys, clean.fact.position) for clean in cleans))
    return [
        [fact.id or "" for fact in facts],
        commitments(zip(grains, inputs, outputs, tool_calls, others, strict=True)),
        grains,
        inputs,
        outputs,
        tool_calls,
        others,
    ]


def _calls(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    stamps = [clean.stamp for clean in cleans]
    producers = [clean.producer or _NO_PRODUCER for clean in cleans]
    loops = [fact.loop or _NO_LOOP for fact in facts]
    return [
        [fact.id or "" for fact in facts],
        [fact.type for fact in facts],
        [fact.ts for fact in facts],
        [fact.backfill for fact in facts],
        [fact.environment or "" for fact in facts],
        [fact.team or "" for fact in facts],
        [fact.service or "" for fact in facts],
        [fact.feature or "" for fact in facts],
        [fact.run or "" for fact in facts],
        [fact.step for fact in facts],
        [fact.user or "" for fact in facts],
        [fact.session or "" for fact in facts],
        [fact.trace or "" for fact in facts],
        [clean.span or "" for clean in cleans],
        [clean.parent or "" for clean in cleans],
        [fact.provider or "" for fact in facts],
        [fact.model or "" for fact in facts],
        [fact.response_model or "" for fact in facts],
        [fact.operation or "" for fact in facts],
        [fact.prompt_name or "" for fact in facts],
        [fact.prompt_version or "" for fact in facts],
        [fact.variant or "" for fact in facts],
        [clean.parameters for clean in cleans],
        [fact.streaming for fact in facts],
        [fact.input_tokens for fact in facts],
        [fact.cached_tokens for fact in facts],
        [fact.cache_write_tokens for fact in facts],
        [fact.output_tokens for fact in facts],
        [fact.reasoning_tokens for fact in facts],
        [fact.latency_ms for fact in facts],
        [fact.ttft_ms for fact in facts],
        [fact.retries for fact in facts],
        [fact.cache_hit for fact in facts],
        [fact.prompt_size_bytes for fact in facts],
        [fact.output_chars for fact in facts],
        [loop.input_messages for loop in loops],
        [fact.status for fact in facts],
        [fact.finish_reason or "" for fact in facts],
        [fact.error_type or "" for fact in facts],
        [fact.http_status for fact in facts],
        [fact.retry_after_s for fact in facts],
        [fact.schema_valid for fact in facts],
        [fact.output_label or "" for fact in facts],
        [fact.refusal for fact in facts],
        [fact.guardrails for fact in facts],
        [fact.guardrails_triggered for fact in facts],
        [clean.tool_names for clean in cleans],
        [loop.tool_errors for loop in loops],
        [clean.tag_keys for clean in cleans],
        [fact.retrieval_requested for fact in facts],
        [fact.retrieval_hits for fact in facts],
        [clean.sources for clean in cleans],
        [fact.cost_nano_usd for fact in facts],
        [fact.list_cost_nano_usd for fact in facts],
        [fact.cost_source for fact in facts],
        [fact.price_version or "" for fact in facts],
        [fact.language or "" for fact in facts],
        [fact.length_bucket for fact in facts],
        [fact.topic_bucket for fact in facts],
        [clean.content_mode for clean in cleans],
        bound,
        [stamp.text_days for stamp in stamps],
        [clean.redactions for clean in cleans],
        [clean.redaction_failures for clean in cleans],
        [clean.dropped_fields for clean in cleans],
        [stamp.policy for stamp in stamps],
        [stamp.redaction for stamp in stamps],
        [stamp.keys for stamp in stamps],
        [producer.instance or "" for producer in producers],
        [producer.sequence for producer in producers],
        [producer.library or "" for producer in producers],
    ]


def _dead_letters(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    producers = [clean.producer or _NO_PRODUCER for clean in cleans]
    deads = [clean.dead or Dead(clean.fact.reason or "unknown") for clean in cleans]
    return [
        [dead.reason for dead in deads],
        [dead.path for dead in deads],
        [dead.size_bytes for dead in deads],
        [dead.hash for dead in deads],
        [producer.instance or "" for producer in producers],
        [producer.sequence for producer in producers],
    ]


def _replays(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    replays = [clean.replay or _NO_REPLAY for clean in cleans]
    return [
        [replay.of.epoch for replay in replays],
        [replay.of.partition for replay in replays],
        [replay.of.offset for replay in replays],
        [replay.received_at for replay in replays],
    ]


def _judgements(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes], verdict: Columns) -> Columns:
    """Rows of `evaluations` or `feedback`, which differ in `verdict` only."""
    stamps = [clean.stamp for clean in cleans]
    producers = [clean.producer or _NO_PRODUCER for clean in cleans]
    return [
        [fact.id or "" for fact in facts],
        [fact.ts for fact in facts],
        [fact.backfill for fact in facts],
        [fact.environment or "" for fact in facts],
        [fact.team or "" for fact in facts],
        [fact.service or "" for fact in facts],
        [fact.feature or "" for fact in facts],
        [fact.model or "" for fact in facts],
        [fact.prompt_name or "" for fact in facts],
        [fact.prompt_version or "" for fact in facts],
        [fact.variant or "" for fact in facts],
        [fact.run or "" for fact in facts],
        [fact.user or "" for fact in facts],
        [fact.session or "" for fact in facts],
        [fact.trace or "" for fact in facts],
        [fact.about or "" for fact in facts],
        *verdict,
        [fact.label or "" for fact in facts],
        bound,
        [stamp.text_days for stamp in stamps],
        [stamp.policy for stamp in stamps],
        [stamp.redaction for stamp in stamps],
        [stamp.keys for stamp in stamps],
        [producer.instance or "" for producer in producers],
        [producer.sequence for producer in producers],
    ]


def _evaluations(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    verdict: Columns = [[fact.evaluation_name or "" for fact in facts], [fact.score for fact in facts]]
    return _judgements(cleans, facts, bound, verdict)


def _feedback(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    return _judgements(cleans, facts, bound, [[fact.rating for fact in facts]])


def _heartbeats(cleans: Sequence[Clean], facts: Sequence[Fact], bound: Sequence[bytes]) -> Columns:
    producers = [clean.producer or _NO_PRODUCER for clean in cleans]
    beats = [clean.heartbeat or _NO_BEAT for clean in cleans]
    return [
        [fact.id or "" for fact in facts],
        [fact.ts for fact in facts],
        [fact.environment or "" for fact in facts],
        [fact.service or "" for fact in facts],
        [producer.instance or "" for producer in producers],
        [producer.sequence for producer in producers],
        [producer.library or "" for producer in producers],
        [beat.emitted for beat in beats],
        [beat.delivered for beat in beats],
        [beat.refused for beat in beats],
        [beat.dropped for beat in beats],
        [beat.last_sequence for beat in beats],
        [beat.closing for beat in beats],
    ]


# What stands behind the identity.
_FURTHER: Final[dict[str, Callable[[Sequence[Clean], Sequence[Fact], Sequence[bytes]], Columns]]] = {
    "calls": _calls,
    "evaluations": _evaluations,
    "feedback": _feedback,
    "heartbeats": _heartbeats,
    "dead_letters": _dead_letters,
    "replays": _replays,
}
