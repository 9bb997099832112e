"""A clean record to its rows: one in the table of its kind and, where text is kept, one in `call_content`.

Pure and the same at every repeat: an adopter of an unfinished range makes the same rows, byte for byte. Ticks and gaps
give no row.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final

from pipeline.audit.leaves import NO_COMMITMENT, commitment, salt
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Dead, HeartbeatCounts, Producer, Replay
from schemas.fact import Fact, Loop

Row = tuple[Any, ...]

DAY_MS: Final = 86_400_000
MAX_DAYS: Final = 65_535
_NO_PRODUCER: Final = Producer()
_NO_LOOP: Final = Loop()


def week(received_at_ms: int) -> str:
    """Monday (UTC) of the week of a time, as ClickHouse's `toMonday` says it: `2026-11-16`."""
    day = received_at_ms // DAY_MS
    return _date(max(0, day - (day + 3) % 7))


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def rows(clean: Clean, keys: Keys) -> list[tuple[str, Row]]:
    """(table, row) for every row of a record, in the order of the inserts."""
    if clean.replay is None:
        return _rows(clean, keys)
    return [*_rows(clean, keys), ("replays", _replay(clean, clean.replay))]


def _rows(clean: Clean, keys: Keys) -> list[tuple[str, Row]]:
    fact = clean.fact
    kind = fact.type
    if kind in ("tick", "gap"):
        return []
    if kind == "stub":
        return [("dead_letters", dead_letter(clean, clean.dead or Dead(fact.reason or "unknown")))]
    if kind == "heartbeat":
        return [("heartbeats", _heartbeat(clean))]
    found: list[tuple[str, Row]] = []
    bound = NO_COMMITMENT
    if clean.content is not None and clean.stamp.text_days > 0:
        text = _content(clean, clean.content, keys)
        bound = text[7]
        found.append(("call_content", text))
    if kind == "evaluation":
        found.append(("evaluations", _judgement(clean, bound, (fact.evaluation_name or "", fact.score))))
    elif kind == "feedback":
        found.append(("feedback", _judgement(clean, bound, (fact.rating,))))
    else:
        found.append(("calls", _call(clean, bound)))
    return found


def dead_letter(clean: Clean, dead: Dead) -> Row:
    """The row of a record that cannot be used, or whose row ClickHouse refuses for ever."""
    producer = clean.producer or _NO_PRODUCER
    return (
        *_identity(clean.fact, clean.stamp.metadata_days),
        dead.reason,
        dead.path,
        dead.size_bytes,
        dead.hash,
        producer.instance or "",
        producer.sequence,
    )


def _replay(clean: Clean, replay: Replay) -> Row:
    of = replay.of
    identity = _identity(clean.fact, clean.stamp.metadata_days)
    return (*identity, of.epoch, of.partition, of.offset, replay.received_at)


def _identity(fact: Fact, days: int) -> Row:
    position = fact.position
    return (
        position.epoch,
        position.partition,
        position.offset,
        fact.tenant,
        fact.received_at,
        min(max(days, 1), MAX_DAYS),
    )


def _content(clean: Clean, content: Content, keys: Keys) -> Row:
    fact = clean.fact
    grain = salt(keys, fact.tenant, clean.stamp.keys, fact.position)
    text = (grain, content.input, content.output, content.tool_calls, content.other)
    return (*_identity(fact, clean.stamp.text_days), fact.id or "", commitment(*text), *text)


def _call(clean: Clean, bound: bytes) -> Row:
    fact, stamp = clean.fact, clean.stamp
    producer = clean.producer or _NO_PRODUCER
    loop = fact.loop or _NO_LOOP
    return (
        *_identity(fact, stamp.metadata_days),
        fact.id or "",
        fact.type,
        fact.ts,
        fact.backfill,
        fact.environment or "",
        fact.team or "",
        fact.service or "",
        fact.feature or "",
        fact.run or "",
        fact.step,
        fact.user or "",
        fact.session or "",
        fact.trace or "",
        clean.span or "",
        clean.parent or "",
        fact.provider or "",
        fact.model or "",
        fact.response_model or "",
        fact.operation or "",
        fact.prompt_name or "",
        fact.prompt_version or "",
        fact.variant or "",
        clean.parameters,
        fact.streaming,
        fact.input_tokens,
        fact.cached_tokens,
        fact.cache_write_tokens,
        fact.output_tokens,
        fact.reasoning_tokens,
        fact.latency_ms,
        fact.ttft_ms,
        fact.retries,
        fact.cache_hit,
        fact.prompt_size_bytes,
        fact.output_chars,
        loop.input_messages,
        fact.status,
        fact.finish_reason or "",
        fact.error_type or "",
        fact.http_status,
        fact.retry_after_s,
        fact.schema_valid,
        fact.output_label or "",
        fact.refusal,
        clean.guardrails,
        fact.guardrails_triggered,
        clean.tool_names,
        loop.tool_errors,
        clean.tag_keys,
        fact.retrieval_requested,
        fact.retrieval_hits,
        clean.sources,
        fact.cost_nano_usd,
        fact.list_cost_nano_usd,
        fact.cost_source,
        fact.price_version or "",
        fact.language or "",
        fact.length_bucket,
        fact.topic_bucket,
        clean.content_mode,
        bound,
        stamp.text_days,
        clean.redactions,
        clean.redaction_failures,
        clean.dropped_fields,
        stamp.policy,
        stamp.redaction,
        stamp.keys,
        producer.instance or "",
        producer.sequence,
        producer.library or "",
    )


def _judgement(clean: Clean, bound: bytes, verdict: Row) -> Row:
    """A row of `evaluations` or `feedback`, which differ in `verdict` only."""
    fact, stamp = clean.fact, clean.stamp
    producer = clean.producer or _NO_PRODUCER
    return (
        *_identity(fact, stamp.metadata_days),
        fact.id or "",
        fact.ts,
        fact.backfill,
        fact.environment or "",
        fact.team or "",
        fact.service or "",
        fact.feature or "",
        fact.model or "",
        fact.prompt_name or "",
        fact.prompt_version or "",
        fact.variant or "",
        fact.run or "",
        fact.user or "",
        fact.session or "",
        fact.trace or "",
        fact.about or "",
        *verdict,
        fact.label or "",
        bound,
        stamp.text_days,
        stamp.policy,
        stamp.redaction,
        stamp.keys,
        producer.instance or "",
        producer.sequence,
    )


def _heartbeat(clean: Clean) -> Row:
    fact = clean.fact
    producer = clean.producer or _NO_PRODUCER
    beat = clean.heartbeat or HeartbeatCounts()
    return (
        *_identity(fact, clean.stamp.metadata_days),
        fact.id or "",
        fact.ts,
        fact.environment or "",
        fact.service or "",
        producer.instance or "",
        producer.sequence,
        producer.library or "",
        beat.emitted,
        beat.delivered,
        beat.refused,
        beat.dropped,
        beat.last_sequence,
        beat.closing,
    )
