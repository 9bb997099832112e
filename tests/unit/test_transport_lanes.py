"""Lanes keep order within a partition, keep partitions apart, repeat what failed and acknowledge nothing too early."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from pipeline.errors import DeliveryError, FatalError, FencedError, UnknownEpochError
from pipeline.transport import lanes as room
from pipeline.transport.lanes import Lanes
from pipeline.transport.ranges import KafkaRecord, Limits, Range
from pipeline.transport.stage import StageContext

SERIAL = 7

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Stage:
    """Works as the test says; remembers what it was given."""

    name = "test"
    source = "calls.raw"
    limits = Limits(max_records=2, max_bytes=1_000, linger_s=0.0)

    def __init__(self, work: Callable[[Range], Awaitable[None]] | None = None) -> None:
        self.body = work
        self.worked: list[tuple[int, int, int]] = []
        self.dropped: list[int] = []
        self.at_work: set[int] = set()
        self.idles = 0

    async def open(self, context: StageContext) -> None: ...

    async def assigned(self, partition: int) -> int | None:
        return 0

    async def work(self, range: Range) -> None:
        self.at_work.add(range.partition)
        try:
            if self.body is not None:
                await self.body(range)
            self.worked.append((range.partition, range.first, range.next))
        finally:
            self.at_work.discard(range.partition)

    async def revoked(self, partition: int) -> None:
        assert partition not in self.at_work
        self.dropped.append(partition)

    async def idle(self, partition: int, now_s: float) -> None:
        assert partition not in self.at_work
        self.idles += 1

    async def close(self) -> None: ...


class Input:
    """The source port: a log that begins at 0, and a note of what is held."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.started: dict[int, int] = {}

    async def place(self, partition: int, wanted: int | None) -> int:
        return wanted or 0

    async def start_at(self, partition: int, offset: int, serial: int) -> bool:
        self.started[partition] = offset
        return True

    def hold(self, partition: int, held: bool) -> None:
        (self.held.add if held else self.held.discard)(partition)


