"""The Faust transport `kafka+range`: a whole fetch of one partition reaches the stream as one event.

It fetches, fences, seeks and commits; it must not know what a stage is. An application may set `app.range_host` to be
told of assignments and to seek by its own positions; without one, partitions start at their committed offsets and the
plug-in serves any Faust agent (`async for event in stream.noack().events()`, then `event.value.records`).

How it differs from the stock consumer, and why:
- An acknowledged event commits its whole fetch, and only a head of the partition's events is ever committed, so that
  a commit cannot pass work in flight.
- A fetch carries the serial of the assignment it was made under. A fetch of an older one is void; a seek always follows
  a new serial, so nothing that is dropped is skipped. The stock consumer drops fetched records of a partition that was
  paused in the meantime.
- Commits are hints: one that fails is logged and made again, never a reason to stop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from faust.serializers import codecs
from faust.transport.consumer import ensure_TP, ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from pipeline.transport.fetching import FAUST_LOG, RangeConsumerThread, RebalanceListener
from pipeline.transport.ranges import Record

# Name of the codec for an agent's topic: app.topic(..., value_serializer=CODEC, key_serializer="raw").
CODEC: Final = "range"


class _AsIs(codecs.Codec):  # type: ignore[misc]
    """Hands the fetch through: decoding is the business of whoever reads the records."""

    def loads(self, s: Any) -> Any:
        return s

    def dumps(self, obj: Any) -> Any:
        return obj


codecs.register(CODEC, _AsIs())


class Fetch:
    """One fetch of one partition: the value of an event of this transport.

    Attributes:
        tp: Topic and partition.
        records: The records in offset order, at least one.
        serial: The assignment under which they were fetched.
    """

    __slots__ = ("records", "serial", "tp")

    def __init__(self, tp: TP, records: Sequence[Record], serial: int) -> None:
        self.tp = tp
        self.records = records
        self.serial = serial


class RangeHost(Protocol):
    """What an application that decides its own positions is told.

    Attributes:
        pace_s: Least time from one fetch to the next request while there is no backlog. The first record after a quiet
            time comes at once; in a steady trickle a fetch costs more than its records.
    """

    pace_s: float

    def on_assigned(self, partitions: Collection[TP]) -> None:
        """Partitions were assigned and are held back until `RangeConsumer.start_at` is called for each."""
        ...

    async def on_revoked(self, partitions: Collection[TP]) -> None:
        """Partitions are being taken away; what is acknowledged before this returns is still committed."""
        ...


class RangeConsumer(driver.Consumer):  # type: ignore[misc]
    """Hands whole fetches to the streams and commits them as wholes."""

    logger = FAUST_LOG
    RebalanceListener = RebalanceListener
    _thread: RangeConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inflight: dict[TP, deque[ConsumerMessage]] = defaultdict(deque)  # in fetch order, until acknowledged
        self._done: dict[TP, int] = {}  # offset to commit
        self._unpaused = asyncio.Event()

    def _new_consumer_thread(self) -> RangeConsumerThread:
        return RangeConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def host(self) -> RangeHost | None:
        """The application's host, where it has one."""
        host: RangeHost | None = getattr(self.app, "range_host", None)
        return host

    @property
    def serial(self) -> int:
        """Serial of the assignment in force; grows with every revocation."""
        return self._thread.serial

    # Fetching

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109
        """One message for each partition that has something, holding its whole fetch."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            self._unpaused.clear()
            await self.wait(self._unpaused, timeout=timeout)
        if not active or self.should_stop:
            return
        serial, fetched = await self._thread.in_thread(self._thread.fetch(active, timeout))
        for place, records in fetched.items():
            if serial != self._thread.serial:
                return
            tp = ensure_TP(place)
            yield tp, self._to_message(tp, Fetch(tp, records, serial))

    def _to_message(self, tp: TP, fetch: Fetch) -> ConsumerMessage:
        last: Any = fetch.records[-1]
        message = ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            fetch,
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )
        self._inflight[tp].append(message)
        return message

    async def _add_gap(self, *args: Any) -> None:
        """A fetch spans many offsets: what looks like a gap to Faust is inside it."""

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Take no more fetches of these partitions; what aiokafka has of them already stays there."""
        super().pause_partitions(ensure_TPset(tps))

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Take fetches of these partitions again, at once if some are waiting."""
        super().resume_partitions(ensure_TPset(tps))
        self._unpaused.set()
        self._thread.wake()

    # Places

    async def perform_seek(self) -> None:
        """Called when a rebalance is over: leave the places to the host, or go to the committed ones."""
        host = self.host
        if host is None:
            await super().perform_seek()
            return
        held = self.assignment()
        self.pause_partitions(held)
        host.on_assigned(held)

    async def start_at(self, tp: TP, offset: int, serial: int) -> bool:
        """Begin to fetch a partition at `offset`; False when assignment `serial` is no longer in force."""
        if not await self._thread.in_thread(self._thread.start_at(tp, offset, serial)) or serial != self.serial:
            return False
        self._read_offset[tp] = offset or None
        self.resume_partitions({tp})
        return True

    async def committed(self, tp: TP) -> int | None:
        """The offset that the group has committed, or None."""
        return await self._thread.in_thread(self._thread.committed(tp))

    async def bounds(self, tp: TP) -> tuple[int, int]:
        """Log start and log end of a partition, asked of the broker."""
        return await self._thread.in_thread(self._thread.bounds(tp))

    async def backlog(self) -> dict[TP, tuple[int, int]]:
        """For each partition that has begun: the offset that is fetched next, and the log end."""
        return await self._thread.in_thread(self._thread.backlog())

    # Committing

    def ack(self, message: ConsumerMessage) -> bool:
        """Mark one fetch as worked off; counts only while its assignment is in force."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        inflight = self._inflight.get(message.tp)
        if inflight is None:
            return False
        while inflight and inflight[0].acked:
            self._done[message.tp] = inflight.popleft().offset + 1
        return True

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit what has been worked off without a hole; True when the broker took it."""
        offsets = {tp: offset for tp, offset in self._done.items() if self._committed_offset[tp] != offset}
        if not offsets or not await self._thread.in_thread(self._thread._commit(offsets)):
            return False
        self._committed_offset.update(offsets)
        return True

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the host finish, commit that, forget the rest."""
        if self.host is not None:
            await self.host.on_revoked(revoked)
        await self.commit()
        for tp in revoked:
            self._inflight.pop(tp, None)
            self._done.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    @Service.task  # type: ignore[untyped-decorator]
    async def _commit_livelock_detector(self) -> None:
        """The stock detector calls an idle or a backed-up partition an error; the runtime has a watch of its own."""


class Transport(driver.Transport):  # type: ignore[misc]
    """What the entry point `kafka+range` names."""

    Consumer = RangeConsumer
