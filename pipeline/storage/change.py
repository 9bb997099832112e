"""Change or remove rows of finished ranges lawfully: say so in the ledger with old and new leaf, do it, say it is done.

Whoever comes after a crash finishes what is under way by the ledger alone, and doing it twice is the same as once. Rows
are named by position, never by a pseudonym, because the server keeps the text of a mutation on disk. Blocking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipeline.audit.erasing import bared
from pipeline.audit.leaves import seal, seal_key
from pipeline.audit.tables import TABLES
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage.client import Client
from pipeline.storage.ledgers import Ledgers, Why
from schemas.ledger import Cell, Change

Progress = Callable[[int, int, str], None]

OWNER: Final = "change"
# Rows of one ledger record: with two leaves each they stay far below the message limit.
BATCH_ROWS: Final = 2_000
# Rows named in one statement.
STATEMENT_ROWS: Final = 8_000
# A statement names thousands of positions; the server's query log needs to know that it ran, not all of them.
_SETTINGS: Final[Mapping[str, Any]] = {
    "mutations_sync": 2,
    "max_query_size": 16_000_000,
    "max_ast_elements": 1_000_000,
    "max_expanded_ast_elements": 1_000_000,
    "log_queries_cut_to_length": 500,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One row to change: its source partition, and what the ledger is told."""

    partition: int
    change: Change


@dataclass(slots=True)
class Changed:
    """What was done.

    Attributes:
        rows: By table.
        batches: (partition, ledger offset) of each record that announced a part of it.
    """

    rows: dict[str, int] = field(default_factory=dict)
    batches: list[tuple[int, int]] = field(default_factory=list)


def change(
    settings: Settings,
    client: Client,
    keys: Keys,
    partitions: int,
    request: str,
    why: Why,
    wanted: Iterable[Wanted],
    progress: Progress | None = None,
) -> Changed:
    """Change rows, in their order; first whatever an earlier call left under way is finished.

    Args:
        settings: The installation.
        client: A connection that may change rows.
        keys: For the seals of changed rows.
        partitions: How many partitions the ledger has.
        request: What it is for; the ledger keeps the name.
        why: On which ground.
        wanted: Rows of finished ranges; the new leaf is that of the bare row, or empty where the row goes.
        progress: Called with (rows done, rows in all, table).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or a row's range is not finished; call it again.
    """
    return asyncio.run(_change(settings, client, keys, partitions, request, why, list(wanted), progress))


def finish(settings: Settings, client: Client, keys: Keys, partitions: int) -> int:
    """Finish what is under way, whoever began it; returns the number of rows that were named.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer; call it again.
    """

    async def run() -> int:
        async with Ledgers(settings, partitions, OWNER) as ledgers:
            return await _finish(client, keys, ledgers)

    return asyncio.run(run())


async def _change(
    settings: Settings,
    client: Client,
    keys: Keys,
    partitions: int,
    request: str,
    why: Why,
    wanted: Sequence[Wanted],
    progress: Progress | None,
) -> Changed:
    done = Changed()
    count = 0
    async with Ledgers(settings, partitions, OWNER) as ledgers:
        await _finish(client, keys, ledgers)
        for group in _rounds(wanted):
            begun = []
            for number, changes in group.items():
                batch, offset = await ledgers.all[number].begin(request, why, tuple(changes))
                begun.append((number, batch))
                done.batches.append((number, offset))
            _apply(client, keys, [(number, one) for number, changes in group.items() for one in changes])
            for number, batch in begun:
                await ledgers.all[number].end(request, batch)
            for changes in group.values():
                for one in changes:
                    done.rows[one.cell.table] = done.rows.get(one.cell.table, 0) + 1
                count += len(changes)
            if progress is not None:
                progress(count, len(wanted), ", ".join(done.rows))
    return done


