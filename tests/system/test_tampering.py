"""An administrator of ClickHouse changes what stands there: every change is found and named, with Kafka and without."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from audit_samples import MONDAY, call, one_of_each
from sink_fixtures import settings_of
from sink_support import Sinks
from storage_support import settings_for
from test_storage_verify import change

from agents.keeping.anchor import Anchor
from agents.keeping.copy import Copy
from agents.keeping.heads import Heads
from agents.keeping.job import Keeping
from infra.embedded.servers import EmbeddedServers
from pipeline.audit import copies, heads, spans
from pipeline.audit.anchors import anchored
from pipeline.audit.leaves import leaf, root, seal, seal_key
from pipeline.audit.ledger import Follower, encode
from pipeline.audit.report import Report
from pipeline.audit.sources import Anchored
from pipeline.audit.tables import CHAINED, OFFSET, TABLES, Table
from pipeline.keys import Keys, load
from pipeline.pricing import Overrides, PriceBook
from pipeline.storage import anchors, ledger_copy, native, reading, reprice
from pipeline.storage.check import verify_installation
from pipeline.storage.client import connect
from pipeline.storage.migrate import migrate
from pipeline.storage.repricings import Scope
from schemas.ledger import Entry, Intent, Part, Signed

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

# Enough records of every kind in one partition for a change of each column of its table.
OF_EACH = 45
NEXT = OF_EACH * 10
CHANGED = 3  # the partition with changed columns
# Every call of the samples gets another price.
PRICES = 'name = "other"' + "".join(
    f"""
