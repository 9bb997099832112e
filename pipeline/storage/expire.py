"""Drop what has had its life: say so in every ledger, drop the ClickHouse partition, say that it is done.

Between the two records nobody puts anything into the partition. A run that was ended in the middle is finished by the
next one. Blocking.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.audit.ledger import Verdict, encode
from pipeline.audit.retention import Holdings, is_over
from pipeline.audit.tables import TABLES
from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.storage.client import Client
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.tail import read_all
from schemas.ledger import Cell, Entry, Expiry

# Tables that are no part of the chain: they can be computed again, and their end needs no record.
UNCHAINED: Final = ("windows", "anomalies", "late_events")
OWNER: Final = "retention"
# A range that is being inserted into the cell holds its end up for so long at most.
PATIENCE_S: Final = 30.0

_PARTITION: Final = re.compile(r"\((\d+),'(\d{4}-\d\d-\d\d)'\)")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Dropped:
    """One ClickHouse partition that is gone, and how many rows it held."""

    cell: Cell
    rows: int


def cells(client: Client) -> dict[Cell, int]:
    """Every ClickHouse partition of ours that holds rows, with their number."""
    found = client.rows(
        "SELECT table, partition, sum(rows) FROM system.parts WHERE active AND database = {database:String} "
        "AND table IN {tables:Array(String)} GROUP BY table, partition ORDER BY table, partition",
        {"database": client.database, "tables": [*TABLES, *UNCHAINED]},
    )
    known = {}
    for table, partition, rows in found:
        if match := _PARTITION.fullmatch(partition):
            known[Cell(table, int(match.group(1)), match.group(2))] = int(rows)
    return known


def drop_expired(
    settings: Settings, client: Client, partitions: int, *, now_ms: int | None = None, progress: Progress | None = None
) -> list[Dropped]:
    """Drop every partition whose life is over, and only those.

    Args:
        settings: The installation.
        client: A connection that may drop partitions.
        partitions: How many partitions the ledger has.
        now_ms: The time to go by; the server's clock by default.
        progress: Called with (cells done, cells in all, the cell).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or a range is being inserted into such a partition; what
            was dropped until then is recorded, and the next run goes on.
    """
    return asyncio.run(_drop_expired(settings, client, partitions, now_ms or client.now_ms(), progress))


async def _drop_expired(
    settings: Settings, client: Client, partitions: int, now_ms: int, progress: Progress | None
) -> list[Dropped]:
    producer = RangeProducer(settings, client_id="tokentrail-retention")
    ledgers = [_Ledger(settings, producer, number) for number in range(partitions)]
    for ledger in ledgers:
        ledger.catch_up()
    standing = cells(client)
    begun = {cell for ledger in ledgers for cell in ledger.expiring}
    over = sorted({cell for cell in standing if is_over(cell, now_ms)} | begun, key=str)
    dropped = []
    try:
        for number, cell in enumerate(over):
            if progress is not None:
                progress(number, len(over), str(cell))
            if cell.table not in TABLES:
                _drop(client, cell)
            else:
                for ledger in ledgers:
                    await ledger.begin(cell)
                _drop(client, cell)
                for ledger in ledgers:
                    await ledger.end(cell)
            dropped.append(Dropped(cell, standing.get(cell, 0)))
    finally:
        await producer.close()
    return dropped


def _drop(client: Client, cell: Cell) -> None:
    client.command(f"ALTER TABLE {client.database}.{cell.table} DROP PARTITION ({cell.retention_days}, '{cell.week}')")


class _Ledger:
    """Writes the end of cells into one partition's ledger, between the records of its owner."""

    def __init__(self, settings: Settings, producer: RangeProducer, partition: int) -> None:
        self._settings = settings
        self._producer = producer
        self._partition = partition
        self._holdings = Holdings(partition)

    @property
    def expiring(self) -> tuple[Cell, ...]:
        """Cells whose end has begun."""
        return self._holdings.follower.state.expiring

    async def begin(self, cell: Cell) -> None:
        """Say that the cell is about to go; waits for a range that is being put into it."""
        deadline = time.monotonic() + PATIENCE_S
        while cell not in self.expiring:
            verdict = await self._write(expiring=self._holdings.expiry(cell))
            if verdict.accepted:
                return
            if time.monotonic() > deadline:
                raise RetryableError(f"{cell} is being written to ({verdict.reason}); run retention again later")
            await asyncio.sleep(0.0 if verdict.reason == "state_moved" else 0.5)
            self.catch_up()

    async def end(self, cell: Cell) -> None:
        """Say that the cell is gone."""
        if cell in self.expiring:
            await self._write(expired=self._holdings.expiry(cell))

    def catch_up(self) -> dict[int, Verdict]:
        """Fold what came since."""
        start = self._holdings.follower.end
        found = read_all(self._settings, "ledger", self._partition, start)
        return {record.offset: self._holdings.fold(record.offset, record.value or b"") for record in found}

    async def _write(self, *, expiring: Expiry | None = None, expired: Expiry | None = None) -> Verdict:
        follower = self._holdings.follower
        value = encode(Entry(self._partition, OWNER, follower.end, follower.state, expiring=expiring, expired=expired))
        (offset,) = await self._producer.deliver(
            [Outgoing("ledger", value, str(self._partition).encode(), self._partition)]
        )
        return self.catch_up()[offset]
