"""The plug-in's consumer thread: aiokafka's client, fetched from, placed and committed by whole partitions.

Everything that touches aiokafka, and its private parts where Faust does so too, stands here. Runs in a loop of its own;
`in_thread` is the way in from the application's loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from aiokafka.errors import ConsumerStoppedError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from pipeline.transport.ranges import Record

log = logging.getLogger(__name__)

T = TypeVar("T")

# Mode gives every service class a logger of its own module; these are Faust's words, not ours.
FAUST_LOG: Final = logging.getLogger("faust.range")

COMMIT_TIMEOUT_S: Final = 5.0
FETCH_WAIT_MS: Final = 500
START_TOGETHER_S: Final = 0.01


class RebalanceListener(driver.ConsumerRebalanceListener):  # type: ignore[misc]
    """Moves the serial in the consumer's own thread, before anything else hears of the rebalance."""

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Any:
        """Make every fetch under way void."""
        self._thread.serial += 1
        self._thread.starting.clear()
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Hold the partitions where a host will place them."""
        if self._thread.consumer.host is not None:
            # Fetching from the committed offset would be in vain: the host's own seek is still to come.
            self._thread._ensure_consumer().pause(*assigned)
        # A fetch may have been made between the revocation and now.
        self._thread.serial += 1
        await super().on_partitions_assigned(assigned)


class _Live:
    """A live view of a set that is never falsy: to aiokafka no partitions means all of them."""

    def __init__(self, partitions: set[TP]) -> None:
        self._partitions = partitions

    def __contains__(self, partition: object) -> bool:
        return partition in self._partitions


class RangeConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread in which aiokafka lives.

    Attributes:
        serial: Which assignment is in force: grows when partitions are taken away and when they are given.
        starting: Partitions that were placed and begin with the next fetch request.
    """

    logger = FAUST_LOG
    serial: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.starting: set[Any] = set()
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
                _Live(active), timeout=timeout_s, max_records=self.app.conf.broker_max_poll_records
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
        if not self.starting:
            self.thread_loop.call_later(START_TOGETHER_S, self._start_together)
        self.starting.add(place)
        return True

    def _start_together(self) -> None:
        """One fetch request for all partitions placed meanwhile: a later one would wait behind the first's."""
        starting, self.starting = self.starting, set()
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
