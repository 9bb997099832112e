"""Every partition's ledger as somebody sees and writes it who owns no partition: changes of rows are such records.

What was announced and is not said to be done is known to everybody who reads, so that anybody can finish it. Blocking,
but for what waits for Kafka to take a record.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Literal

from pipeline.audit.ledger import Follower, Verdict, encode
from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.tail import Reader
from schemas.ledger import Change, Entry, Erased, Erasing, State

Why = Literal["erasure", "policy"]

# How long a row of a range that is not finished is waited for.
PATIENCE_S: Final = 30.0


class Ledger:
    """One partition's ledger as somebody sees it who does not own the partition.

    Attributes:
        partition: Which.
        erasures: How many erasure requests the last accepted INTENT counted.
    """

    def __init__(self, reader: Reader, partition: int, owner: str = "", producer: RangeProducer | None = None) -> None:
        self.partition = partition
        self.erasures = 0
        self._reader = reader
        self._owner = owner
        self._producer = producer
        self._follower = Follower(partition)
        self._erasing: dict[tuple[str, int], Erasing] = {}
        self._last: dict[str, int] = {}

    @property
    def state(self) -> State:
        """The fold."""
        return self._follower.state

    @property
    def under_way(self) -> list[Erasing]:
        """Changes that were announced and are not said to be done."""
        return [self._erasing[batch] for batch in self.state.erasing]

    def catch_up(self) -> dict[int, Verdict]:
        """Fold what came since; verdicts by ledger offset."""
        verdicts = {}
        _, end = self._reader.bounds("ledger", self.partition)
        for record in self._reader.read("ledger", self.partition, self._follower.end, end):
            verdict = verdicts[record.offset] = self._follower.fold(record.offset, record.value or b"")
            entry = verdict.entry
            if not verdict.accepted or entry is None:
                continue
            if entry.intent is not None:
                self.erasures = entry.intent.erasures
            if entry.erasing is not None:
                self._erasing[entry.erasing.request, entry.erasing.batch] = entry.erasing
                self._last[entry.erasing.request] = entry.erasing.batch
            if entry.erased is not None:
                self._erasing.pop((entry.erased.request, entry.erased.batch), None)
        return verdicts

    async def begin(self, request: str, why: Why, changes: tuple[Change, ...]) -> tuple[int, int]:
        """Announce changes; returns the batch's number and the ledger offset. Waits for a range to be finished."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            batch = self._last.get(request, 0) + 1
            offset, verdict = await self._write(erasing=Erasing(request, batch, why, changes))
            if verdict.accepted:
                return batch, offset
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"partition {self.partition}: rows of {request} cannot be changed yet ({verdict.reason}). "
                    "Is its sink running? What was done until now stays done; it goes on when asked again."
                )
            await asyncio.sleep(0.0 if verdict.reason == "batch_twice" else 0.5)
            self.catch_up()

    async def end(self, request: str, batch: int) -> None:
        """Say that a batch is done; somebody else may have said so."""
        if (request, batch) in self.state.erasing:
            await self._write(erased=Erased(request, batch))

    async def _write(self, *, erasing: Erasing | None = None, erased: Erased | None = None) -> tuple[int, Verdict]:
        follower, number = self._follower, self.partition
        assert self._producer is not None
        value = encode(Entry(number, self._owner, follower.end, follower.state, erasing=erasing, erased=erased))
        (offset,) = await self._producer.deliver([Outgoing("ledger", value, str(number).encode(), number)])
        return offset, self.catch_up()[offset]


class Ledgers:
    """Every partition's ledger, folded to its end, and one producer for all."""

    def __init__(self, settings: Settings, partitions: int, owner: str) -> None:
        self._producer = RangeProducer(settings, client_id=f"tokentrail-{owner}")
        self._reader = Reader(settings)
        self.all = [Ledger(self._reader, number, owner, self._producer) for number in range(partitions)]

    async def __aenter__(self) -> Ledgers:
        for ledger in self.all:
            ledger.catch_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.__exit__()
        await self._producer.close()
