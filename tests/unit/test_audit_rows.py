"""Clean records to rows and batches."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from pipeline.audit.batch import Slot, build
from pipeline.audit.leaves import leaf, seal, seal_key
from pipeline.audit.retention import ends_at_ms, is_over
from pipeline.audit.rows import COMMITMENT, DAY_MS, rows, week
from pipeline.audit.tables import TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Dead, HeartbeatCounts, Replay, Stamp
from schemas.fact import Fact, RecordType
from schemas.ledger import Cell
from schemas.position import Position

KEYS = Keys(bytes(range(32)))
NOW = 1_795_000_000_000


def clean(kind: RecordType, offset: int = 0, *, days: int = 30, text_days: int = 7, **more: object) -> Clean:
    fact = Fact(kind, Position(1, 0, offset), 0, NOW, NOW, tenant="acme", gap_last=more.pop("gap_last", None))  # type: ignore[arg-type]
    return Clean(fact=fact, stamp=Stamp(days, text_days), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "tables"),
    [
        (clean("call"), ["calls"]),
        (clean("canary", content=Content(input="x")), ["call_content", "calls"]),
        (clean("call", content=Content(input="x"), text_days=0), ["calls"]),
        (clean("feedback", content=Content(other={"feedback.comment": "x"})), ["call_content", "feedback"]),
        (clean("evaluation"), ["evaluations"]),
        (clean("heartbeat", heartbeat=HeartbeatCounts(emitted=3)), ["heartbeats"]),
        (clean("stub", dead=Dead("not_json")), ["dead_letters"]),
        (clean("tick"), []),
        (clean("gap", gap_last=9), []),
    ],
)
def test_each_kind_of_record_has_its_tables(record: Clean, tables: list[str]) -> None:
    found = rows(record, KEYS)
    assert [table for table, _ in found] == tables
    for table, row in found:
        assert len(row) == len(TABLES[table].columns) - 1, "all but the seal"
        assert row[:6] == (1, 0, 0, "acme", NOW, 7 if table == "call_content" else 30)


def test_every_field_stands_in_the_column_of_its_name() -> None:
    same = {"type": "kind", "cost_nano_usd": "cost_usd", "list_cost_nano_usd": "list_cost_usd"}
    filled = {}
    only_for_windows = {"loop", "error_words", "topics"}
    for number, name in enumerate(Fact.__struct_fields__):
        if name not in {"type", "position", "first", "received_at", "gap_last", "reason", *only_for_windows}:
            filled[name] = number
    fact = Fact(type="call", position=Position(1, 0, 0), first=0, received_at=NOW, **filled)  # type: ignore[arg-type]
    ((_, row),) = rows(Clean(fact=fact), KEYS)
    stored = dict(zip(TABLES["calls"].names[:-1], row, strict=True))
    elsewhere = {"score", "rating", "evaluation_name", "label", "about"}
    assert {name: stored[same.get(name, name)] for name in filled.keys() - elsewhere} == {
        name: value for name, value in filled.items() if name not in elsewhere
    }


@pytest.mark.parametrize("day", [0, 3, 4, 10, 20_000, 20_775, 20_776, 20_782, 20_783, 47_000])
def test_the_week_is_the_one_that_clickhouse_computes(day: int) -> None:
    then = date(1970, 1, 1) + timedelta(days=day)
    monday = max(date(1970, 1, 1), then - timedelta(days=then.weekday()))
    assert week(day * DAY_MS) == week(day * DAY_MS + DAY_MS - 1) == monday.isoformat()


def test_a_cell_ends_when_its_last_day_has_had_its_life() -> None:
    cell = Cell("calls", 30, "2026-11-16")
    end = datetime(2026, 11, 23, tzinfo=UTC) + timedelta(days=30)
    assert ends_at_ms(cell) == int(end.timestamp() * 1000)
    assert not is_over(cell, ends_at_ms(cell) - 1)
    assert is_over(cell, ends_at_ms(cell))


def test_a_batch_accounts_for_every_position_and_has_one_part_for_a_cell() -> None:
    records = [
        clean("tick", 0),
        clean("call", 1, content=Content(input="x")),
        clean("gap", 2, gap_last=4),
        clean("call", 5, days=60),
        clean("call", 6),
        clean("stub", 7, dead=Dead("not_json")),
    ]
    batch = build([Slot(offset, record, 1) for offset, record in enumerate(records)], 0, 6, KEYS)
    assert (batch.first, batch.next, batch.input_next) == (0, 8, 6)
    assert batch.counts == {"tick": 1, "call": 3, "gap": 3, "stub": 1}
    assert batch.gaps == ((2, 4),)
    assert [(str(part.cell), part.offsets) for part in batch.parts] == [
        ("call_content (7 days, week of 2026-11-16)", [1]),
        ("calls (30 days, week of 2026-11-16)", [1, 6]),
        ("calls (60 days, week of 2026-11-16)", [5]),
        ("dead_letters (30 days, week of 2026-11-16)", [7]),
    ]
    assert batch.with_rows == [1, 5, 6, 7]


def test_rows_of_a_part_are_in_position_order_also_when_the_brokers_clock_went_back_a_day() -> None:
    records = []
    for offset, days_back in enumerate((1, 0, 1, 0)):
        fact = Fact("call", Position(1, 0, offset), 0, NOW - days_back * DAY_MS, NOW)
        records.append(Slot(offset, Clean(fact=fact, stamp=Stamp(30, 7)), 1))
    (part,) = build(records, 0, 4, KEYS).parts
    assert part.offsets == [0, 1, 2, 3]


def test_a_refused_row_is_replaced_by_one_dead_letter() -> None:
    record = clean("call", 1, content=Content(input="secret words"))
    refused = ((1, "call_content"), (1, "calls"))
    batch = build([Slot(0, record, 77)], 1, 1, KEYS, refused)
    ((cell, found),) = [(part.cell, part.rows) for part in batch.parts]
    assert cell.table == "dead_letters"
    letter = dict(zip(TABLES["dead_letters"].names, found[0], strict=True))
    assert (letter["reason"], letter["path"], letter["size_bytes"]) == ("row_refused", "call_content,calls", 77)
    assert "secret" not in repr(found)


def test_a_gap_that_begins_below_the_range_counts_only_what_is_new() -> None:
    batch = build([Slot(0, clean("gap", 2, gap_last=9), 1)], 5, 1, KEYS)
    assert batch.counts == {"gap": 5} and batch.gaps == ((5, 9),)


def test_a_batch_holds_the_rows_of_each_record_sealed() -> None:
    records = [
        clean("call", 0, content=Content(input="x")),
        clean("canary", 1),
        clean("feedback", 2, content=Content(other={"feedback.comment": "y"})),
        clean("evaluation", 3),
        clean("heartbeat", 4),
        clean("stub", 5),
        clean("call", 6, text_days=0, content=Content(input="z"), replay=Replay(Position(1, 0, 0), NOW)),
    ]
    batch = build([Slot(offset, record, 1) for offset, record in enumerate(records)], 0, 7, KEYS)
    found = sorted((part.cell.table, row) for part in batch.parts for row in part.rows)
    alone = [(table, row) for record in records for table, row in rows(record, KEYS)]
    key = seal_key(KEYS)
    assert found == sorted((table, (*row, seal(key, leaf(TABLES[table], row)))) for table, row in alone)
    assert sum(map(len, batch.parts)) == len(alone) == 10


def test_a_call_whose_text_is_refused_still_says_that_there_was_one() -> None:
    record = clean("call", 1, content=Content(input="secret words"))
    batch = build([Slot(0, record, 77)], 1, 1, KEYS, ((1, "call_content"),))
    (text,) = (row for table, row in rows(record, KEYS) if table == "call_content")
    stored = {part.cell.table: part.rows for part in batch.parts}
    assert sorted(stored) == ["calls", "dead_letters"]
    assert stored["calls"][0][TABLES["calls"].names.index("content_commitment")] == text[COMMITMENT]
    assert "secret" not in repr(stored)


def test_some_rows_of_a_part_have_the_root_of_those_rows_alone() -> None:
    slots = [Slot(offset, clean("call", offset), 1) for offset in range(5)]
    (part,) = build(slots, 0, 5, KEYS).parts
    (rest,) = build(slots[2:], 2, 5, KEYS).parts
    assert part.of({2, 3, 4}) == rest
