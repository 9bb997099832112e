"""The reconciliation over values in memory: what is lawful is silent, also while it happens; what is not is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from pipeline.audit import heads
from pipeline.audit.batch import Slot, build
from pipeline.audit.leaves import leaf, seal, seal_key
from pipeline.audit.ledger import Follower, encode
from pipeline.audit.partition import Scope
from pipeline.audit.report import Report
from pipeline.audit.rows import Row, week
from pipeline.audit.sources import Checkpoint, Ends, Trust
from pipeline.audit.tables import CALL_CONTENT, CALLS, CHAINED, OFFSET, RECEIVED_AT, RETENTION_DAYS, Table
from pipeline.audit.verify import verify
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Stamp
from schemas.fact import Fact
from schemas.ledger import Cell, Change, Claim, Done, Entry, Erased, Erasing, Expiry, Held
from schemas.position import Position

KEYS = Keys(bytes(range(32)))
KEY = seal_key(KEYS)
TRUST = Trust(KEY, heads.public_key(KEYS))
NOW = 1_795_000_000_000
RANGE = 10


@dataclass
class Group:
    epoch: int
    partition: int
    rows: int
    highest: int
    false_dates: int = 0


class World:
    """One partition's ledger and rows; `Sources` of itself."""

    def __init__(self) -> None:
        self.follower = Follower(0)
        self.log: list[bytes] = []
        self.tables: dict[str, list[Row]] = {name: [] for name in CHAINED}
        self.kept: dict[str, list[Row]] = {name: [] for name in CHAINED}
        self.next = 0
        # Called once, when rows of calls have been read.
        self.meanwhile: Callable[[], None] | None = None
        self.write(claim=Claim(""))

    def write(self, **steps: Any) -> None:
        value = encode(Entry(0, "w", self.follower.end, self.follower.state, **steps))
        verdict = self.follower.fold(self.follower.end, value)
        assert verdict.accepted, verdict.reason
        self.log.append(value)

    def store(self) -> None:
        """One more range of calls with text."""
        slots = []
        for offset in range(self.next, self.next + RANGE):
            fact = Fact("call", Position(1, 0, offset), 0, NOW, NOW, tenant="acme", id=f"id-{offset}", user="u" * 32)
            slots.append(Slot(offset, Clean(fact, Stamp(30, 7), Content(input="hello")), 1))
        batch = build(slots, self.next, self.next + RANGE, KEYS)
        number = self.follower.state.range + 1
        self.write(intent=batch.intent(number, 1, NOW, 1, self.next))
        for part in batch.parts:
            self.tables[part.cell.table] += part.rows
        self.write(done=Done(number, 1))
        self.next += RANGE

    def row(self, table: Table, offset: int) -> Row:
        (found,) = [row for row in self.tables[table.name] if row[OFFSET] == offset]
        return found

    def put(self, table: Table, offset: int, row: Row | None) -> None:
        """Let this stand at an offset instead of what does."""
        rows = [each for each in self.tables[table.name] if each[OFFSET] != offset]
        self.tables[table.name] = sorted([*rows, *([] if row is None else [row])], key=lambda each: each[OFFSET])

    def bare(self, offset: int) -> tuple[Change, Row]:
        """The change that takes the user out of a call, and the row after it."""
        before = self.row(CALLS, offset)
        at = CALLS.names.index("user")
        plain = (*before[:at], "", *before[at + 1 : -1])
        after = (*plain, seal(KEY, leaf(CALLS, plain)))
        return Change(cell_of(CALLS, before), 1, offset, leaf(CALLS, before).hex(), leaf(CALLS, after).hex()), after

    def verify(self, since: dict[int, Checkpoint] | None = None) -> tuple[Report, dict[int, Checkpoint]]:
        return verify(self, TRUST, Scope(1, since=since))

    def found(self) -> set[tuple[str, str, str]]:
        return {(each.kind, each.table, each.position) for each in self.verify()[0].problems}

    # ---- Sources

    def ends(self, partition: int) -> Ends | None:
        return None

    def ledger(self, partition: int, start: int = 0) -> Iterable[tuple[int, bytes]]:
        return list(enumerate(self.log))[start:]

    def copied(self, partition: int, start: int = 0) -> Iterable[Row]:
        return []

    def groups(self, table: Table) -> Sequence[Group]:
        rows = self.tables[table.name]
        return [Group(1, 0, len(rows), max(row[OFFSET] for row in rows))] if rows else []

    def rows(self, table: Table, epoch: int, partition: int, first: int, next: int) -> Iterable[Row]:
        found = [row for row in self.tables[table.name] if row[0] == epoch and first <= row[OFFSET] < next]
        if table is CALLS and self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return found

    def held(self, table: Table, partition: int) -> Iterable[Row]:
        return self.kept[table.name]


def cell_of(table: Table, row: Row) -> Cell:
    return Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))


@pytest.fixture
def world() -> World:
    found = World()
    for _ in range(3):
        found.store()
    return found


