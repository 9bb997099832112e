"""One task a partition: ranges in order within it, partitions beside one another, so that a stuck one holds none back.

A lane repeats a range until it succeeds, acknowledges a fetch when the last range of it is done, calls the stage's
timers between ranges and ends with its assignment. It knows neither Kafka nor Faust: fetches come in by `put`, and
what it needs of the outside is the `Source` port.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, Protocol, TypeVar

from pipeline import metrics
from pipeline.errors import FatalError, RetryableError
from pipeline.transport.cutting import Cutter
from pipeline.transport.logs import told
from pipeline.transport.ranges import Record
from pipeline.transport.stage import Stage

log = logging.getLogger(__name__)

T = TypeVar("T")
Acknowledge = Callable[[], Any]

IDLE_EVERY_S: Final = 0.15
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MOST_S: Final = 5.0
# An exception that is none of ours is a bug: the same call is made this often again, then the process ends.
BUG_REPEATS: Final = 3
# Work that was cancelled must end within this; a rebalance waits for it.
CANCEL_WAIT_S: Final = 5.0


class Source(Protocol):
    """Where fetches come from."""

    async def place(self, partition: int, wanted: int | None) -> int:
        """The input offset to begin at: the wanted one, else the committed one, else the log's start."""
        ...

    async def start_at(self, partition: int, offset: int, serial: int) -> bool:
        """Begin to fetch; False when assignment `serial` has passed."""
        ...

    def hold(self, partition: int, held: bool) -> None:
        """Fetch no more of a partition, or again."""
        ...


class _ClosingError(Exception):
    """The lane was told to end between two attempts."""


class _Lane:
    """What belongs to one partition under one assignment."""

    def __init__(self, partition: int, serial: int) -> None:
        self.partition = partition
        self.serial = serial
        self.cutter: Cutter[Acknowledge] | None = None  # there once the place to begin at is known
        self.done = -1  # input offset that everything before has been worked off
        self.changed = asyncio.Event()
        self.closing = asyncio.Event()
        self.held = False
        self.idle_bugs = 0


