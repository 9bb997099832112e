"""Clean records for tests: plain ones, and ones that use every field and every awkward value."""

from __future__ import annotations

import random
import time

from pipeline.audit.leaves import leaf, seal, seal_key
from pipeline.audit.rows import DAY_MS, Row, rows, week
from pipeline.audit.tables import TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Dead, HeartbeatCounts, Producer, Replay, Stamp
from schemas.fact import Fact, Loop
from schemas.position import Position

KEYS = Keys(bytes(range(32)))
# A Wednesday, always in the week before the present one: the server's own TTL goes by the real clock, and a date that
# stands here for good would begin to lose its rows one day. Nothing with at least a week of life is lost before the
# engine's margin of two weeks is over.
_DAYS = time.time_ns() // 10**6 // DAY_MS
NOW = (_DAYS - (_DAYS + 3) % 7 - 5) * DAY_MS + 40_000_000  # day 0 of 1970 was a Thursday; 11:06:40
MONDAY = week(NOW)


def call(
    offset: int,
    *,
    partition: int = 0,
    epoch: int = 1,
    received_at: int = NOW,
    text: str | None = "hello",
    days: int = 30,
    text_days: int = 7,
    tenant: str = "acme",
    cost_nano_usd: int = 0,
) -> Clean:
    """One ordinary call."""
    rng = random.Random(offset)
    return Clean(
        fact=Fact(
            type="call",
            position=Position(epoch, partition, offset),
            first=0,
            received_at=received_at,
            ts=received_at - 5,
            tenant=tenant,
            id=f"{offset:08x}-{partition:04x}-7000-8000-000000000000",
            environment="prod",
            service="api",
            feature=f"feature-{rng.randrange(5)}",
            provider="openai",
            model=f"model-{rng.randrange(8)}",
            operation="chat",
            run=f"{rng.getrandbits(128):032x}",
            user=f"{rng.getrandbits(128):032x}",
            session=f"{rng.getrandbits(128):032x}",
            input_tokens=rng.randrange(4000),
            output_tokens=rng.randrange(900),
            latency_ms=rng.random() * 3000,
            ttft_ms=rng.random() * 500,
            streaming=True,
            finish_reason="stop",
            cost_nano_usd=cost_nano_usd or rng.randrange(10**8),
            cost_source="computed",
            price_version="2026-11-01",
            output_chars=2000,
            language="en",
            length_bucket=3,
            loop=Loop(input_messages=4, output="ab"),
        ),
        stamp=Stamp(days, text_days, 3, "redaction-1", 1),
        content=None if text is None else Content(input=text, output=f"answer {offset}"),
        producer=Producer("p" * 32, offset, "tokentrail-python/0.1.0"),
        parameters={"temperature": 0.2, "max_tokens": 500.0},
        tool_names=("search",) if offset % 3 == 0 else (),
        redactions={"EMAIL_ADDRESS": 2, "PERSON": 1} if offset % 2 else {},
    )


def awkward(offset: int, **where: int) -> Clean:
    """Every nullable field None, texts that break naive encoders."""
    return Clean(
        fact=Fact(
            "call",
            Position(where.get("epoch", 1), where.get("partition", 0), offset),
            0,
            NOW,
            0,
            tenant="t\0ü",
            guardrails=("g", "é" * 70),
        ),
        stamp=Stamp(30, 7),
        content=Content("ü" * 200, "\0\\'\"\n{}", "", {"b": "2", "a": "", "ä": "'"}),
        redaction_failures={"timeout": 1},
        sources=("s" * 32, "x"),
    )


def stub(offset: int, **where: int) -> Clean:
    """A record that could not be used."""
    return Clean(
        fact=Fact(
            "stub", Position(where.get("epoch", 1), where.get("partition", 0), offset), 0, NOW, NOW, reason="not_json"
        ),
        stamp=Stamp(30, 7),
        dead=Dead("not_json", "$.usage", 12, "ab" * 16),
    )


def tick(offset: int, **where: int) -> Clean:
    """A tick: no row."""
    return Clean(fact=Fact("tick", Position(where.get("epoch", 1), where.get("partition", 0), offset), 0, NOW, NOW))


def gap(first: int, last: int, **where: int) -> Clean:
    """Positions that Kafka proves to be gone."""
    position = Position(where.get("epoch", 1), where.get("partition", 0), first)
    return Clean(fact=Fact("gap", position, 0, NOW, NOW, gap_last=last, reason="not_in_log"))


def feedback(offset: int, **where: int) -> Clean:
    """Feedback with a comment, processed again."""
    position = Position(where.get("epoch", 1), where.get("partition", 0), offset)
    return Clean(
        fact=Fact("feedback", position, 0, NOW, NOW, tenant="acme", about="00000001", rating=-1.0, label="negative"),
        stamp=Stamp(30, 7),
        content=Content(other={"feedback.comment": "did not help"}),
        replay=Replay(Position(position.epoch, position.partition, 0), NOW - 5_000),
    )


def evaluation(offset: int, **where: int) -> Clean:
    """A judge's score."""
    position = Position(where.get("epoch", 1), where.get("partition", 0), offset)
    return Clean(
        fact=Fact("evaluation", position, 0, NOW, NOW, tenant="acme", about="1", evaluation_name="f1", score=0.0),
        stamp=Stamp(30, 7),
    )


def heartbeat(offset: int, **where: int) -> Clean:
    """A producer's heartbeat."""
    position = Position(where.get("epoch", 1), where.get("partition", 0), offset)
    return Clean(
        fact=Fact("heartbeat", position, 0, NOW, NOW, tenant="acme"),
        stamp=Stamp(30, 7),
        producer=Producer("p" * 32, None, "tokentrail-python/0.1.0"),
        heartbeat=HeartbeatCounts(emitted=10, delivered=7, refused=1, dropped=1, last_sequence=9),
    )


def one_of_each(first: int = 0, **where: int) -> list[Clean]:
    """Eight records at `first` and the positions after it; ten positions with the gap."""
    return [
        call(first, **where), awkward(first + 1, **where), stub(first + 2, **where), tick(first + 3, **where),
        gap(first + 4, first + 6, **where), feedback(first + 7, **where), evaluation(first + 8, **where),
        heartbeat(first + 9, **where),
    ]  # fmt: skip


def stored(record: Clean) -> list[tuple[str, Row]]:
    """(table, row) as the sink stores them, sealed."""
    return [(name, (*row, seal(seal_key(KEYS), leaf(TABLES[name], row)))) for name, row in rows(record, KEYS)]
