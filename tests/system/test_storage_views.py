"""The views answer what people ask, with unknown prices, doubled ids and lost events told apart."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from audit_samples import NOW, call, stored

from pipeline.audit.tables import TABLES
from pipeline.storage import native
from pipeline.storage.append import Block, insert
from pipeline.storage.client import Client
from schemas.clean import Clean, HeartbeatCounts, Producer, Stamp
from schemas.fact import Fact
from schemas.position import Position

pytest_plugins = ["storage_support"]
pytestmark = pytest.mark.system


def store(client: Client, records: list[Clean]) -> None:
    for name, table in TABLES.items():
        found = [row for record in records for kind, row in stored(record) if kind == name]
        if found:
            block = Block(table, f"{name}-{records[0].fact.position}", len(found), native.block(table, found))
            insert(client, block, deadline_ms=client.now_ms() + 10_000)


def with_fact(record: Clean, **changes: object) -> Clean:
    return msgspec.structs.replace(record, fact=msgspec.structs.replace(record.fact, **changes))


def ask(client: Client, sql: str) -> list[dict[str, object]]:
    names, found = client.table(sql.replace("FROM ", f"FROM {client.database}."))
    return [dict(zip(names, row, strict=True)) for row in found]


def test_cost_is_exact_and_an_unknown_price_is_no_zero(clickhouse: Client) -> None:
    known = [call(offset, cost_nano_usd=1_500_000_001) for offset in range(3)]
    unknown = with_fact(call(3), cost_nano_usd=None, cost_source="unknown")
    canary = with_fact(call(4, cost_nano_usd=7), type="canary")
    store(clickhouse, [*known, unknown, canary])
    (row,) = ask(clickhouse, "SELECT * FROM cost_by_tenant")
    assert (row["tenant"], row["calls"], row["calls_without_price"]) == ("acme", 4, 1)
    assert row["cost_usd"] == Decimal("4.500000003")
    by_feature = ask(clickhouse, "SELECT * FROM cost_by_feature_daily")
    assert sum(row["calls"] for row in by_feature) == 4  # type: ignore[misc]


def test_latency_by_model_has_its_percentiles(clickhouse: Client) -> None:
    slow = [with_fact(call(offset), latency_ms=float(offset), model="m") for offset in range(1, 101)]
    store(clickhouse, slow)
    (row,) = ask(clickhouse, "SELECT * FROM latency_by_model_hourly")
    assert row["calls"] == 100
    assert row["latency_p50_ms"] == pytest.approx(50, rel=0.03)
    assert row["latency_p99_ms"] == pytest.approx(99, rel=0.03)


def test_an_id_that_was_sent_twice_stands_at_two_positions(clickhouse: Client) -> None:
    twice = with_fact(call(9), id="same")
    store(clickhouse, [call(1), with_fact(call(2), id="same"), twice])
    (row,) = ask(clickhouse, "SELECT * FROM calls_by_id WHERE id = 'same'")
    assert row["positions"] == 2
    assert row["some_positions"] == [(1, 0, 2), (1, 0, 9)]


def test_what_a_producer_sent_and_what_of_it_is_missing(clickhouse: Client) -> None:
    def from_producer(record: Clean, instance: str, sequence: int) -> Clean:
        return msgspec.structs.replace(record, producer=Producer(instance, sequence, "tokentrail-python/0.1.0"))

    def heartbeat(offset: int, instance: str, sequence: int, dropped: int) -> Clean:
        return Clean(
            fact=Fact("heartbeat", Position(1, 0, offset), 0, NOW, NOW, tenant="acme"),
            stamp=Stamp(30, 7),
            producer=Producer(instance, sequence, "tokentrail-python/0.1.0"),
            heartbeat=HeartbeatCounts(emitted=sequence - 1, dropped=dropped, last_sequence=sequence, closing=True),
        )

    whole = [from_producer(call(offset), "whole", offset + 1) for offset in range(5)]
    holed = [from_producer(call(offset), "holed", offset - 9) for offset in (10, 11, 13, 14)]
    twice = from_producer(call(20), "holed", 1)
    store(clickhouse, [*whole, *holed, twice, heartbeat(30, "whole", 6, 0), heartbeat(31, "holed", 6, 2)])
    found = {row["producer"]: row for row in ask(clickhouse, "SELECT * FROM producer_loss")}
    assert (found["whole"]["sent"], found["whole"]["arrived"], found["whole"]["missing"]) == (6, 6, 0)
    assert (found["holed"]["sent"], found["holed"]["arrived"], found["holed"]["missing"]) == (6, 5, 1)
    assert (found["holed"]["arrived_twice"], found["holed"]["dropped"], found["holed"]["closed"]) == (1, 2, True)
