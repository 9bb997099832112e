"""Laws of the folds: whatever crashes, repeats and snapshots lie between, the outcome is that of a clean run.

Logs are lists, processes are objects that may vanish at any moment and are built again from the newest snapshot and the
log behind it. Dice decide; each seed is one history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import msgspec
import pytest

from pipeline.audit.positions import Mark
from pipeline.detection.judging import Judge, JudgeState
from pipeline.detection.loops import LoopWatch, WatchState
from pipeline.detection.trial import always
from pipeline.windows.partials import FoldState, PartialFold
from pipeline.windows.rolling import Store
from schemas.anomaly import Anomaly
from schemas.fact import Fact, Loop
from schemas.partial import Key, Partials
from tests.streams import HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Facts, partials, plain, read

SEEDS = range(8)
PARTITIONS = 2
START = MIDNIGHT_MS + 9 * HOUR_MS

# Quick to speak, so that a few hours of sparse facts hold findings of every kind.
HASTY = always(
    """
    ["cost.spike"]
    per_call = {minutes = 60, ratio = 1.5, surprise = 0.5}
    warm_up_hours = 1
    least_calls = 5
    least_excess_usd = 0.001
    ["cost.spike".feature]
    hold_minutes = 0
    """
)


def history(dice: Random, partition: int) -> list[Fact]:
    """Some hours of one partition: several tenants, loops, a price rise, unknown prices, late events, ticks."""
    facts, out, at_ms = Facts(partition), list[Fact](), START + dice.randrange(MINUTE_MS)
    while at_ms < START + 7 * HOUR_MS:
        at_ms += dice.expovariate(1.2) * MINUTE_MS
        late_ms = dice.choice((0, 0, 0, 0, 0, 30_000, 10 * MINUTE_MS, 50 * MINUTE_MS, 3 * HOUR_MS))
        dear = 3.0 if at_ms > START + 5 * HOUR_MS else 1.0
        looping = dice.random() < 0.3
        marks = Loop(
            actions=("a.a",) if looping else (f"{dice.random()}",), results=("r.r",), own_results=True
        )  # fmt: skip
        out.append(
            facts.call(
                at_ms - late_ms,
                received_at=int(at_ms),
                tenant=dice.choice(("acme", "globex")),
                feature=dice.choice(("chat", "search", None)),
                model=dice.choice(("gpt-4o", "o3")),
                user=f"u{dice.randrange(30)}",
                usd=None if dice.random() < 0.02 else 0.01 * dear * dice.lognormvariate(0, 0.3),
                latency_ms=dice.lognormvariate(7, 0.4) * dear,
                run=f"run{int(at_ms) // (20 * MINUTE_MS)}" if looping else f"r{dice.random()}",
                loop=marks,
            )
        )
        if dice.random() < 0.5:
            out.append(facts.tick(at_ms))
    out.append(facts.tick(START + 12 * HOUR_MS))
    return out


def delivered(dice: Random, facts: Sequence[Fact]) -> list[Fact]:
    """The same facts as `measure` may put them into the log: ranges repeated, a hole that is repaired behind."""
    out: list[Fact] = []
    at = 0
    while at < len(facts):
        size = dice.randint(1, 40)
        part = list(facts[at : at + size])
        if dice.random() < 0.2 and len(part) > 3:
            hole = dice.randrange(len(part) - 1)
            out += part[:hole] + part[hole + 1 :]
        if dice.random() < 0.3:
            out += part[: dice.randint(0, len(part))]
        out += part
        at += size
    return out


def slices(dice: Random, start: int, end: int, most: int = 60) -> Iterator[tuple[int, int]]:
    """A log cut into ranges."""
    while start < end:
        cut = min(end, start + dice.randint(1, most))
        yield start, cut
        start = cut


class Meter:
    """A meter whose process may die; `out` is the log of partials."""

    def __init__(self, partition: int, log: Sequence[Fact], dice: Random, out: list[bytes], **bounds: int) -> None:
        self.partition, self.log, self.dice, self.out, self.bounds = partition, log, dice, out, bounds
        self.snapshot: tuple[bytes, int] | None = None
        self._start()

    def _start(self) -> None:
        self.fold = PartialFold(Mark(1, 0), **self.bounds)
        self.next = 0
        if self.snapshot is not None:
            self.fold.restore(msgspec.msgpack.decode(self.snapshot[0], type=FoldState))
            self.next = self.snapshot[1]

    def work(self, crashes: float) -> bool:
        """One range; False when everything is folded and published."""
        if self.next >= len(self.log):
            self.out += partials(self.fold, self.partition, None)
            return False
        end = min(len(self.log), self.next + self.dice.randint(1, 50))
        for fact in self.log[self.next : end]:
            self.fold.fold(fact)
        self.next = end
        if self.dice.random() < 0.7:
            published = partials(self.fold, self.partition, self.dice.choice((0, 3, 200)))
            if self.dice.random() < crashes:
                # Dies in the middle of delivering: some are in the log, the others were never sent.
                self.out += published[: self.dice.randint(0, len(published))]
                self._start()
                return True
            self.out += published
        if self.dice.random() < 0.1:
            self.out += partials(self.fold, self.partition, None)
            self.snapshot = (msgspec.msgpack.encode(self.fold.state()), self.next)
        if self.dice.random() < crashes:
            self._start()
        return True


def metered(seed: int, crashes: float, **bounds: int) -> tuple[list[list[Fact]], list[bytes]]:
    """Facts of all partitions, and the log of partials that crashing meters wrote."""
    clean = [history(Random(f"{seed} {partition}"), partition) for partition in range(PARTITIONS)]
    dice = Random(f"meter {seed}")
    out: list[bytes] = []
    meters = [Meter(place, delivered(dice, facts), dice, out, **bounds) for place, facts in enumerate(clean)]
    running = list(meters)
    while running:
        meter = dice.choice(running)
        if not meter.work(crashes):
            running.remove(meter)
    return clean, out


Sums = dict[Key, dict[int, tuple[int, int]]]


def merged(log: Sequence[bytes]) -> Sums:
    """Calls and cost by key and hour, of everything in the log of partials."""
    store, sums = Store(), Sums()
    for record in read(log):
        for cell in record.cells:
            store.upsert(record, cell)
        for seen in record.glimpses:
            store.glimpse(record, seen)
        store.flushed(record)
    for key, timeline in store.timelines.items():
        for hour in range(START // HOUR_MS - 30, START // HOUR_MS + 20):
            total = timeline.hour_total(hour)
            if total.calls:
                sums.setdefault(key, {})[hour] = (total.calls, total.cost_nano_usd)
    return sums


def counted(partitions: Sequence[Sequence[Fact]]) -> Sums:
    """The slow, obvious truth for tenants, features and users."""
    sums: Sums = {}
    for fact in (fact for facts in partitions for fact in facts if fact.type == "call"):
        keys: list[Key] = [("tenant", fact.tenant)]
        keys += [("feature", fact.tenant, fact.feature)] if fact.feature else []
        keys += [("user", fact.tenant, fact.user)] if fact.user else []
        for key in keys:
            hours = sums.setdefault(key, {})
            calls, cost = hours.get(fact.event_ms // HOUR_MS, (0, 0))
            hours[fact.event_ms // HOUR_MS] = (calls + 1, cost + (fact.cost_nano_usd or 0))
    return sums


@pytest.mark.parametrize("seed", SEEDS)
def test_crashing_meters_count_every_call_once(seed: int) -> None:
    clean, log = metered(seed, crashes=0.15)
    found, truth = merged(log), counted(clean)
    assert {key: found[key] for key in truth} == truth


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_that_are_evicted_again_and_again_lose_nothing(seed: int) -> None:
    clean, log = metered(seed, crashes=0.1, max_users=25, max_keys=25)
    found, truth = merged(log), counted(clean)
    assert {key: found[key] for key in truth} == truth


def judged(log: Sequence[bytes]) -> list[Anomaly]:
    judge = Judge(PARTITIONS, HASTY)
    return [one for place, record in enumerate(read(log)) for one in judge.apply(record, place * 50).anomalies]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crashing_judge_says_what_a_clean_one_says_and_never_two_things(seed: int) -> None:
    _, log = metered(seed, crashes=0.05)
    truth = judged(log)
    assert {one.rule for one in truth} >= {"cost.spike", "price.unknown"}
    dice = Random(f"judge {seed}")
    told: list[Anomaly] = []
    judge, at, snapshot = Judge(PARTITIONS, HASTY), 0, (b"", 0)
    while at < len(log):
        end = min(len(log), at + dice.randint(1, 80))
        for place in range(at, end):
            (record,) = read(log[place : place + 1])
            told += judge.apply(record, place * 50).anomalies
        at = end
        if dice.random() < 0.2:
            snapshot = (msgspec.msgpack.encode(judge.state()), at)
        if dice.random() < 0.2:
            judge, at = Judge(PARTITIONS, HASTY), snapshot[1]
            if snapshot[0]:
                judge.restore(msgspec.msgpack.decode(snapshot[0], type=JudgeState))
    assert_same(told, truth)


def watched(facts: Sequence[Fact]) -> list[Anomaly]:
    watch = LoopWatch(Mark(1, 0))
    return [one for fact in facts for one in watch.fold(fact)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crashing_guard_says_what_a_clean_one_says_and_never_two_things(seed: int) -> None:
    dice = Random(f"guard {seed}")
    clean = history(Random(f"{seed} 0"), 0)
    truth = watched(clean)
    assert {one.state for one in truth} >= {"open", "resolved"}
    log = delivered(dice, clean)
    told: list[Anomaly] = []
    watch, at, snapshot = LoopWatch(Mark(1, 0)), 0, (b"", 0)
    while at < len(log):
        end = min(len(log), at + dice.randint(1, 60))
        for fact in log[at:end]:
            told += watch.fold(fact)
        at = end
        if dice.random() < 0.2:
            snapshot = (msgspec.msgpack.encode(watch.state()), at)
        if dice.random() < 0.3:
            watch, at = LoopWatch(Mark(1, 0)), snapshot[1]
            if snapshot[0]:
                watch.restore(msgspec.msgpack.decode(snapshot[0], type=WatchState))
    assert_same(told, truth)


def assert_same(told: Sequence[Anomaly], truth: Sequence[Anomaly]) -> None:
    """Readers keep one record for each id and revision: all of the truth, nothing else, and each with one content."""
    contents: dict[tuple[str, int], set[bytes]] = {}
    for one in told:
        contents.setdefault((one.id, one.revision), set()).add(msgspec.json.encode(one))
    assert {name: len(found) for name, found in contents.items() if len(found) > 1} == {}
    assert {name: found.pop() for name, found in contents.items()} == {
        (one.id, one.revision): msgspec.json.encode(one) for one in truth
    }


def test_a_judge_that_was_stopped_after_every_record_is_the_same_judge() -> None:
    _, log = metered(1, crashes=0.0)
    judge, other = Judge(PARTITIONS, HASTY), Judge(PARTITIONS, HASTY)
    dice = Random(1)
    for place, (record, again) in enumerate(zip(read(log), read(log), strict=True)):
        judge.apply(record, place * 50)
        other.apply(again, place * 50)
        if dice.random() < 0.02:
            state = msgspec.msgpack.encode(other.state())
            other = Judge(PARTITIONS, HASTY)
            other.restore(msgspec.msgpack.decode(state, type=JudgeState))
    assert plain(judge.state()) == plain(other.state())


def test_partials_of_a_zombie_change_nothing() -> None:
    """A second meter of the same partition, somewhere behind, writes into the same log."""
    clean, log = metered(3, crashes=0.0)
    zombie = Meter(0, clean[0], Random(9), late := [])
    while zombie.next < len(clean[0]) // 2:
        zombie.work(0.0)
    mixed, dice = list(log), Random(4)
    for value in late:
        mixed.insert(dice.randrange(len(log) // 2, len(mixed)), value)
    truth = counted(clean)
    found = merged(mixed)
    assert {key: found[key] for key in truth} == truth
    assert isinstance(read(mixed)[0], Partials)
