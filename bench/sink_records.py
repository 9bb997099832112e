"""What `bench sink` inserts: clean records as `redact` writes them, and the tuples that a user would make of one."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, Final

import msgspec
import orjson

from bench.events import events
from pipeline.control.policy import Policies
from pipeline.intake.clean import CleanMaker
from pipeline.intake.decode import decode
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from pipeline.redaction import Redacted
from pipeline.redaction.identifiers import is_clean_identifier
from schemas.clean import Clean
from schemas.control import Control
from schemas.fact import Loop
from schemas.position import Position

Row = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode
_SCALE: Final = -9


class Records:
    """One range's worth of clean records, to be had again at ever new positions.

    Args:
        keys: For pseudonyms.
        size: Records of a range.
        text_chars: Characters of text in each.
    """

    def __init__(self, keys: Keys, size: int, text_chars: int) -> None:
        maker = CleanMaker(FactMaker(Identifiers(keys, is_clean_identifier), PriceBook()), "bench")
        policies = Policies([(0, Control(kind="policy", selector={}, owner="bench", version=1, body={}, set_at=0))])
        now = int(time.time() * 1000)
        self._made: list[Clean] = []
        for number, event in enumerate(events(size, text_chars)):
            value = orjson.dumps(event)
            headers = [("producer", b"bench"), ("sequence", b"%d" % number)]
            where = Where(Position(1, 0, number), number // 500 * 500, now + number // 50)
            draft = maker.draft(decode(value, now), where, value, headers, policies)
            self._made.append(maker.finish(draft, [Redacted(text, {}, None) for text in draft.texts]))

    def range(self, partition: int, first: int) -> list[bytes]:
        """The next range of a partition, encoded."""
        replace, found = msgspec.structs.replace, []
        for offset, clean in enumerate(self._made, first):
            name = f"{partition:08x}-{offset >> 16:04x}-7000-8000-{offset:012x}"
            fact = replace(clean.fact, position=Position(1, partition, offset), id=name)
            found.append(_encode(replace(clean, fact=fact)))
        return found


def money(nano: int | None) -> Decimal | None:
    """Nano-dollars as the driver wants them."""
    return None if nano is None else Decimal(nano).scaleb(_SCALE)


def plain_content(clean: Clean, audit: Row) -> Row:
    """A row of `call_content`; commitment, salt and seal are given."""
    fact, stamp, content = clean.fact, clean.stamp, clean.content
    assert content is not None
    at = fact.position
    return (
        at.epoch, at.partition, at.offset, fact.tenant, fact.received_at, stamp.text_days, fact.id or "", audit[0],
        audit[1], content.input, content.output, content.tool_calls, content.other, audit[2],
    )  # fmt: skip


def plain_call(clean: Clean, audit: Row) -> Row:
    """A row of `calls`; commitment and seal are given. Times stay integers, which the driver takes as they are."""
    fact, stamp, producer, loop = clean.fact, clean.stamp, clean.producer, clean.fact.loop or Loop()
    at = fact.position
    assert producer is not None
    return (
        at.epoch, at.partition, at.offset, fact.tenant, fact.received_at, stamp.metadata_days, fact.id or "",
        fact.type, fact.ts, fact.backfill, fact.environment or "", fact.team or "", fact.service or "",
        fact.feature or "", fact.run or "", fact.step, fact.user or "", fact.session or "", fact.trace or "",
        clean.span or "", clean.parent or "", fact.provider or "", fact.model or "", fact.response_model or "",
        fact.operation or "", fact.prompt_name or "", fact.prompt_version or "", fact.variant or "",
        clean.parameters, fact.streaming, fact.input_tokens, fact.cached_tokens, fact.cache_write_tokens,
        fact.output_tokens, fact.reasoning_tokens, fact.latency_ms, fact.ttft_ms, fact.retries, fact.cache_hit,
        fact.prompt_size_bytes, fact.output_chars, loop.input_messages, fact.status, fact.finish_reason or "",
        fact.error_type or "", fact.http_status, fact.retry_after_s, fact.schema_valid, fact.output_label or "",
        fact.refusal, fact.guardrails, fact.guardrails_triggered, clean.tool_names, loop.tool_errors,
        clean.tag_keys, fact.retrieval_requested, fact.retrieval_hits, clean.sources, money(fact.cost_nano_usd),
        money(fact.list_cost_nano_usd), fact.cost_source, fact.price_version or "", fact.language or "",
        fact.length_bucket, fact.topic_bucket, clean.content_mode, audit[0], stamp.text_days, clean.redactions,
        clean.redaction_failures, clean.dropped_fields, stamp.policy, stamp.redaction, stamp.keys,
        producer.instance or "", producer.sequence, producer.library or "", audit[1],
    )  # fmt: skip
