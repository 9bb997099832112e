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
import logging
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.serializers import codecs
from faust.transport.consumer import ensure_TP, ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from pipeline.transport.ranges import Record

log = logging.getLogger(__name__)

T = TypeVar("T")

# Mode gives every service class a logger of its own module; these are Faust's words, not ours.
FAUST_LOG: Final = logging.getLogger("faust.range")

# Name of the codec for an agent's topic: app.topic(..., value_serializer=CODEC, key_serializer="raw").
CODEC: Final = "range"

COMMIT_TIMEOUT_S: Final = 5.0
FETCH_WAIT_MS: Final = 500
START_TOGETHER_S: Final = 0.01


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


class _RebalanceListener(driver.ConsumerRebalanceListener):  # type: ignore[misc]
    """Moves the serial in the consumer's own thread, before anything else hears of the rebalance."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        self._thread.serial += 1
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        if self._thread.consumer.host is not None:
            # Fetching from the committed offset would be in vain: the host's own seek is still to come.
            self._thread._ensure_consumer().pause(*assigned)
        # A fetch may have been made between the revocation and now.
        self._thread.serial += 1
        await super().on_partitions_assigned(assigned)


class RangeConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread in which aiokafka lives.

    Attributes:
        serial: Which assignment is in force: grows when partitions are taken away and when they are given.
    """

    logger = FAUST_LOG
    serial: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._starting: set[Any] = set()
        self._fetch_at = 0.0  # earliest time of the next fetch request
        host = self.consumer.host
        self._pace_s = 0.0 if host is None else host.pace_s

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # New data answers a waiting fetch at once; the wait only bounds how long another request, or a partition that
        # joins the fetch, stands behind it. Faust has no setting for it.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the consumer's loop, without the stock queue whose two workers can both be taken."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.thread_loop))

    async def on_start(self) -> None:
        """Start aiokafka's consumer, and put its fetches at a pace."""
        await super().on_start()
        fetcher = self._ensure_consumer()._fetcher
        actions = fetcher._get_actions_per_node

        def paced(assignment: Any) -> tuple[Any, ...]:
            requests, resets, timeout_s, *others = actions(assignment)
            rest_s = self._fetch_at - time.monotonic()
            if rest_s > 0:
                requests, timeout_s = [], min(timeout_s, rest_s)
            return requests, resets, timeout_s, *others

        fetcher._get_actions_per_node = paced

    async def fetch(self, active: set[TP], timeout_s: float) -> tuple[int, Mapping[Any, Sequence[Record]]]:
        """What has arrived for `active` partitions within `timeout_s`, and the serial it belongs to."""
        fetcher = self._ensure_consumer()._fetcher
        if fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            records = await fetcher.fetched_records(
                active, timeout=timeout_s, max_records=self.app.conf.broker_max_poll_records
            )
            # No await since the records were drained, so this is the serial that they were fetched under.
            if records and not any(self._more(place, found[-1].offset) for place, found in records.items()):
                self._fetch_at = time.monotonic() + self._pace_s
            return self.serial, records

    def _more(self, place: Any, last: int) -> bool:
        highwater: int | None = self._ensure_consumer().highwater(place)
        return highwater is not None and highwater > last + 1

    def wake(self) -> None:
        """Let a waiting fetch look again: a partition whose records are here already has been resumed."""

        def notify() -> None:
            if self._consumer is not None:
                for waiter in list(self._consumer._fetcher._fetch_waiters):
                    self._consumer._fetcher._notify(waiter)

        self.thread_loop.call_soon_threadsafe(notify)

    async def start_at(self, tp: TP, offset: int, serial: int) -> bool:
        """Seek and let aiokafka fetch; False when the assignment has changed meanwhile."""
        if serial != self.serial:
            return False
        consumer = self._ensure_consumer()
        place = driver.ensure_aiokafka_TP(tp)
        consumer.seek(place, offset)
        if not self._starting:
            self.thread_loop.call_later(START_TOGETHER_S, self._start_together)
        self._starting.add(place)
        return True

    def _start_together(self) -> None:
        """One fetch request for all partitions placed meanwhile: a later one would wait behind the first's."""
        starting, self._starting = self._starting, set()
        consumer = self._ensure_consumer()
        consumer.resume(*(place for place in starting if place in consumer.assignment()))

    async def committed(self, tp: TP) -> int | None:
        """The committed offset, or None."""
        offset: int | None = await self._ensure_consumer().committed(driver.ensure_aiokafka_TP(tp))
        return offset

    async def bounds(self, tp: TP) -> tuple[int, int]:
        """Log start and log end."""
        consumer = self._ensure_consumer()
        place = driver.ensure_aiokafka_TP(tp)
        starts, ends = await asyncio.gather(consumer.beginning_offsets([place]), consumer.end_offsets([place]))
        return starts[place], ends[place]

    async def backlog(self) -> dict[TP, tuple[int, int]]:
        """For each partition being fetched: the offset that is fetched next, and the log end."""
        consumer = self._ensure_consumer()
        places = [place for place in consumer.assignment() if place not in consumer.paused()]
        ends = await consumer.end_offsets(places)
        return {ensure_TP(place): (await consumer.position(place), ends[place]) for place in places}

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        held = self.assignment()
        wanted = {driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(o, "") for tp, o in offsets.items() if tp in held}
        if not wanted:
            return False
        try:
            await asyncio.wait_for(self._ensure_consumer().commit(wanted), COMMIT_TIMEOUT_S)
        except (KafkaError, TimeoutError) as error:
            log.info("offsets not committed, they will be again", extra={"error": type(error).__name__})
            return False
        return True


class RangeConsumer(driver.Consumer):  # type: ignore[misc]
    """Hands whole fetches to the streams and commits them as wholes."""

    logger = FAUST_LOG
    RebalanceListener = _RebalanceListener
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
        if not active:  # an empty set would mean all of them to aiokafka
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
