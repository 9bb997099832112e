"""Write the end of cells into one partition's ledger, and which rows outlive it, between the records of its owner.

Blocking calls run in the loop of a command or of `keep`, which has nothing else to do. Must not touch ClickHouse.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.audit import spans
from pipeline.audit.ledger import Verdict, encode
from pipeline.audit.retention import Holdings
from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.tail import read_all
from schemas.ledger import Cell, Entry, Held

OWNER: Final = "retention"
# A range that is being inserted into the cell holds its end up for so long at most.
PATIENCE_S: Final = 30.0
# Rows that one record names: about 100 kB at the worst.
MOST_NAMED: Final = 20_000


class Endings:
    """One partition's ledger, folded, and written to."""

    def __init__(self, settings: Settings, producer: RangeProducer, partition: int) -> None:
        self._settings = settings
        self._producer = producer
        self.partition = partition
        self._holdings = Holdings(partition)

    @property
    def expiring(self) -> tuple[Cell, ...]:
        """Cells whose end has begun."""
        return self._holdings.follower.state.expiring

    async def begin(self, cell: Cell) -> None:
        """Say that the cell is about to go; waits for a range that is being put into it.

        Raises:
            RetryableError: It is still being put in.
        """
        deadline = time.monotonic() + PATIENCE_S
        while cell not in self.expiring:
            verdict = await self._write(expiring=self._holdings.expiry(cell))
            if verdict.accepted:
                return
            if time.monotonic() > deadline:
                raise RetryableError(f"{cell} is being written to ({verdict.reason}); run retention again later")
            await asyncio.sleep(0.0 if verdict.reason == "state_moved" else 0.5)
            self.catch_up()

    async def keep(self, cell: Cell, epoch: int, offsets: Sequence[int], holds: tuple[str, ...]) -> None:
        """Name the rows of the cell that live on in its held table, unless the ledger names them already.

        Raises:
            RetryableError: The cell is not expiring any more.
        """
        known = self._holdings.held(cell, epoch)
        for named in _named(cell, epoch, [offset for offset in offsets if offset not in known], holds):
            verdict = await self._write(held=named)
            if not verdict.accepted:
                raise RetryableError(f"what is held of {cell} could not be recorded ({verdict.reason}); try again")

    async def release(self, cell: Cell, epoch: int, offsets: Sequence[int], holds: tuple[str, ...]) -> None:
        """Name held rows that go because no hold in force covers them."""
        for named in _named(cell, epoch, offsets, holds):
            await self._write(released=named)

    async def end(self, cell: Cell) -> None:
        """Say that the cell is gone."""
        if cell in self.expiring:
            await self._write(expired=self._holdings.expiry(cell))

    def catch_up(self) -> dict[int, Verdict]:
        """Fold what came since."""
        start = self._holdings.follower.end
        found = read_all(self._settings, "ledger", self.partition, start)
        return {record.offset: self._holdings.fold(record.offset, record.value or b"") for record in found}

    async def _write(self, **step: Any) -> Verdict:
        follower = self._holdings.follower
        value = encode(Entry(self.partition, OWNER, follower.end, follower.state, **step))
        record = Outgoing("ledger", value, str(self.partition).encode(), self.partition)
        (offset,) = await self._producer.deliver([record])
        return self.catch_up()[offset]


def _named(cell: Cell, epoch: int, offsets: Sequence[int], holds: tuple[str, ...]) -> Iterator[Held]:
    """Rising offsets, of which one may come several times, in records of a bounded size."""
    rows = Counter(offsets)
    distinct = list(rows)
    for at in range(0, len(distinct), MOST_NAMED):
        part = distinct[at : at + MOST_NAMED]
        count = sum(rows[offset] for offset in part)
        yield Held(cell, epoch, part[0], count, spans.write(part[0], part), holds)
