"""`verify` on real Kafka and ClickHouse: silent on an honest history, and it names what was changed."""

from __future__ import annotations

import msgspec
import pytest
from audit_samples import MONDAY, awkward, call, stored
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from sink_support import Sinks

from pipeline.audit.ledger import encode
from pipeline.audit.tables import CALLS, TABLES
from pipeline.storage import native
from pipeline.storage.append import Block, insert
from schemas.ledger import Entry

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

WRONG = {
    "int": "{0} + 1",
    "float": "{0} + 1",
    "text": "concat({0}, 'x')",
    "bool": "not {0}",
    "ms": "addMilliseconds({0}, 1)",
    "money": "{0} + toDecimal64('0.000000001', 9)",
    "bytes": "unhex(repeat('ab', {1}))",
    "words": "arrayPushBack({0}, 'x')",
    "map": "mapUpdate({0}, map('x', {1}))",
}


def change(kind: str, name: str, nullable: bool) -> str:
    """An SQL expression for another value of a column."""
    column = f"`{name}`"
    if kind in ("uint16", "uint32", "uint64", "int64"):
        changed = WRONG["int"].format(column)
    elif kind in ("text", "word"):
        changed = WRONG["text"].format(column)
    elif kind in ("bytes16", "bytes32"):
        changed = WRONG["bytes"].format(column, kind.removeprefix("bytes"))
    elif kind in ("words", "texts"):
        changed = WRONG["words"].format(column)
    elif kind in ("counts", "numbers", "texts_by_path"):
        value = {"counts": "toUInt64(9)", "numbers": "9.0", "texts_by_path": "'9'"}[kind]
        changed = WRONG["map"].format(column, value)
    else:
        changed = WRONG[kind].format(column)
    # What is NULL becomes a value, what is a value another one.
    empty = {"bool": "true", "float": "1.5"}.get(kind, "1")
    return f"if(isNull({column}), {empty}, {changed})" if nullable else changed


def tamper(sinks: Sinks, table: str, *commands: str) -> None:
    sinks.client.command(
        f"ALTER TABLE {sinks.client.database}.{table} " + ", ".join(commands), settings={"mutations_sync": 1}
    )


def test_an_honest_history_is_settled_and_without_problems(honest: Sinks) -> None:
    report = honest.verify(settled=True)
    assert report.problems == () and report.ok
    database = honest.client.database
    assert report.rows == sum(honest.client.rows(f"SELECT count() FROM {database}.{name}")[0][0] for name in TABLES)
    assert [partition.next for partition in report.partitions] == [200] * 4
    assert report.partitions[1].counts == {
        "call": 192, "stub": 1, "tick": 1, "gap": 3, "feedback": 1, "evaluation": 1, "heartbeat": 1
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(report.as_dict()))["ok"] is True


def test_a_deleted_an_added_a_doubled_and_a_moved_row_are_each_named(honest: Sinks) -> None:
    database = honest.client.database
    tamper(honest, "calls", "DELETE WHERE partition = 0 AND offset = 17")
    tamper(honest, "call_content", "DELETE WHERE partition = 1 AND offset = 18")
    one = "(SELECT * FROM {0}.calls WHERE partition = 2 AND offset = {2})"
    added = "INSERT INTO {0}.calls SELECT * REPLACE ({1}) FROM " + one
    honest.client.command(added.format(database, "offset + 1000 AS offset", 19))
    honest.client.command(added.format(database, "offset AS offset", 20))
    honest.client.command(added.format(database, "60 AS retention_days", 21))
    tamper(honest, "calls", "DELETE WHERE partition = 2 AND offset = 21 AND retention_days = 30")
    honest.client.command(added.format(database, "7 AS partition", 22))
    found = {(problem.kind, problem.table, problem.position) for problem in honest.verify().problems}
    assert found == {
        ("row_missing", "calls", "1/0/17"),
        ("row_missing", "call_content", "1/1/18"),
        ("row_unexpected", "calls", "1/2/1019"),
        ("row_twice", "calls", "1/2/20"),
        ("row_missing", "calls", "1/2/21"),
        ("row_unexpected", "calls", "1/2/21"),
        ("row_unexpected", "calls", "1/7/22"),
    }


