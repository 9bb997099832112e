"""Drop what has had its life: say so in every ledger, copy what is held, drop the partition, say that it is done.

Between the first and the last record nobody puts anything into the partition. A run that was ended anywhere is finished
by the next one, and a run that slept through all that drops nothing that came since. Blocking.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.audit.retention import is_over
from pipeline.audit.tables import CHAINED
from pipeline.control.holds import Hold
from pipeline.errors import RetryableError
from pipeline.keys import Keys, load
from pipeline.settings import Settings
from pipeline.storage import held
from pipeline.storage.client import ClickHouseError, Client
from pipeline.storage.covered import ORDER, UNCHAINED, resolve
from pipeline.storage.endings import MOST_NAMED, Endings
from pipeline.transport.policies import read_holds
from pipeline.transport.producer import RangeProducer
from schemas.ledger import Cell

# How often the parts of a partition are listed again, because merges made others of them.
TRIES: Final = 20
_NO_SUCH_PART: Final = 232  # NO_SUCH_DATA_PART

_PARTITION: Final = re.compile(r"\((\d+),'(\d{4}-\d\d-\d\d)'\)")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Dropped:
    """One ClickHouse partition that is gone, how many rows it held, and how many of them a hold keeps."""

    cell: Cell
    rows: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Expired:
    """What a run did.

    Attributes:
        dropped: Partitions that are gone.
        released: Held rows that are gone because no hold covers them any more, by table.
    """

    dropped: tuple[Dropped, ...]
    released: dict[str, int]


def cells(client: Client) -> dict[Cell, int]:
    """Every ClickHouse partition of ours that holds rows, with their number."""
    found = client.rows(
        "SELECT table, partition, sum(rows) FROM system.parts WHERE active AND database = {database:String} "
        "AND table IN {tables:Array(String)} GROUP BY table, partition ORDER BY table, partition",
        {"database": client.database, "tables": [*CHAINED, *UNCHAINED]},
    )
    known = {}
    for table, partition, rows in found:
        if match := _PARTITION.fullmatch(partition):
            known[Cell(table, int(match.group(1)), match.group(2))] = int(rows)
    return known


def drop_expired(
    settings: Settings,
    client: Client,
    partitions: int,
    *,
    now_ms: int | None = None,
    also: Iterable[Cell] = (),
    progress: Progress | None = None,
) -> Expired:
    """Drop every partition whose life is over, and only those; then held rows that no hold covers any more.

    Args:
        settings: The installation.
        client: A connection that may drop partitions.
        partitions: How many partitions the ledger has.
        now_ms: The time to go by; the server's clock by default.
        also: Cells that go although their stamp says later, because the policy now in force keeps none of their rows.
        progress: Called with (cells done, cells in all, the cell).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or a range is being inserted into such a partition; what
            was dropped until then is recorded, and the next run goes on.
        UsageError: The key root is not to be had.
    """
    return asyncio.run(_expire(settings, client, partitions, now_ms or client.now_ms(), also, progress))


async def _expire(
    settings: Settings, client: Client, partitions: int, now_ms: int, also: Iterable[Cell], progress: Progress | None
) -> Expired:
    producer = RangeProducer(settings, client_id="tokentrail-retention")
    run = _Run(settings, client, load(settings), [Endings(settings, producer, each) for each in range(partitions)])
    try:
        standing = cells(client)
        over = {cell for cell in standing if is_over(cell, now_ms)} | run.begun() | set(also)
        dropped = []
        for number, cell in enumerate(sorted(over, key=lambda cell: (ORDER[cell.table], str(cell)))):
            if progress is not None:
                progress(number, len(over), str(cell))
            kept = await run.end(cell)
            dropped.append(Dropped(cell, standing.get(cell, 0), kept))
        return Expired(tuple(dropped), await run.release())
    finally:
        await producer.close()


class _Run:
    """One run over an installation."""

    def __init__(self, settings: Settings, client: Client, keys: Keys, ledgers: Sequence[Endings]) -> None:
        self._settings = settings
        self._client = client
        self._keys = keys
        self._ledgers = ledgers
        for ledger in ledgers:
            ledger.catch_up()

    def begun(self) -> set[Cell]:
        """Cells whose end an earlier run has begun."""
        return {cell for ledger in self._ledgers for cell in ledger.expiring}

    async def end(self, cell: Cell) -> int:
        """End a cell; returns how many of its rows a hold keeps."""
        if cell.table not in CHAINED:
            await self._drop(cell, self._holds())
            return 0
        for ledger in self._ledgers:
            await ledger.begin(cell)
        # Read when the end stands in the ledger: a hold binds every end that begins after it.
        kept = await self._drop(cell, self._holds())
        for ledger in self._ledgers:
            await ledger.end(cell)
        return kept

    async def _drop(self, cell: Cell, holds: Sequence[Hold]) -> int:
        """Copy what is held and drop what stood before, part by part: what came meanwhile has another name."""
        for _ in range(TRIES):
            parts = _parts(self._client, cell)
            if cell.table in CHAINED and not self._is_expiring(cell):
                return 0  # another run has ended the cell, and what stands there now came afterwards
            held.copy(self._client, cell, resolve(self._client, self._keys, holds, cell.week) if holds else ())
            kept = await self._name(cell, holds) if cell.table in CHAINED else 0
            if not parts:
                return kept
            _drop_parts(self._client, cell.table, parts)
        raise RetryableError(f"{cell} is being merged all the time; run retention again later")

    def _is_expiring(self, cell: Cell) -> bool:
        for ledger in self._ledgers:
            ledger.catch_up()
        return all(cell in ledger.expiring for ledger in self._ledgers)

    async def _name(self, cell: Cell, holds: Sequence[Hold]) -> int:
        """Say in the ledgers which rows live on; how many there are."""
        names, kept = tuple(hold.id for hold in holds), 0
        for ledger in self._ledgers:
            for epoch, offsets in held.positions(self._client, cell, ledger.partition).items():
                await ledger.keep(cell, epoch, offsets, names)
                kept += len(offsets)
        return kept

    async def release(self) -> dict[str, int]:
        """Let held rows go that no hold in force covers; their number by table."""
        gone: dict[str, int] = {}
        # Before the holds are read: what is copied later may be under one that is not known here.
        before_ms = self._client.now_ms()
        holds = self._holds()
        names = tuple(hold.id for hold in holds)
        for table in ORDER:
            for week in held.weeks(self._client, table):
                resolved = resolve(self._client, self._keys, holds, week)
                if table in CHAINED:
                    rows = await self._release(held.freed(self._client, table, week, resolved, MOST_NAMED), names)
                else:
                    rows = held.count_uncovered(self._client, table, week, resolved)
                if rows:
                    held.remove(self._client, table, week, resolved, before_ms)
                    gone[table] = gone.get(table, 0) + rows
        return gone

    async def _release(self, freed: Sequence[held.Freed], names: tuple[str, ...]) -> int:
        for each in freed:
            await self._ledgers[each.partition].release(each.cell, each.epoch, each.offsets, names)
        return sum(len(each.offsets) for each in freed)

    def _holds(self) -> Sequence[Hold]:
        return read_holds(self._settings, self._keys).in_force


def _parts(client: Client, cell: Cell) -> list[str]:
    """Names of the parts of a partition."""
    found = client.rows(
        "SELECT name FROM system.parts WHERE active AND database = {database:String} AND table = {table:String} "
        "AND partition = {partition:String} AND rows > 0",
        {
            "database": client.database,
            "table": cell.table,
            "partition": f"({cell.retention_days},'{cell.week}')",
        },
    )
    return [name for (name,) in found]


def _drop_parts(client: Client, table: str, parts: Sequence[str]) -> None:
    """Drop parts; one that a merge has made another of stays, for the next try."""
    for part in parts:
        try:
            client.command(f"ALTER TABLE {client.database}.{table} DROP PART '{part}'")
        except ClickHouseError as error:
            if error.code != _NO_SUCH_PART:
                raise
