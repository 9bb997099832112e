"""A true zombie: stopped between announcing a range and inserting it, it wakes after its successor has finished."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from audit_samples import call
from sink_support import Sinks

from agents.sink import Sink
from pipeline.audit.batch import BatchPart
from pipeline.audit.effects import Outcome
from pipeline.errors import FencedError, RetryableError, StuckError
from pipeline.keys import load
from pipeline.settings import Settings
from pipeline.transport.controls import ControlsReader
from pipeline.transport.producer import RangeProducer
from pipeline.transport.ranges import KafkaRecord, Range
from schemas.clean import Clean
from tests.installation import wait_for

pytest_plugins = ["storage_support", "transport_support", "sink_fixtures"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@dataclass
class Context:
    """What the runtime gives a stage, without a consumer group: both sinks believe that they own the partition."""

    settings: Settings
    worker_id: str
    producer: RangeProducer
    epochs: Any = field(default_factory=lambda: type("Epochs", (), {"current": staticmethod(lambda topic: 1)}))

    def __post_init__(self) -> None:
        self.keys = load(self.settings)
        self.controls = ControlsReader(self.settings)
        self.controls.start()

    async def to_thread(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(function, *args, **kwargs)


class Sleeper(Sink):
    """A sink that falls asleep when it is about to insert."""

    def __init__(self) -> None:
        self.asleep, self.awake = threading.Event(), threading.Event()
        self.outcomes: list[Outcome] = []

    def _insert(self, at: Any, token: str, part: BatchPart, deadline_ms: int) -> Outcome:
        self.asleep.set()
        assert self.awake.wait(60)
        outcome = super()._insert(at, token, part, deadline_ms)
        self.outcomes.append(outcome)
        return outcome


def range_of(records: list[Clean], first: int = 0) -> Range:
    encoded = [KafkaRecord(first + number, 0, None, msgspec.json.encode(clean)) for number, clean in enumerate(records)]
    return Range("calls", 0, encoded, first, first + len(records))


async def _opened(sink: Sink, settings: Settings, name: str, producer: RangeProducer) -> int:
    await sink.open(Context(settings, name, producer))  # type: ignore[arg-type]
    start = await sink.assigned(0)
    assert start is not None
    return start


def test_a_zombie_that_wakes_between_intent_and_insert_writes_nothing_and_is_fenced(sinks: Sinks) -> None:
    async def play() -> None:
        producer = RangeProducer(sinks.settings)
        zombie, heir = Sleeper(), Sink()
        records = [call(offset) for offset in range(100)]
        await _opened(zombie, sinks.settings, "zombie", producer)
        dozing = asyncio.create_task(zombie.work(range_of(records[:50])))
        await asyncio.to_thread(zombie.asleep.wait, 20)
        announced = sinks.ledger().state.open
        assert announced is not None and announced.next == 50

        start = await _opened(heir, sinks.settings, "heir", producer)
        assert start == 0, "the heir adopts the zombie's range"
        assert sinks.client.now_ms() > announced.deadline_ms, "and waits until none of its inserts can follow"
        await heir.work(range_of(records))
        await heir.idle(0, 0.0)
        state = sinks.ledger().state
        assert (state.owner, state.open, state.next) == ("heir", None, 100)

        zombie.awake.set()
        with pytest.raises(RetryableError):
            await dozing
        assert zombie.outcomes == ["late", "late"]
        with pytest.raises(FencedError, match="belongs to heir"):
            await zombie.work(range_of(records[:50]))
        await producer.close()

    asyncio.run(play())
    for table in ("calls", "call_content"):
        assert sinks.positions(table) == Counter((1, 0, offset) for offset in range(100))
    follower = sinks.ledger()
    assert follower.state.next == 100


def test_an_heir_finds_what_a_zombie_had_inserted_and_inserts_the_rest(sinks: Sinks) -> None:
    """The zombie had inserted one of two tables when it stopped."""

    class Half(Sleeper):
        def _insert(self, at: Any, token: str, part: BatchPart, deadline_ms: int) -> Outcome:
            if part.cell.table == "calls":
                return Sink._insert(self, at, token, part, deadline_ms)
            return super()._insert(at, token, part, deadline_ms)

    async def play() -> None:
        producer = RangeProducer(sinks.settings)
        zombie, heir = Half(), Sink()
        records = [call(offset) for offset in range(30)]
        await _opened(zombie, sinks.settings, "zombie", producer)
        dozing = asyncio.create_task(zombie.work(range_of(records)))
        await asyncio.to_thread(zombie.asleep.wait, 20)
        await asyncio.to_thread(wait_for, "one table has them", lambda: sinks.counts()["calls"] == 30)
        await _opened(heir, sinks.settings, "heir", producer)
        await heir.work(range_of(records))
        await heir.idle(0, 0.0)
        zombie.awake.set()
        with pytest.raises(RetryableError):
            await dozing
        await producer.close()

    asyncio.run(play())
    for table in ("calls", "call_content"):
        assert sinks.positions(table) == Counter((1, 0, offset) for offset in range(30))


def test_a_hole_that_nobody_repairs_stops_the_process(sinks: Sinks) -> None:
    async def play() -> None:
        producer = RangeProducer(sinks.settings)
        sink = Sink()
        await _opened(sink, sinks.settings, "a", producer)
        await sink.work(range_of([call(0), call(2)]))
        now = asyncio.get_running_loop().time()
        await sink.idle(0, now + 60)
        with pytest.raises(StuckError, match="waits for position 1/0/1"):
            await sink.idle(0, now + 130)
        await sink.work(range_of([call(1), call(2), call(3)], first=2))
        await sink.idle(0, now + 300)
        await producer.close()

    asyncio.run(play())
    assert sinks.positions() == Counter((1, 0, offset) for offset in range(4))