async def _finish(client: Client, keys: Keys, ledgers: Ledgers) -> int:
    left = [(ledger, erasing) for ledger in ledgers.all for erasing in ledger.under_way]
    rows = [(ledger.partition, one) for ledger, erasing in left for one in erasing.changes]
    _apply(client, keys, rows)
    for ledger, erasing in left:
        await ledger.end(erasing.request, erasing.batch)
    return len(rows)


def _rounds(wanted: Sequence[Wanted]) -> Iterator[dict[int, list[Change]]]:
    """The rows in their order, cut where a partition has enough for one record."""
    group: dict[int, list[Change]] = {}
    for each in wanted:
        changes = group.setdefault(each.partition, [])
        changes.append(each.change)
        if len(changes) >= BATCH_ROWS:
            yield group
            group = {}
    if group:
        yield group


# ---- rows


def _apply(client: Client, keys: Keys, changes: Sequence[tuple[int, Change]]) -> None:
    """Make rows what the ledger says they become; those that are it already are left alone."""
    cells: dict[Cell, list[tuple[int, Change]]] = {}
    for each in changes:
        cells.setdefault(each[1].cell, []).append(each)
    key = seal_key(keys)
    for cell, found in cells.items():
        for at in range(0, len(found), STATEMENT_ROWS):
            _apply_to_cell(client, key, cell, found[at : at + STATEMENT_ROWS])


def _apply_to_cell(client: Client, key: bytes, cell: Cell, changes: Sequence[tuple[int, Change]]) -> None:
    seals = {
        (one.epoch, partition, one.offset): seal(key, bytes.fromhex(one.now)) if one.now else b""
        for partition, one in changes
    }
    where = f"retention_days = {cell.retention_days} AND toMonday(received_at) = '{cell.week}' AND ({at(seals)})"
    standing = client.rows(
        f"SELECT epoch, partition, offset, hex(seal) FROM {client.database}.{cell.table} WHERE {where} "
        "SETTINGS max_query_size = 16000000, log_queries_cut_to_length = 500"
    )
    due = [
        (place, seals[place])
        for *position, found in standing
        if seals[place := (int(position[0]), int(position[1]), int(position[2]))] != bytes.fromhex(found)
    ]
    alter = f"ALTER TABLE {client.database}.{cell.table}"
    partition = f"IN PARTITION ({cell.retention_days}, '{cell.week}')"
    if gone := [place for place, new in due if not new]:
        client.command(f"{alter} DELETE {partition} WHERE {at(gone)}", settings=_SETTINGS)
    if bare := {place: new for place, new in due if new}:
        emptied = ", ".join(f"`{name}` = ''" for name in bared(TABLES[cell.table]))
        sql = f"{alter} UPDATE {emptied}, seal = {_seals(bare)} {partition} WHERE {at(bare)}"
        client.command(sql, settings=_SETTINGS)


Place = tuple[int, int, int]  # epoch, partition, offset


def _by_log(places: Iterable[Place]) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for epoch, partition, offset in places:
        found.setdefault((epoch, partition), []).append(offset)
    return found


def at(places: Iterable[Place]) -> str:
    """A condition that holds at these positions. By log, because the server is slow with thousands of tuples."""
    return " OR ".join(
        f"(epoch = {epoch} AND partition = {partition} AND offset IN ({', '.join(map(str, offsets))}))"
        for (epoch, partition), offsets in _by_log(places).items()
    )


def _seals(new: Mapping[Place, bytes]) -> str:
    """An expression that gives each of these positions its seal."""
    cases = []
    for (epoch, partition), offsets in _by_log(new).items():
        values = ", ".join(f"'{new[epoch, partition, offset].hex()}'" for offset in offsets)
        seals = f"transform(offset, [{', '.join(map(str, offsets))}], [{values}], '')"
        cases.append(f"epoch = {epoch} AND partition = {partition}, {seals}")
    return f"toFixedString(unhex(multiIf({', '.join(cases)}, '')), 16)"
