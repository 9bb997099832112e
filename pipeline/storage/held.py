"""Copies of rows under a legal hold in `held_<table>`: made before their partition goes, removed when no hold is left.

A copy is made once however often it is asked for: what stands there is left out, and two copies of one partition never
run at a time. Must not write the ledger.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from pipeline.errors import RetryableError
from pipeline.storage.client import ClickHouseError, Client
from pipeline.storage.covered import IDENTITY, POSITION, PREFIX, TIME, UNLOGGED, Condition, Resolved
from schemas.ledger import Cell

# Source offsets whose rows are copied by one statement: bounds the server's memory.
OFFSETS_AT_ONCE: Final = 250_000
# Rows have many columns: small blocks on one thread, or a block takes a gigabyte.
_SETTINGS: Final = {
    "log_queries": 0,
    "max_threads": 1,
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 65_536,
    "min_insert_block_size_bytes": 32_000_000,
}
MOST_HASHES: Final = 5_000  # in one statement
_SAME_QUERY_RUNS: Final = 216  # QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING


def copy(client: Client, cell: Cell, holds: Resolved) -> None:
    """Copy the rows of a cell that a hold covers; returns when every one of them stands in the held table once.

    Raises:
        RetryableError: Another copy of this cell is running, or rows are still missing.
        ClickHouseError: The server refuses or is away; what was copied stays, and the next attempt copies the rest.
    """
    if not holds:
        return
    names = ", ".join(f"`{name}`" for name in _columns(client, cell.table))
    for stretch in _stretches(client, cell, holds):
        _copy(client, cell, holds, names, stretch)


Stretch = tuple[int, int, int]  # epoch, partition, offset divided by what is copied at once


def _stretches(client: Client, cell: Cell, holds: Resolved) -> list[Stretch | None]:
    """Where rows to copy stand, piece by piece, so that memory does not grow with them; None: all at once."""
    if IDENTITY[cell.table][: len(POSITION)] != POSITION:
        return [None]
    where = Condition(client.database)
    sql = (
        f"SELECT DISTINCT epoch, partition, intDiv(offset, {OFFSETS_AT_ONCE}) AS piece "
        f"FROM {client.database}.{cell.table} WHERE {where.cell(cell)} "
        f"AND {where.covered(cell.table, [scope for _, scope in holds])} ORDER BY epoch, partition, piece{UNLOGGED}"
    )
    return [(int(epoch), int(partition), int(piece)) for epoch, partition, piece in client.rows(sql, where.parameters)]


def _copy(client: Client, cell: Cell, holds: Resolved, names: str, stretch: Stretch | None) -> None:
    table, identity = cell.table, ", ".join(IDENTITY[cell.table])
    there = Condition(client.database)
    within = there.cell(cell)
    if stretch is not None:
        epoch, partition, piece = stretch
        first, next = piece * OFFSETS_AT_ONCE, (piece + 1) * OFFSETS_AT_ONCE
        within += f" AND epoch = {epoch} AND partition = {partition} AND offset >= {first} AND offset < {next}"
    missing = (
        f"FROM {client.database}.{table} WHERE {within} AND {there.covered(table, [scope for _, scope in holds])} "
        f"AND ({identity}) NOT IN (SELECT {identity} FROM {client.database}.{PREFIX}{table} WHERE {within})"
    )
    # Each row is told the first hold that covers it.
    by = ", ".join(f"{there.covered(table, [scope])}, {there.value(id, 'String')}" for id, scope in holds)
    where = "-".join(map(str, (table, cell.retention_days, cell.week, *(stretch or ()))))
    try:
        client.command(
            f"INSERT INTO {client.database}.{PREFIX}{table} ({names}, hold, held_at) "
            f"SELECT {names}, multiIf({by}, ''), now64(3) {missing} LIMIT 1 BY {identity}",
            there.parameters,
            # Nobody makes the same copy at the same time, not even one whose client was killed.
            {**_SETTINGS, "query_id": f"tokentrail-hold-{client.database}-{where}"},
        )
    except ClickHouseError as error:
        if error.code == _SAME_QUERY_RUNS:
            raise RetryableError(f"the held rows of {cell} are being copied by another run; try again later") from None
        raise
    ((left,),) = client.rows(f"SELECT count() {missing}{UNLOGGED}", there.parameters)
    if left:
        raise RetryableError(f"{left} held rows of {cell} are not copied yet; nothing was dropped, try again")


def positions(client: Client, cell: Cell, partition: int) -> dict[int, list[int]]:
    """Offsets of held rows of a cell that stem from one source partition, rising, by epoch."""
    where = Condition(client.database)
    found: dict[int, list[int]] = {}
    sql = (
        f"SELECT DISTINCT epoch, offset FROM {client.database}.{PREFIX}{cell.table} WHERE {where.cell(cell)} "
        f"AND partition = {where.value(partition, 'UInt32')} ORDER BY epoch, offset"
    )
    for block in client.stream(sql, where.parameters):
        for epoch, offset in block:
            found.setdefault(int(epoch), []).append(int(offset))
    return found


@dataclass(frozen=True, slots=True)
class Freed:
    """Held rows of one source partition, epoch and cell that no hold covers any more."""

    cell: Cell
    partition: int
    epoch: int
    offsets: tuple[int, ...]


def weeks(client: Client, table: str) -> list[str]:
    """Weeks of which held rows of a table stand."""
    name = f"{client.database}.{PREFIX}{table}"
    return [str(week) for (week,) in client.rows(f"SELECT DISTINCT toString(toMonday({TIME[table]})) AS w FROM {name}")]


def freed(client: Client, table: str, week: str, holds: Resolved, most: int) -> list[Freed]:
    """Held rows of a chained table and week that no hold covers, at most `most` together."""
    where, uncovered = _uncovered(client, table, week, holds)
    sql = (
        f"SELECT DISTINCT retention_days, partition, epoch, offset FROM {client.database}.{PREFIX}{table} "
        f"WHERE {uncovered} ORDER BY retention_days, partition, epoch, offset{UNLOGGED}"
    )
    found: dict[tuple[int, int, int], list[int]] = {}
    for block in client.stream(sql, where.parameters):
        for days, partition, epoch, offset in block:
            found.setdefault((int(days), int(partition), int(epoch)), []).append(int(offset))
    return [
        Freed(Cell(table, days, week), partition, epoch, tuple(offsets[at : at + most]))
        for (days, partition, epoch), offsets in found.items()
        for at in range(0, len(offsets), most)
    ]


def remove(client: Client, table: str, week: str, holds: Resolved, before_ms: int) -> None:
    """Delete held rows of a week that no hold covers; returns when they are gone.

    The server keeps the text of a mutation, so that who stays is named by hashes under a key that is thrown away.
    `before_ms` is a time of the server's: what was copied later stays.
    """
    where, uncovered = _uncovered(client, table, week, holds, secrets.token_hex(16))
    copied = f"toUnixTimestamp64Milli(held_at) < {where.value(before_ms, 'Int64')}"
    sql = f"ALTER TABLE {client.database}.{PREFIX}{table} DELETE WHERE {copied} AND {uncovered}"
    client.command(sql, where.parameters, {"mutations_sync": 1})


def delete_hashed(client: Client, name: str, table: str, condition: str, where: Condition) -> int:
    """Delete rows of a table that is not chained; how many there were.

    The server keeps the text of a mutation, so that rows are named by hashes under a key that is thrown away.
    """
    key = f"({secrets.randbits(64)}, {secrets.randbits(64)})"
    hashed = f"sipHash64Keyed({key}, {', '.join(IDENTITY[table])})"
    sql = f"SELECT {hashed} FROM {client.database}.{name} WHERE {condition}{UNLOGGED}"
    found = client.rows(sql, where.parameters)
    for at in range(0, len(found), MOST_HASHES):
        some = ", ".join(str(each) for (each,) in found[at : at + MOST_HASHES])
        sql = f"ALTER TABLE {client.database}.{name} DELETE WHERE {hashed} IN ({some})"
        client.command(sql, settings={"mutations_sync": 1})
    return len(found)


def count_uncovered(client: Client, table: str, week: str, holds: Resolved) -> int:
    """How many held rows of a week no hold covers."""
    where, uncovered = _uncovered(client, table, week, holds)
    sql = f"SELECT count() FROM {client.database}.{PREFIX}{table} WHERE {uncovered}{UNLOGGED}"
    ((count,),) = client.rows(sql, where.parameters)
    return int(count)


def _uncovered(client: Client, table: str, week: str, holds: Resolved, secret: str = "") -> tuple[Condition, str]:
    where = Condition(client.database, secret)
    monday, covered = where.value(week, "Date"), where.covered(table, [scope for _, scope in holds])
    return where, f"toMonday({TIME[table]}) = {monday} AND NOT {covered}"


def _columns(client: Client, table: str) -> list[str]:
    found = client.rows(
        "SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String} "
        "AND default_kind NOT IN ('MATERIALIZED', 'ALIAS') ORDER BY position",
        {"database": client.database, "table": table},
    )
    return [name for (name,) in found]
