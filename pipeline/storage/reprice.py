"""Write repricings: announce one block in the ledger, insert it, say that it stands; finish what another run left.

A block stands wholly or not at all, and after its deadline nothing of it can follow, so that what a run left open is
told by counting, without its price book. Blocking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from pipeline.audit.effects import DEADLINE_MS, EXECUTION_MS
from pipeline.audit.leaves import seal_key
from pipeline.audit.ledger import Follower, Verdict, encode
from pipeline.audit.repricing import MAX_ROWS, Difference, New, made
from pipeline.audit.tables import REPRICINGS
from pipeline.errors import FatalError, RetryableError
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from pipeline.settings import Settings
from pipeline.storage import native
from pipeline.storage.append import Block, RowsRefusedError, insert
from pipeline.storage.client import Client
from pipeline.storage.repricings import Group, Scope, calls, count, groups
from pipeline.transport.ledgers import LEDGER, follower_before, state_before
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.tail import Reader, read_all
from schemas.ledger import Entry, Repriced, Repricing

OWNER: Final = "reprice"
ATTEMPTS: Final = 3

Progress = Callable[[int, int], None]  # (calls looked at, calls in all)


def difference(client: Client, book: PriceBook, scope: Scope, progress: Progress | None = None) -> Difference:
    """What another book makes of the calls of a scope; writes nothing."""
    found = Difference()
    for _ in _changes(client, book, scope, found, progress, lambda _: 2**63):
        pass
    return found


def apply(
    settings: Settings, client: Client, keys: Keys, book: PriceBook, scope: Scope, progress: Progress | None = None
) -> int:
    """Write the new prices of a scope; returns the number of rows.

    Args:
        settings: The installation.
        client: A connection that may insert into `repricings`.
        keys: For the seals.
        book: What the calls cost now.
        scope: Which calls.
        progress: Called with (calls looked at, calls in all).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or another repricing is under way. What was written until
            then stands; the next run goes on.
        FatalError: A repricing stands in part, which no accepted record can have made.
    """
    return asyncio.run(_apply(settings, client, keys, book, scope, progress))


def settle(settings: Settings, client: Client, partitions: int) -> int:
    """Say what became of repricings that a run left open; returns how many there were. Their cells could not end.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
        FatalError: A repricing stands in part.
    """
    return asyncio.run(_settle(settings, client, partitions))


async def _settle(settings: Settings, client: Client, partitions: int) -> int:
    producer: RangeProducer | None = None
    settled = 0
    try:
        for partition in range(partitions):
            with Reader(settings) as reader:
                state = state_before(reader, partition, reader.bounds(LEDGER, partition)[1])
            open_ = None if state is None else state.repricing
            # Before that a run may be at work on it.
            if open_ is not None and client.now_ms() > open_.deadline_ms + EXECUTION_MS:
                producer = producer or RangeProducer(settings, client_id="tokentrail-reprice")
                await _Ledger(settings, client, producer, partition).finish()
                settled += 1
    finally:
        if producer is not None:
            await producer.close()
    return settled


async def _apply(
    settings: Settings, client: Client, keys: Keys, book: PriceBook, scope: Scope, progress: Progress | None
) -> int:
    producer = RangeProducer(settings, client_id="tokentrail-reprice")
    ledgers: dict[int, _Ledger] = {}
    written = 0
    try:
        for partition in sorted({group.partition for group in groups(client, scope)}):
            ledgers[partition] = _Ledger(settings, client, producer, partition)
            await ledgers[partition].finish()

        def done_below(group: Group) -> int:
            """Only what is done is repriced."""
            state = ledgers[group.partition].follower.state
            return 2**63 if group.epoch < state.epoch else state.next if group.epoch == state.epoch else 0

        for group, news in _changes(client, book, scope, Difference(), progress, done_below):
            await ledgers[group.partition].write(group, news, book.version, seal_key(keys))
            written += len(news)
    finally:
        await producer.close()
    return written


def _changes(
    client: Client,
    book: PriceBook,
    scope: Scope,
    found: Difference,
    progress: Progress | None,
    done_below: Callable[[Group], int],
) -> Iterator[tuple[Group, Sequence[New]]]:
    """New prices in blocks, group by group; `found` counts every call."""
    every = groups(client, scope)
    looked, total = 0, sum(group.calls for group in every)

    def of(group: Group) -> Iterator[New]:
        nonlocal looked
        for call in calls(client, group, scope, done_below(group)):
            looked += 1
            if progress is not None and looked % 1_000 == 0:
                progress(looked, total)
            new = found.take(book, call)
            if new is not None:
                yield new

    for group in every:
        news = of(group)
        while block := list(islice(news, MAX_ROWS)):
            yield group, block


class _Ledger:
    """Writes repricings into one partition's ledger, between the records of its owner."""

    def __init__(self, settings: Settings, client: Client, producer: RangeProducer, partition: int) -> None:
        self._settings = settings
        self._client = client
        self._producer = producer
        self._partition = partition
        with Reader(settings) as reader:
            end = reader.bounds(LEDGER, partition)[1]
            self.follower = follower_before(reader, partition, end) or Follower(partition)
        self._catch_up()

    async def finish(self) -> None:
        """Say what became of a repricing that another run left open."""
        self._catch_up()
        open_ = self.follower.state.repricing
        if open_ is None:
            return
        self._wait_beyond(open_.deadline_ms + EXECUTION_MS)
        stands = count(self._client, self._partition, open_.number)
        if stands not in (0, open_.part.rows):
            raise FatalError(
                f"Repricing {open_.number} of partition {self._partition} has {stands} rows of {open_.part.rows}: it "
                "was inserted as one. Run `tokentrail verify`, and do not go on before it is clear why."
            )
        await self._say(repriced=Repriced(open_.number, bool(stands)))

    async def write(self, group: Group, news: Sequence[New], version: str, key: bytes) -> None:
        """Write one block of new prices; made again under a new number where it did not land."""
        for _ in range(ATTEMPTS):
            number = self.follower.state.repricings + 1
            at_ms = self._client.now_ms()
            rows, part = made(number, group.cell, group.epoch, self._partition, news, version, at_ms, key)
            body = native.block(REPRICINGS, rows)
            first, next = news[0].call.offset, news[-1].call.offset + 1
            deadline_ms = self._client.now_ms() + DEADLINE_MS
            told = Repricing(number, group.epoch, first, next, part, version, deadline_ms)
            verdict = await self._say(repricing=told)
            if not verdict.accepted:
                raise RetryableError(
                    f"partition {self._partition}: the ledger rejects a repricing ({verdict.reason}); another one is "
                    "under way, or its week is being dropped. Run it again"
                )
            token = f"{self._client.database}-repricing-{self._partition}-{number}-{part.root[:32]}"
            try:
                insert(self._client, Block(REPRICINGS, token, len(rows), body), deadline_ms=deadline_ms)
            except RowsRefusedError:
                await self._say(repriced=Repriced(number, False))
                raise
            except RetryableError:
                await self.finish()
                if count(self._client, self._partition, number):
                    return
            else:
                await self._say(repriced=Repriced(number, True))
                return
        raise RetryableError(f"partition {self._partition}: ClickHouse did not take a repricing {ATTEMPTS} times")

    def _wait_beyond(self, server_ms: int) -> None:
        while (now := self._client.now_ms()) <= server_ms:
            time.sleep(min(1.0, (server_ms - now) / 1000 + 0.01))

    async def _say(self, *, repricing: Repricing | None = None, repriced: Repriced | None = None) -> Verdict:
        follower = self.follower
        entry = Entry(self._partition, OWNER, follower.end, follower.state, repricing=repricing, repriced=repriced)
        key = str(self._partition).encode()
        (offset,) = await self._producer.deliver([Outgoing(LEDGER, encode(entry), key, self._partition)])
        return self._catch_up()[offset]

    def _catch_up(self) -> dict[int, Verdict]:
        found = read_all(self._settings, LEDGER, self._partition, self.follower.end)
        return {record.offset: self.follower.fold(record.offset, record.value or b"") for record in found}