class Lanes:
    """The lanes of one stage.

    Args:
        stage: Whose ranges these are.
        topic: Physical name of its input topic.
        source: Where fetches come from.
        fail: Called with what must end the process.
    """

    def __init__(self, stage: Stage, topic: str, source: Source, fail: Callable[[BaseException], None]) -> None:
        self._stage = stage
        self._topic = topic
        self._source = source
        self._fail = fail
        self._lanes: dict[int, _Lane] = {}
        self._tasks: dict[_Lane, asyncio.Task[None]] = {}
        self._ranges = metrics.RANGES.labels(stage.name)
        self._seconds = metrics.RANGE_SECONDS.labels(stage.name)

    def places(self) -> dict[int, int]:
        """For each open partition the input offset that everything before has been worked off."""
        return {partition: lane.done for partition, lane in self._lanes.items() if lane.cutter is not None}

    def held(self) -> frozenset[int]:
        """Partitions of which no more is fetched for now, because enough is waiting."""
        return frozenset(partition for partition, lane in self._lanes.items() if lane.held)

    def assigned(self) -> frozenset[int]:
        """Partitions that have a lane."""
        return frozenset(self._lanes)

    def open(self, partitions: Collection[int], serial: int) -> None:
        """Start a lane for each partition: ask the stage for its place, seek, work."""
        for partition in partitions:
            lane = self._lanes[partition] = _Lane(partition, serial)
            self._tasks[lane] = asyncio.create_task(self._run(lane), name=f"{self._stage.name}/{partition}")

    def put(self, partition: int, serial: int, records: Sequence[Record], acknowledge: Acknowledge) -> None:
        """Take one fetch; one of an assignment that has passed is dropped: neither worked on nor acknowledged."""
        lane = self._lanes.get(partition)
        if lane is None or lane.cutter is None or lane.serial != serial or lane.closing.is_set():
            return
        try:
            lane.cutter.add(records, acknowledge)
        except FatalError as error:
            self._fail(error)
            return
        lane.changed.set()
        if lane.cutter.full and not lane.held:
            lane.held = True
            self._source.hold(partition, True)

    async def close(self, partitions: Collection[int], grace_s: float) -> None:
        """End lanes: a range at work may finish within `grace_s`, then it is cancelled; then comes `stage.revoked`."""
        lanes = [lane for partition in partitions if (lane := self._lanes.pop(partition, None)) is not None]
        tasks = [self._tasks.pop(lane) for lane in lanes]
        for lane, task in zip(lanes, tasks, strict=True):
            lane.closing.set()
            lane.changed.set()
            if lane.cutter is None:
                task.cancel()  # still looking for its place: there is nothing to finish
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                log.info("ranges at work were cancelled", extra={"lanes": sorted(task.get_name() for task in late)})
                _, stuck = await asyncio.wait(late, timeout=CANCEL_WAIT_S)
                if stuck:
                    self._fail(FatalError(f"{len(stuck)} ranges cannot be cancelled; the process has to end."))
        for lane in lanes:
            try:
                await self._stage.revoked(lane.partition)
            except Exception as error:
                self._fail(error)

    async def _run(self, lane: _Lane) -> None:
        try:
            await self._begin(lane)
            await self._loop(lane)
        except _ClosingError:
            pass
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._fail(error)

    async def _begin(self, lane: _Lane) -> None:
        wanted = await self._repeated(lane, lambda: self._stage.assigned(lane.partition))
        first = await self._repeated(lane, lambda: self._source.place(lane.partition, wanted))
        lane.done = first
        # Before the first fetch can come: one without a cutter would be dropped.
        lane.cutter = Cutter(self._topic, lane.partition, first, self._stage.limits)
        if not await self._repeated(lane, lambda: self._source.start_at(lane.partition, first, lane.serial)):
            raise _ClosingError
        log.info("partition opened", extra={"partition": lane.partition, "offset": first, "own": wanted is not None})

    async def _loop(self, lane: _Lane) -> None:
        cutter = lane.cutter
        assert cutter is not None
        idle_at = time.monotonic()
        while not lane.closing.is_set():
            now = time.monotonic()
            if now >= idle_at:
                await self._idle(lane, now)
                now = time.monotonic()
                idle_at = now + IDLE_EVERY_S
            due_in = cutter.due_in(now)
            if due_in == 0.0:
                await self._work(lane, cutter, now)
                continue
            lane.changed.clear()
            await _set_within(lane.changed, idle_at - now if due_in is None else min(due_in, idle_at - now))

    async def _work(self, lane: _Lane, cutter: Cutter[Acknowledge], now_s: float) -> None:
        cut = cutter.cut(now_s)
        if lane.held and not cutter.full:
            lane.held = False
            self._source.hold(lane.partition, False)
        await self._repeated(lane, lambda: self._stage.work(cut.range))
        lane.done = cut.range.next
        for acknowledge in cut.tokens:
            acknowledge()
        self._ranges.inc()
        self._seconds.observe(time.monotonic() - now_s)

    async def _idle(self, lane: _Lane, now_s: float) -> None:
        try:
            await self._stage.idle(lane.partition, now_s)
            lane.idle_bugs = 0
        except RetryableError as error:
            log.warning("a timer will be repeated", extra={"partition": lane.partition, **told(error)})
        except FatalError:
            raise
        except Exception as error:
            lane.idle_bugs += 1
            log.error("a timer failed", extra={"partition": lane.partition, **told(error)})
            if lane.idle_bugs > BUG_REPEATS:
                raise

    async def _repeated(self, lane: _Lane, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it succeeds, with back-off; ends with FatalError, with the lane, or with a bug that stays."""
        delay_s, attempts, bugs = BACKOFF_FIRST_S, 0, 0
        while True:
            try:
                return await call()
            except FatalError:
                raise
            except RetryableError as error:
                problem: BaseException = error
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                problem, bugs = error, bugs + 1  # something inside was cancelled, not this lane
            except Exception as error:
                problem, bugs = error, bugs + 1
            if bugs > BUG_REPEATS:
                raise FatalError("The same range failed again and again in our own code; see the log.") from problem
            attempts += 1
            metrics.RANGE_RETRIES.labels(self._stage.name, type(problem).__name__).inc()
            if attempts & (attempts - 1) == 0:  # 1, 2, 4, 8, ...
                level = logging.ERROR if bugs else logging.WARNING
                fields = {"partition": lane.partition, "offset": lane.done, "attempts": attempts, **told(problem)}
                log.log(level, "a range is repeated", extra=fields)
            del problem  # and with it what the failed attempt had built
            await _set_within(lane.closing, delay_s)
            if lane.closing.is_set():
                raise _ClosingError
            delay_s = min(2 * delay_s, BACKOFF_MOST_S)


async def _set_within(event: asyncio.Event, timeout_s: float) -> None:
    """Return when the event is set or the time is over."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