@pytest.mark.parametrize("name", ["calls", "call_content"])
def test_a_change_of_any_column_is_found_and_its_row_is_named(honest: Sinks, name: str) -> None:
    fixed = {"epoch", "partition", "offset", "tenant", "received_at", "retention_days", "feature"}
    columns = [column for column in TABLES[name].columns if column.name not in fixed]
    commands = [
        f"UPDATE `{column.name}` = {change(column.kind, column.name, column.nullable)} "
        f"WHERE partition = 3 AND offset = {offset}"
        for offset, column in enumerate(columns)
    ]
    tamper(honest, name, *commands)
    found = honest.verify().problems
    named = {problem.position for problem in found if problem.kind in ("row_changed", "text_changed")}
    missed = [column.name for offset, column in enumerate(columns) if f"1/3/{offset}" not in named]
    assert missed == []
    assert named == {f"1/3/{offset}" for offset in range(len(columns))}
    assert {problem.table for problem in found} == {name}


def test_rows_that_changed_places_are_both_named(honest: Sinks) -> None:
    swapped = "UPDATE `{0}` = if(offset = 5, {1}, {2}) WHERE partition = 0 AND offset IN (5, 6)"
    first, second = (call(offset).fact for offset in (5, 6))
    tamper(
        honest,
        "calls",
        *(
            swapped.format(name, repr(getattr(second, name)), repr(getattr(first, name)))
            for name in ("run", "user", "id")
        ),
    )
    found = honest.verify().problems
    assert [(problem.kind, problem.position) for problem in found] == [
        ("row_changed", "1/0/5"),
        ("row_changed", "1/0/6"),
    ]


def test_a_dropped_partition_without_a_record_is_found(honest: Sinks) -> None:
    honest.client.command(f"ALTER TABLE {honest.client.database}.heartbeats DROP PARTITION (30, '{MONDAY}')")
    found = honest.verify().problems
    assert {(problem.kind, problem.table) for problem in found} == {("row_missing", "heartbeats")}
    assert len(found) == 4


def test_a_false_retention_date_is_found(honest: Sinks) -> None:
    database = honest.client.database
    honest.client.command(
        f"ALTER TABLE {database}.feedback MODIFY COLUMN retention_date Date32 MATERIALIZED toDate32('2030-01-01')"
    )
    tamper(honest, "feedback", "MATERIALIZE COLUMN retention_date")
    found = [(problem.kind, problem.partition, problem.table) for problem in honest.verify().problems]
    assert found == [("retention_date_changed", partition, "feedback") for partition in range(4)]


def test_lag_a_forged_row_a_false_ledger_record_and_what_kafka_has_forgotten(sinks: Sinks) -> None:
    sinks.send([call(offset) for offset in range(50)])
    sinks.start()
    sinks.wait()
    assert sinks.end() == 0

    sinks.send([call(offset) for offset in range(50, 60)])
    report = sinks.verify()
    assert report.ok and report.pending == 10, "what is on its way is lag"
    assert [problem.kind for problem in sinks.verify(settled=True).problems] == ["unsettled"]

    (row,) = [row for table, row in stored(awkward(500)) if table == "calls"]
    block = Block(CALLS, "forged", 1, native.block(CALLS, [row]))
    insert(sinks.client, block, deadline_ms=sinks.client.now_ms() + 5_000)
    follower = sinks.ledger(1)
    lie = Entry(1, "x", follower.end, msgspec.structs.replace(follower.state, next=7))
    producer = Producer(sinks.settings.librdkafka())
    producer.produce(sinks.settings.topic("ledger"), encode(lie), partition=1)
    assert producer.flush(10) == 0
    found = [(problem.kind, problem.partition, problem.position) for problem in sinks.verify().problems]
    assert found == [("row_unexpected", 0, "1/0/500"), ("ledger_state_false", 1, f"ledger 1/{follower.end}")]

    tamper(sinks, "calls", "DELETE WHERE offset IN (17, 500)")
    admin = AdminClient(sinks.settings.librdkafka())
    for future in admin.delete_records([TopicPartition(sinks.settings.topic("calls"), 0, 50)]).values():
        future.result(10)
    problem = sinks.verify().problems[0]
    named = (problem.kind, problem.table, problem.position)
    assert named == ("row_missing", "calls", "1/0/17"), "the ledger says which"