class Bench:
    """Lanes with everything around them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.input = Input()
        self.failures: list[BaseException] = []
        self.acknowledged: list[tuple[int, int]] = []
        self.lanes = Lanes(stage, "llm.calls.raw", self.input, self.failures.append)

    async def open(self, *partitions: int) -> None:
        self.lanes.open(partitions, SERIAL)
        await until(lambda: set(self.lanes.places()) == set(partitions))

    def put(self, partition: int, *offsets: int, serial: int = SERIAL) -> None:
        records = [KafkaRecord(offset, 0, None, b"v") for offset in offsets]
        self.lanes.put(partition, serial, records, lambda: self.acknowledged.append((partition, offsets[-1])))


async def until(condition: Callable[[], object], deadline_s: float = 3.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(room, "IDLE_EVERY_S", 0.01)


async def test_ranges_of_a_partition_come_in_order_and_a_fetch_is_acknowledged_after_its_last() -> None:
    bench = Bench(Stage())
    await bench.open(0)
    bench.put(0, 0, 1, 2)
    await until(lambda: bench.acknowledged)
    assert bench.stage.worked == [(0, 0, 2), (0, 2, 3)]
    assert bench.acknowledged == [(0, 2)]
    await bench.lanes.close({0}, 1.0)


async def test_a_stuck_partition_holds_no_other_back() -> None:
    stuck = asyncio.Event()

    async def work(range: Range) -> None:
        if range.partition == 0:
            await stuck.wait()

    bench = Bench(Stage(work))
    await bench.open(0, 1)
    bench.put(0, 0, 1)
    for offset in range(10):
        bench.put(1, offset)
    await until(lambda: (1, 9) in bench.acknowledged)
    assert all(partition == 1 for partition, _ in bench.acknowledged)
    stuck.set()
    await until(lambda: (0, 1) in bench.acknowledged)
    await bench.lanes.close({0, 1}, 1.0)


async def test_a_failed_delivery_repeats_the_whole_range_and_acknowledges_nothing_meanwhile() -> None:
    tries: list[tuple[int, int]] = []

    async def work(range: Range) -> None:
        tries.append((range.first, range.next))
        assert bench.acknowledged == []
        if len(tries) < 4:
            raise DeliveryError(1, "_MSG_TIMED_OUT")

    bench = Bench(Stage(work))
    await bench.open(0)
    bench.put(0, 0, 1)
    await until(lambda: bench.acknowledged)
    assert tries == [(0, 2)] * 4
    assert bench.failures == []
    await bench.lanes.close({0}, 1.0)


async def test_a_bug_is_tried_four_times_and_then_ends_the_process_without_quoting_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries = 0

    async def work(range: Range) -> None:
        nonlocal tries
        tries += 1
        raise ValueError("secret text of a customer")

    bench = Bench(Stage(work))
    with caplog.at_level(logging.INFO):
        await bench.open(0)
        bench.put(0, 0)
        await until(lambda: bench.failures)
    assert tries == 4
    assert isinstance(bench.failures[0], FatalError)
    assert bench.failures[0].exit_code == 70
    assert bench.acknowledged == []
    assert not any("secret" in str(vars(record)) for record in caplog.records)
    await bench.lanes.close({0}, 1.0)


async def test_a_fatal_error_is_not_repeated() -> None:
    async def work(range: Range) -> None:
        raise FencedError("another owner")

    bench = Bench(Stage(work))
    await bench.open(0)
    bench.put(0, 0)
    await until(lambda: bench.failures)
    assert [type(failure) for failure in bench.failures] == [FencedError]
    assert bench.acknowledged == []
    await bench.lanes.close({0}, 1.0)


async def test_a_partition_that_is_taken_away_may_finish_its_range_but_begins_no_other() -> None:
    async def work(range: Range) -> None:
        await asyncio.sleep(0.05)

    bench = Bench(Stage(work))
    await bench.open(0)
    bench.put(0, 0, 1)
    bench.put(0, 2, 3)
    await until(lambda: bench.stage.at_work)
    await bench.lanes.close({0}, 1.0)
    assert bench.stage.worked == [(0, 0, 2)]
    assert bench.acknowledged == [(0, 1)]
    assert bench.stage.dropped == [0]


async def test_a_range_that_does_not_finish_in_time_is_cancelled_and_acknowledges_nothing() -> None:
    async def work(range: Range) -> None:
        await asyncio.sleep(60)

    bench = Bench(Stage(work))
    await bench.open(0)
    bench.put(0, 0, 1)
    await until(lambda: bench.stage.at_work)
    await bench.lanes.close({0}, 0.01)
    assert (bench.stage.worked, bench.acknowledged) == ([], [])
    assert bench.stage.dropped == [0]
    assert bench.failures == []


async def test_a_fetch_of_an_earlier_assignment_is_neither_worked_on_nor_acknowledged() -> None:
    bench = Bench(Stage())
    await bench.open(0)
    bench.put(0, 5, 6, serial=SERIAL - 1)
    bench.put(0, 0, 1)
    await until(lambda: bench.acknowledged)
    assert bench.stage.worked == [(0, 0, 2)]
    await bench.lanes.close({0}, 1.0)
    bench.put(0, 2)
    assert bench.acknowledged == [(0, 1)]


async def test_enough_waiting_holds_the_partition_until_it_is_worked_off() -> None:
    go = asyncio.Event()

    async def work(range: Range) -> None:
        await go.wait()

    bench = Bench(Stage(work))
    await bench.open(0)
    for offset in range(8):
        bench.put(0, offset)
    await until(lambda: bench.stage.at_work)
    assert bench.input.held == {0} == bench.lanes.held()
    go.set()
    await until(lambda: (0, 7) in bench.acknowledged)
    assert bench.input.held == set()
    await bench.lanes.close({0}, 1.0)


async def test_timers_run_between_ranges_and_never_beside_one() -> None:
    async def work(range: Range) -> None:
        await asyncio.sleep(0.03)

    bench = Bench(Stage(work))
    await bench.open(0)
    for offset in range(0, 6, 2):
        bench.put(0, offset, offset + 1)
    await until(lambda: (0, 5) in bench.acknowledged and bench.stage.idles >= 4)
    assert bench.failures == []
    await bench.lanes.close({0}, 1.0)


async def test_a_log_that_went_back_ends_the_process() -> None:
    bench = Bench(Stage())
    await bench.open(0)
    bench.put(0, 10)
    await until(lambda: bench.acknowledged)
    bench.put(0, 2)
    assert [type(failure) for failure in bench.failures] == [UnknownEpochError]
    await bench.lanes.close({0}, 1.0)


async def test_a_cancellation_from_within_the_work_counts_as_a_bug_not_as_an_end() -> None:
    async def work(range: Range) -> None:
        if not tries:
            tries.append(1)
            raise asyncio.CancelledError

    tries: list[int] = []
    bench = Bench(Stage(work))
    await bench.open(0)
    bench.put(0, 0)
    await until(lambda: bench.acknowledged)
    await bench.lanes.close({0}, 1.0)