def erase(world: World, *changes: Change, request: str = "r", done: bool = True) -> None:
    world.write(erasing=Erasing(request, 1, "erasure", changes))
    if done:
        world.write(erased=Erased(request, 1))


def test_an_honest_world_has_no_problems(world: World) -> None:
    report, _ = world.verify()
    assert report.ok and report.rows == 6 * RANGE and report.partitions[0].ranges == 3


def test_while_a_row_is_being_bared_either_one_may_stand_and_then_only_the_new_one(world: World) -> None:
    before = world.row(CALLS, 4)
    change, after = world.bare(4)
    erase(world, change, done=False)
    assert world.found() == set()
    world.put(CALLS, 4, after)
    assert world.found() == set()
    world.write(erased=Erased("r", 1))
    assert world.found() == set()
    assert world.verify()[0].partitions[0].changed_rows == 1
    world.put(CALLS, 4, before)
    assert world.found() == {("row_changed", "calls", "1/0/4")}
    world.put(CALLS, 4, None)
    assert world.found() == {("row_missing", "calls", "1/0/4")}


def test_a_text_that_was_removed_is_no_loss_and_one_that_stands_again_is_told(world: World) -> None:
    row = world.row(CALL_CONTENT, 5)
    erase(world, Change(cell_of(CALL_CONTENT, row), 1, 5, leaf(CALL_CONTENT, row).hex()), done=False)
    world.put(CALL_CONTENT, 5, None)
    world.write(erased=Erased("r", 1))
    report, _ = world.verify()
    assert report.ok and report.partitions[0].erased_rows == 1
    world.put(CALL_CONTENT, 5, row)
    assert world.found() == {("row_outlived", "call_content", "1/0/5")}


def test_changes_of_one_row_chain(world: World) -> None:
    first, after = world.bare(4)
    erase(world, first, request="one")
    world.put(CALLS, 4, after)
    erase(world, Change(first.cell, 1, 4, first.now), request="two")
    assert world.found() == {("row_outlived", "calls", "1/0/4")}
    world.put(CALLS, 4, None)
    assert world.found() == set()


def test_a_false_leaf_in_a_change_is_found_by_the_root(world: World) -> None:
    change, after = world.bare(4)
    erase(world, msgspec.structs.replace(change, was="00" * 32))
    world.put(CALLS, 4, after)
    assert world.found() == {("part_differs", "calls", "1/0/0 to 9")}


def test_what_is_changed_lawfully_while_rows_are_read_is_no_finding(world: World) -> None:
    change, after = world.bare(4)
    # The old row was read; then all of it happens.
    world.meanwhile = lambda: (erase(world, change), world.put(CALLS, 4, after))  # type: ignore[func-returns-value,assignment]
    # Another row makes the range differ, so that the ledger is asked again.
    world.put(CALLS, 5, None)
    assert world.found() == {("row_missing", "calls", "1/0/5")}
    assert world.found() == {("row_missing", "calls", "1/0/5")}


def test_a_cell_that_expires_may_be_there_or_gone_and_must_be_gone_in_the_end(world: World) -> None:
    rows = world.tables["call_content"]
    cell = cell_of(CALL_CONTENT, rows[0])
    from pipeline.audit.retention import Holdings

    holdings = Holdings(0)
    for offset, value in enumerate(world.log):
        holdings.fold(offset, value)
    end: Expiry = holdings.expiry(cell)
    world.write(expiring=end)
    assert world.found() == set()
    world.tables["call_content"] = []
    assert world.found() == set()
    world.write(held=Held(cell, 1, 3, 1, "rAAE=", ("h",)))
    world.write(expired=end)
    # A hold keeps the row at offset 3.
    assert world.found() == {("row_missing", "held_call_content", "1/0/3")}
    world.kept["call_content"] = [rows[3]]
    report, _ = world.verify()
    assert report.ok and (report.partitions[0].expired_rows, report.partitions[0].held_rows) == (3 * RANGE, 1)
    world.kept["call_content"] = [(*rows[3][:-1], bytes(16))]
    assert world.found() == {("row_changed", "held_call_content", "1/0/3")}
    world.kept["call_content"] = [rows[3], rows[4]]
    assert world.found() == {("row_unexpected", "held_call_content", "1/0/4")}
    world.kept["call_content"] = [rows[3]]
    world.tables["call_content"] = rows
    assert world.found() == {("row_outlived", "call_content", f"1/0/{offset}") for offset in range(3 * RANGE)}


def test_an_incremental_check_looks_at_what_came_since_and_at_the_record_it_ended_with(world: World) -> None:
    report, since = world.verify()
    world.put(CALLS, 4, None)
    world.store()
    report, _ = world.verify(since)
    assert report.ok and report.rows == 2 * RANGE
    world.put(CALLS, 34, None)
    assert {each.position for each in world.verify(since)[0].problems} == {"1/0/34"}
    world.log[-3] += b" "
    assert "ledger_cut" in {each.kind for each in world.verify(since)[0].problems}