[[price]]
provider = "openai"
model = "model-{number}"
usd_per_mtok = {{ input = 1.0, output = 10.0 }}
"""
    for number in range(8)
)
MODES = ({"chain": True}, {"from_clickhouse": True})


class Kept:
    """An installation with a copied, signed and anchored ledger; its tables can be put back as they were."""

    def __init__(self, sinks: Sinks, folder: Path) -> None:
        self.sinks = sinks
        self.client = sinks.client
        self.database = sinks.client.database
        self.keys = load(sinks.settings)
        self.at = Keeping(sinks.settings, sinks.client, self.keys, 4)
        self.copy = Copy()
        self.heads = Heads(self.copy)
        self.folder = str(folder)

    def keep(self) -> None:
        """Copy, sign and anchor."""
        Anchor(self.copy, self.heads).put(self.at, self.folder)

    def clone(self) -> None:
        for table in (*CHAINED, "ledger"):
            self.client.command(f"CREATE TABLE {self.database}.clone_{table} CLONE AS {self.database}.{table}")

    def restore(self) -> None:
        for table in (*CHAINED, "ledger"):
            name, clone = f"{self.database}.{table}", f"{self.database}.clone_{table}"
            self.client.command(f"TRUNCATE TABLE {name} SYNC")
            self.client.command(f"ALTER TABLE {name} ATTACH PARTITION ALL FROM {clone}")

    def anchored(self) -> list[Anchored]:
        return [head for name, found in anchors.get(self.folder) if found for head in anchored(name, found)]

    def verify(self, with_anchors: bool = True, **how: bool) -> Report:
        return verify_installation(self.sinks.settings, anchors=self.anchored() if with_anchors else (), **how)

    def rows(self, table: Table, partition: int) -> list[tuple[Any, ...]]:
        return list(reading.rows(self.client, table, reading.Span(1, partition, 0, 1 << 40)))

    def delete(self, table: str, where: str) -> None:
        self.client.command(f"ALTER TABLE {self.database}.{table} DELETE WHERE {where}", settings={"mutations_sync": 1})

    def insert(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        names = ", ".join(f"`{name}`" for name in table.names)
        sql = f"INSERT INTO {self.database}.{table.name} ({names}) FORMAT Native"
        self.client.send(sql, native.block(table, rows), {"async_insert": 0})


def named(report: Report) -> set[tuple[str, str]]:
    """(table, position) of everything that was found."""
    return {(problem.table, problem.position) for problem in report.problems}


@pytest.fixture(scope="module")
def kept(
    broker: EmbeddedServers, clickhouse_server: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kept]:
    settings = settings_of(broker, settings_for(clickhouse_server.endpoints))
    client = connect(settings, purpose="test")
    client.command(f"DROP DATABASE IF EXISTS {client.database} SYNC")
    migrate(settings, client=client)
    sinks = Sinks(settings, client, tmp_path_factory.mktemp("kept"))
    try:
        for partition in range(4):
            for number in range(OF_EACH):
                sinks.send(one_of_each(10 * number, partition=partition), partition)
        sinks.start()
        sinks.wait(90)
        found = Kept(sinks, tmp_path_factory.mktemp("anchors"))
        found.keep()
        sinks.send([call(NEXT + offset, partition=0) for offset in range(10)], 0)
        sinks.wait(90)
        assert sinks.end() == 0
        prices = PriceBook(Overrides(PRICES))
        assert reprice.apply(settings, client, found.keys, prices, Scope()) > 4 * OF_EACH
        found.keep()
        found.clone()
        yield found
    finally:
        sinks.stop()
        client.close()


@pytest.fixture
def chained(kept: Kept) -> Iterator[Kept]:
    yield kept
    kept.restore()


@pytest.mark.parametrize("how", MODES, ids=["with Kafka", "without"])
def test_an_honest_chain_is_true_and_told(kept: Kept, how: dict[str, bool]) -> None:
    report = kept.verify(**how)
    assert report.problems == ()
    assert [partition.signed for partition in report.partitions] == [2, 2, 2, 2]
    assert [partition.anchored for partition in report.partitions] == [2, 2, 2, 2]
    ends = [kept.sinks.ledger(partition).end for partition in range(4)]
    assert [partition.copied for partition in report.partitions] == ends


def test_a_change_of_any_column_of_any_chained_table_is_found_and_named(chained: Kept) -> None:
    wanted = set()
    for name, table in CHAINED.items():
        offsets = [row[OFFSET] for row in chained.rows(table, CHANGED)]
        assert len(offsets) >= len(table.columns), name
        using = dict(zip(offsets, table.columns, strict=False))
        where = f"partition = {CHANGED} AND offset IN ({', '.join(map(str, using))})"
        chained.delete(name, where)
        changed = ", ".join(
            f"if(offset = {offset}, {_other(column)}, `{column.name}`) AS `{column.name}`"
            for offset, column in using.items()
        )
        names = ", ".join(f"`{column}`" for column in table.names)
        database = chained.database
        # One row for each column; `offset` by another name, so that a condition does not see its own change.
        chained.client.command(
            f"INSERT INTO {database}.{name} ({names}) SELECT {changed.replace('offset =', 'place =')} FROM "
            f"(SELECT *, offset AS place FROM {database}.clone_{name} WHERE {where})"
        )
        wanted |= {(name, f"1/{CHANGED}/{offset}") for offset in using}
    for how in MODES:
        report = chained.verify(**how)
        found = named(report)
        assert wanted - found == set()
        elsewhere = [problem for problem in report.problems if (problem.table, problem.position) not in wanted]
        # Where a row was moved to, and nothing else.
        assert {problem.kind for problem in elsewhere} <= {"row_unexpected", "row_twice"}
        places = {(problem.table, problem.position) for problem in elsewhere}
        assert len(places) == 3 * len(CHAINED), "epoch, partition and offset of each table"


def _other(column: Any) -> str:
    if column.name == "offset":
        return "offset + 100000"
    return change(column.kind, column.name, column.nullable)


def test_removed_swapped_doubled_and_added_rows_and_a_whole_partition_are_each_named(chained: Kept) -> None:
    wanted: set[tuple[str, str, str]] = set()
    for name, table in CHAINED.items():
        first, second, third, fourth, *_ = chained.rows(table, 0)
        # Removed.
        chained.delete(name, f"partition = 0 AND offset IN ({first[OFFSET]}, {second[OFFSET]}, {third[OFFSET]})")
        wanted.add(("row_missing", name, f"1/0/{first[OFFSET]}"))
        # Two rows that changed places.
        swapped = [
            (*row[:OFFSET], other[OFFSET], *row[OFFSET + 1 :]) for row, other in ((second, third), (third, second))
        ]
        # Doubled; and one that nobody sent, with a seal of another row.
        chained.insert(table, [*swapped, fourth, (*fourth[:OFFSET], 7_777, *fourth[OFFSET + 1 :])])
        wanted |= {("row_changed", name, f"1/0/{row[OFFSET]}") for row in (second, third)}
        wanted |= {("row_twice", name, f"1/0/{fourth[OFFSET]}"), ("row_unexpected", name, "1/0/7777")}
    chained.client.command(f"ALTER TABLE {chained.database}.feedback DROP PARTITION (30, '{MONDAY}')")
    gone = {
        ("row_missing", "feedback", f"1/{partition}/{10 * n + 7}") for partition in range(4) for n in range(OF_EACH)
    }
    wanted = {each for each in wanted if each[1] != "feedback"} | gone
    for how in MODES:
        found = {(problem.kind, problem.table, problem.position) for problem in chained.verify(**how).problems}
        assert found == wanted


# ---- with the ledger's copy rewritten


class Forger:
    """Rewrites rows, roots, the copy of the ledger and its heads; has no signing key, and perhaps that of the seals."""

    def __init__(self, kept: Kept, partition: int, seed: int) -> None:
        self.kept = kept
        self.partition = partition
        rng = random.Random(seed)
        self.has_seal_key = seed // 4 % 2 == 0
        self.key = seal_key(kept.keys) if self.has_seal_key else rng.randbytes(32)
        self.signing = heads.private_key(Keys(rng.randbytes(32)))
        self.table = TABLES["call_content" if seed % 5 < 2 else "calls"]
        self.deed = ("change", "remove", "add", "cut")[seed % 4]
        self.signed = ("kept", "dropped", "forged")[seed % 3]
        # A call of each ten positions; the tick beside it has no row.
        self.offset = 10 * rng.randrange(OF_EACH) + (3 if self.deed == "add" else 0)

    def forge(self) -> None:
        """Do it all."""
        rows = self.kept.rows(self.table, self.partition)
        by_offset = {row[OFFSET]: row for row in rows}
        follower = Follower(self.partition)
        copied, previous = [], ""
        for row in ledger_copy.rows(self.kept.client, self.partition):
            entry = msgspec.json.decode(row[copies.VALUE], type=Entry)
            if entry.intent is not None and entry.intent.next > self.offset:
                if self.deed == "cut":
                    break
                if entry.intent.first <= self.offset:
                    entry = msgspec.structs.replace(entry, intent=self._intent(entry.intent, by_offset))
            if entry.signed is not None:
                if self.signed == "dropped":
                    continue
                if self.signed == "forged":
                    state = follower.state
                    said = Signed(follower.end, state.head, state.accepted, entry.signed.at_ms, previous, "", "")
                    entry = msgspec.structs.replace(entry, signed=heads.sign(self.signing, self.partition, said))
                    previous = heads.digest(self.partition, entry.signed)
            value = encode(msgspec.structs.replace(entry, seen=follower.end, state=follower.state))
            offset = follower.end
            verdict = follower.fold(offset, value)
            copied.append(copies.row(self.key, self.partition, offset, row[2], value, verdict, follower.state))
        self.kept.delete("ledger", f"partition = {self.partition}")
        self.kept.insert(copies.LEDGER, copied)
        if self.deed == "cut":
            for table in TABLES:
                self.kept.delete(table, f"partition = {self.partition} AND offset >= {follower.state.reached}")
            # The calls were repriced at the end, so all of it goes.
            self.kept.delete("repricings", f"partition = {self.partition}")
        else:
            self.kept.delete(self.table.name, f"partition = {self.partition} AND offset = {self.offset}")
        if self.deed in ("change", "add"):
            self.kept.insert(self.table, [by_offset[self.offset]])

    def _intent(self, intent: Intent, rows: dict[int, tuple[Any, ...]]) -> Intent:
        """The range with a root over what is to stand; `rows` becomes that."""
        (part,) = [part for part in intent.parts if part.cell.table == self.table.name]
        if self.deed == "remove":
            del rows[self.offset]
        else:
            row = list(rows.get(self.offset) or rows[self.offset - 3])
            row[OFFSET], row[6] = self.offset, "0" * 32
            rows[self.offset] = (*row[:-1], seal(self.key, leaf(self.table, tuple(row))))
        standing = [rows[offset] for offset in sorted(rows) if intent.first <= offset < intent.next]
        made = Part(
            part.cell,
            len(standing),
            root(leaf(self.table, row) for row in standing).hex(),
            spans.write(intent.first, [row[OFFSET] for row in standing]),
        )
        return msgspec.structs.replace(intent, parts=tuple(made if each is part else each for each in intent.parts))

    def is_named(self, report: Report, *, has_kafka: bool) -> bool:
        """Whether the row is named: by position, or, where it has a true seal, by its range or the false ledger."""
        for problem in report.problems:
            if problem.partition != self.partition:
                continue
            if problem.table == self.table.name and _covers(problem.position, self.offset):
                return True
            if not has_kafka and problem.position.startswith(f"ledger {self.partition}/"):
                return True
        return False


def _covers(position: str, offset: int) -> bool:
    first, _, last = position.partition(" to ")
    begin = int(first.rsplit("/", 1)[1])
    return begin <= offset <= int(last or begin)


@pytest.mark.parametrize("round", range(5))
def test_rows_whose_roots_and_ledger_were_rewritten_too_are_found_without_the_signing_key(
    chained: Kept, round: int
) -> None:
    forgers = [Forger(chained, partition, 4 * round + (partition + round) % 4) for partition in range(4)]
    for forger in forgers:
        forger.forge()
    for how in MODES:
        report = chained.verify(**how)
        for forger in forgers:
            told = (how, forger.deed, forger.signed, forger.has_seal_key, forger.table.name, forger.offset)
            assert forger.is_named(report, has_kafka="chain" in how), told


def test_an_anchor_shows_that_the_copy_was_cut_behind_it_and_nothing_else_does(chained: Kept) -> None:
    """With the key of the seals, without Kafka and without anchors a shorter history looks like an earlier one."""
    forger = Forger(chained, 0, 0)
    forger.deed, forger.signed, forger.offset = "cut", "dropped", 10 * OF_EACH
    forger.forge()
    assert chained.verify(with_anchors=False, from_clickhouse=True).ok
    found = chained.verify(from_clickhouse=True).problems
    assert {(problem.kind, problem.partition) for problem in found} == {("anchor_differs", 0)}
    assert all("anchor-" in problem.why for problem in found)
    assert not chained.verify(with_anchors=False, chain=True).ok
