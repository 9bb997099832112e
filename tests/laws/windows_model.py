"""Windows against a slow, obvious reference: random events, and everything that may happen to them on their way.

`python -m tests.laws.windows_model --events 1000000` plays one long history; `test_windows_reference` plays short ones.
Events are late, early, repeated and out of order; ranges are repeated and have holes that are repaired behind; meters
die in the middle of delivering, lose records in the middle of a flush, come back from a snapshot, and go on as zombies
beside their successors; the judge dies too; a topic is recreated; a partition may be hours behind. What is published in
the end must be what counting every fact once gives.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.judging import Judge, JudgeState
from pipeline.windows.closing import SIZES, WEEK_MINUTES
from pipeline.windows.keys import NAMES, keys_of, source_of
from pipeline.windows.partials import FoldState, PartialFold
from schemas.anomaly import Anomaly
from schemas.fact import Fact
from schemas.partial import Key
from schemas.window import Window
from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Facts, partials, read

PARTITIONS = 3
# Minutes: on time, a little late, late for the meter's open minutes, late for their hour, too late for anything.
LATENESS = (0,) * 40 + (1, 1, 1, 2, 4, 7, 12, 30, 45, 60, 150, 400, 1_200, 1_800)
# Windows below an hour are corrected while their blocks are held, 90 minutes after their hour. What is told of a fact
# may come behind a watermark that is up to a step later, and two when a flush was lost: 12 minutes each, here.
SMALL_CORRECTED = 65
EXPIRED_MINUTES = 26 * 60


class Sum:
    """One stretch of time of one key, counted the slow way."""

    __slots__ = ("calls", "cost", "counts", "dearest", "facts", "latencies", "liked", "tokens")

    def __init__(self) -> None:
        self.calls = self.facts = self.cost = self.tokens = self.dearest = self.liked = 0
        self.counts: dict[str, int] | None = None
        self.latencies: array[float] | None = None

    def add(self, fact: Fact) -> None:
        self.facts += 1
        if fact.type == "feedback":
            self.liked += (fact.rating or 0) > 0
            return
        self.calls += 1
        self.cost += fact.cost_nano_usd or 0
        self.tokens += fact.output_tokens or 0
        self.dearest = max(self.dearest, fact.cost_nano_usd or 0)
        if fact.status != "ok":
            self._count(f"error {fact.status}")
        if fact.output_label:
            self._count(f"label {fact.output_label}")
        if fact.latency_ms is not None:
            if self.latencies is None:
                self.latencies = array("f")
            self.latencies.append(fact.latency_ms)

    def _count(self, name: str, count: int = 1) -> None:
        if self.counts is None:
            self.counts = {}
        self.counts[name] = self.counts.get(name, 0) + count

    def join(self, other: Sum) -> None:
        for name in ("calls", "facts", "cost", "tokens", "liked"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.dearest = max(self.dearest, other.dearest)
        for name, count in (other.counts or {}).items():
            self._count(name, count)
        if other.latencies:
            if self.latencies is None:
                self.latencies = array("f")
            self.latencies.extend(other.latencies)

    def of(self, kind: str) -> dict[str, int]:
        """Counts of `error` or `label`."""
        counts = self.counts or {}
        return {name.partition(" ")[2]: count for name, count in counts.items() if name.startswith(kind)}


class Reference:
    """Every fact counted once: by minutes and blocks for what small windows must hold, by hours for all else."""

    def __init__(self) -> None:
        # By unit in minutes; 60 holds only what blocks do not.
        self.sums: dict[int, dict[tuple[Key, int], Sum]] = {1: {}, 5: {}, 60: {}}

    def count(self, facts: Iterable[Fact]) -> None:
        """Facts of one partition, in source order, each once."""
        newest = 0
        for fact in facts:
            newest = max(newest, fact.event_ms)
            if fact.type == "tick":
                continue
            minute = fact.event_ms // MINUTE_MS
            late = newest // MINUTE_MS - minute
            if late > EXPIRED_MINUTES:
                continue
            source = source_of(fact)
            keys = [*keys_of(source)]
            if fact.type == "call" and fact.user:
                keys.append(("user", fact.tenant, fact.user))
            for key in keys:
                units = (60,) if late > SMALL_CORRECTED else (1, 5) if 1 in SIZES[key[0]] else (5,)
                for unit in units:
                    self.sums[unit].setdefault((key, minute // unit), Sum()).add(fact)

    def windows(self, ended: int) -> Iterator[tuple[Key, int, int, Sum]]:
        """(key, size, start) in minutes, and what the window must hold, of every window that ended before `ended`."""
        for size in (1, 5, 60, 1_440, WEEK_MINUTES):
            found: dict[tuple[Key, int], Sum] = {}
            for unit in (1,) if size == 1 else (5,) if size == 5 else (5, 60):
                for (key, at), one in self.sums[unit].items():
                    if size not in SIZES[key[0]]:
                        continue
                    for start in _starts(at * unit, size):
                        if size < 60:
                            found[key, start] = one
                        else:
                            found.setdefault((key, start), Sum()).join(one)
            for (key, start), one in found.items():
                if start + size <= ended:
                    yield key, size, start, one


def _starts(minute: int, size: int) -> Iterator[int]:
    step = 1_440 if size == WEEK_MINUTES else size
    newest = minute - minute % step
    yield from range(newest, newest - size, -step)


# -- what happens


def history(dice: Random, partition: int, events: int, days: float, latest: int) -> Iterator[Fact]:
    """Facts of one partition in source order, a tick a minute among them; none later than `latest` minutes."""
    lateness = [late for late in LATENESS if late <= latest]
    facts, at_ms = Facts(partition), float(MIDNIGHT_MS + 3 * HOUR_MS)
    a_minute = events / (days * 1_440)
    end_ms, recreated = at_ms + days * DAY_MS, at_ms + days * DAY_MS * 0.6
    ticked = 0
    while at_ms < end_ms:
        at_ms += dice.expovariate(a_minute) * MINUTE_MS
        while ticked < at_ms:
            ticked = max(ticked, int(at_ms) // MINUTE_MS * MINUTE_MS - 5 * MINUTE_MS) + MINUTE_MS
            yield facts.tick(ticked)
        if partition == 1 and at_ms > recreated and facts.epoch == 1:
            facts = Facts(partition, epoch=2)
        # A producer's clock may run ahead of the broker's; then the broker's counts.
        ahead_ms = dice.choice((0, 0, 0, 0, 90_000))
        late_ms = dice.choice(lateness) * MINUTE_MS
        where: dict[str, Any] = {
            "tenant": dice.choice(("acme", "acme", "globex")),
            "feature": dice.choice(("chat", "search", None)),
            "prompt_name": dice.choice(("greet", None)),
            "prompt_version": dice.choice(("1", "2")),
            "variant": dice.choice(("a", None, None)),
        }
        if dice.random() < 0.05:
            liked = dice.choice((1.0, -1.0))
            yield facts.judgement(at_ms - late_ms, "feedback", received_at=int(at_ms), rating=liked, **where)
            continue
        yield facts.call(
            at_ms - late_ms + ahead_ms,
            received_at=int(at_ms),
            user=dice.choice((None, "u1", "u2", "u3")),
            model=dice.choice(("gpt-4o", "o3")),
            usd=dice.lognormvariate(-5, 1.0) if dice.random() > 0.01 else None,
            status=dice.choice(("ok",) * 20 + ("error", "timeout")),
            latency_ms=dice.lognormvariate(7, 0.7) if dice.random() > 0.02 else None,
            output_label=dice.choice((None, "yes", "no")),
            **where,
        )
    yield facts.tick(end_ms + 10 * HOUR_MS)
    yield facts.tick(end_ms + 60 * HOUR_MS)


_pack = msgspec.msgpack.Encoder().encode
_fact = msgspec.msgpack.Decoder(Fact).decode


class Log:
    """Facts of one partition, packed, with when they were received."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.received: array[int] = array("q")

    def append(self, fact: Fact) -> None:
        self.values.append(_pack(fact))
        self.received.append(fact.received_at)

    def __iter__(self) -> Iterator[Fact]:
        return map(_fact, self.values)


class Meter:
    """A meter whose process may die. Reads facts as `measure` may have put them into the log."""

    def __init__(self, partition: int, facts: Log, dice: Random) -> None:
        self.partition, self.facts, self.dice = partition, facts, dice
        self.snapshot: tuple[bytes, int] | None = None
        self.start()

    def start(self) -> None:
        self.fold, self.next = PartialFold(Mark(1, 0)), 0
        if self.snapshot is not None:
            self.fold.restore(msgspec.msgpack.decode(self.snapshot[0], type=FoldState))
            self.next = self.snapshot[1]

    def copy(self) -> Meter:
        """A zombie: the same process once more, that goes on by itself from the same place."""
        other = Meter(self.partition, self.facts, self.dice)
        other.snapshot = self.snapshot
        other.start()
        return other

    def until(self, at_ms: float, out: list[bytes], faults: float) -> None:
        """Work off what was received before a moment, and publish."""
        dice = self.dice
        due = bisect_right(self.facts.received, at_ms, self.next)
        while self.next < due:
            end = min(due, self.next + dice.randint(1, max(60, len(self.facts.values) // 1_500)))
            part = [_fact(value) for value in self.facts.values[self.next : end]]
            # A range is of one epoch, and so is what is repaired of it.
            part = [fact for fact in part if fact.position.epoch == part[0].position.epoch]
            end = self.next + len(part)
            if dice.random() < faults and len(part) > 3:
                hole = dice.randrange(len(part) - 1)
                part = part[:hole] + part[hole + 1 :] + part
            for fact in part:
                self.fold.fold(fact)
            self.next = end
            if dice.random() < 0.6:
                self.publish(out, dice.choice((1, 5, 200)), faults)
            # Or one with much to catch up on, which dies now and then, would never get there.
            if dice.random() < faults / 3:
                self.keep(out)
        self.publish(out, 5, faults)
        if self.next and dice.random() < 0.02:
            self.keep(out)
        if dice.random() < faults / 4:
            self.start()

    def keep(self, out: list[bytes]) -> None:
        """Publish what there is, and take a snapshot."""
        self.publish(out, None, 0.0)
        self.snapshot = (msgspec.msgpack.encode(self.fold.state()), self.next)

    def publish(self, out: list[bytes], most: int | None, faults: float) -> None:
        """Deliver; a delivery that fails in the middle is made again as a whole."""
        values = partials(self.fold, self.partition, most)
        if self.dice.random() < faults and len(values) > 1:
            out += [value for value in values if self.dice.random() < 0.7]
            if self.dice.random() < 0.5:
                self.start()
                return
        out += values


class Judged:
    """A judge that may die and come back from its snapshot, and what it has published.

    Attributes:
        windows: Of each window the highest revision, and what is compared of it.
        anomalies: Every anomaly by identity and revision.
    """

    def __init__(self, seed: str, faults: float) -> None:
        self.dice, self.faults = Random(f"judge {seed}"), faults
        self.windows: dict[tuple[Key, int, int], tuple[int, bytes]] = {}
        self.anomalies: dict[tuple[str, int], Anomaly] = {}
        self.judge = Judge(PARTITIONS)
        self.snapshot: bytes | None = None
        # The log since the snapshot.
        self.since: list[tuple[bytes, int]] = []

    def take(self, value: bytes, at_ms: int) -> None:
        """Apply one record; what comes after a death is applied again."""
        self.apply(value, at_ms)
        if not self.faults:
            return
        self.since.append((value, at_ms))
        if self.dice.random() < self.faults / 300 or len(self.since) > 5_000:
            self.snapshot, self.since = msgspec.msgpack.encode(self.judge.state()), []
        if self.dice.random() < self.faults / 600 and self.snapshot is not None:
            self.judge = Judge(PARTITIONS)
            self.judge.restore(msgspec.msgpack.decode(self.snapshot, type=JudgeState))
            for again in self.since:
                self.apply(*again)

    def apply(self, value: bytes, at_ms: int) -> None:
        (record,) = read([value])
        verdict = self.judge.apply(record, at_ms)
        for one in verdict.anomalies:
            known = self.anomalies.setdefault((one.id, one.revision), one)
            assert known == one, "one revision has one content"
        for closed in verdict.windows:
            for window in closed.windows:
                name = (_key(window), window.size_s // 60, window.start // MINUTE_MS)
                before, _ = self.windows.get(name, (0, b""))
                assert window.revision <= before + 1
                if before < window.revision:
                    self.windows[name] = (window.revision, _pack(_of(window)))

    def told(self) -> dict[tuple[str, int], str]:
        """What was said in each revision of each anomaly."""
        return {name: one.why for name, one in self.anomalies.items()}


@dataclass
class Played:
    """What was published, and what must have been.

    Attributes:
        judged: A judge that died now and then.
        steady: One that never did.
        reference: The counting.
        records: How many records of partials there were.
        ended: Minute that all partitions have passed.
    """

    judged: Judged
    steady: Judged
    reference: Reference
    records: int
    ended: int

    @property
    def revisions(self) -> dict[tuple[Key, int, int], int]:
        """The highest revision of each window."""
        return {name: revision for name, (revision, _) in self.judged.windows.items()}


def play(seed: int, events: int, days: float = 9.0, faults: float = 0.1, behind_hours: float = 0.0) -> Played:
    """One history through meters and judges.

    Args:
        seed: Of everything random.
        events: How many, over all partitions.
        days: Event time.
        faults: How often what can go wrong does.
        behind_hours: So long partition 2 stands still in the middle, before it catches up.
    """
    reference, meters = Reference(), list[Meter]()
    for partition in range(PARTITIONS):
        # Behind by some hours and late by more is beyond what is kept.
        latest = EXPIRED_MINUTES - round(60 * behind_hours) - 60 if behind_hours else max(LATENESS)
        facts = Log()
        for fact in history(Random(f"{seed} {partition}"), partition, events // PARTITIONS, days, latest):
            facts.append(fact)
        reference.count(facts)
        meters.append(Meter(partition, facts, Random(f"meter {seed} {partition}")))
    judges = [Judged(f"{seed}", faults), Judged(f"{seed}", 0.0)]
    dice, zombies = Random(f"play {seed}"), list[Meter]()
    begin_ms = MIDNIGHT_MS + 3 * HOUR_MS
    stop_ms, go_ms = begin_ms + days * DAY_MS / 2, begin_ms + days * DAY_MS / 2 + behind_hours * HOUR_MS
    at_ms, end_ms, records = float(begin_ms), begin_ms + days * DAY_MS + 61 * HOUR_MS, 0

    def deliver(log: list[bytes]) -> int:
        for judge in judges:
            for value in log:
                judge.take(value, int(at_ms))
        return len(log)

    while at_ms < end_ms:
        log = list[bytes]()
        at_ms += dice.uniform(0.5, 12) * MINUTE_MS if at_ms < begin_ms + days * DAY_MS else 3 * HOUR_MS
        for meter in meters:
            if meter.partition == 2 and stop_ms < at_ms < go_ms:
                continue
            meter.until(at_ms, log, faults)
        for zombie in list(zombies):
            zombie.until(at_ms - dice.uniform(0, 60) * MINUTE_MS, log, faults)
            if dice.random() < 0.05:
                zombies.remove(zombie)
        if dice.random() < faults / 10 and len(zombies) < 2:
            zombies.append(dice.choice(meters).copy())
        records += deliver(log)
    log = []
    for meter in meters:
        for _ in range(3):
            meter.publish(log, None, 0.0)
            meter.fold.fold(Facts.at_end(meter.fold, meter.partition))
        meter.publish(log, None, 0.0)
    records += deliver(log)
    ended = min(meter.fold.watermark or 0 for meter in meters) // MINUTE_MS
    return Played(judges[0], judges[1], reference, records, ended)


class Numbers(msgspec.Struct, array_like=True):
    """What is compared of a window."""

    calls: int
    cost: int
    tokens: int
    dearest: int
    errors: dict[str, int]
    labels: dict[str, int] | None
    liked: int
    quantiles: tuple[float | None, float | None, float | None]


def _of(window: Window) -> Numbers:
    bucket = window.bucket
    whole = bucket is not None and bucket.shape is not None and bucket.quality is not None
    return Numbers(
        window.calls,
        window.cost_nano_usd,
        window.output_tokens,
        window.max_cost_nano_usd,
        window.errors,
        bucket.shape.labels if whole else None,  # type: ignore[union-attr]
        bucket.quality.liked if whole else 0,  # type: ignore[union-attr]
        (window.latency_ms.p50, window.latency_ms.p95, window.latency_ms.p99),
    )


def _key(window: Window) -> Key:
    return (window.dimension, *(window.subject.get(name, "") for name in NAMES[window.dimension]))


# -- the comparison


def differences(played: Played, least_size: int = 1) -> list[str]:
    """What is wrong with the windows; empty when they are what they must be."""
    found, wrong = dict(played.judged.windows), list[str]()
    for key, size, start, due in played.reference.windows(played.ended):
        revision, packed = found.pop((key, size, start), (0, b""))
        if size < least_size:
            continue
        if not revision:
            wrong.append(f"{key} {size} {start}: missing, {due.facts} facts")
            continue
        wrong += [f"{key} {size} {start} r{revision}: {one}" for one in _compare(_numbers(packed), due)]
    wrong += [f"{name}: of calls that were never made" for name in found if name[1] >= least_size]
    return wrong


_numbers = msgspec.msgpack.Decoder(Numbers).decode


def _compare(found: Numbers, due: Sum) -> Iterator[str]:
    pairs: dict[str, tuple[Any, Any]] = {
        "calls": (found.calls, due.calls),
        "cost": (found.cost, due.cost),
        "tokens": (found.tokens, due.tokens),
        "dearest": (found.dearest, due.dearest),
        "errors": (found.errors, due.of("error")),
    }
    if found.labels is not None:
        pairs |= {"labels": (found.labels, due.of("label")), "liked": (found.liked, due.liked)}
    for name, (is_, must) in pairs.items():
        if is_ != must:
            yield f"{name} {is_} instead of {must}"
    values = sorted(due.latencies or ())
    for told, q in zip(found.quantiles, (0.5, 0.95, 0.99), strict=True):
        true = values[math.floor(q * (len(values) - 1))] if values else None
        if (told is None) != (true is None) or (told is not None and true and abs(told - true) > 0.0101 * true):
            yield f"quantile {q}: {told} instead of {true}"


def main(argv: list[str] | None = None) -> int:
    """The command; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.laws.windows_model", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--behind-hours", type=float, default=0.0)
    options = parser.parse_args(argv)
    begun = time.monotonic()
    played = play(options.seed, options.events, behind_hours=options.behind_hours)
    wrong = differences(played, 60 if options.behind_hours else 1)
    same = played.judged.told() == played.steady.told() and played.judged.windows == played.steady.windows
    revisions = played.revisions.values()
    often = sum(revision > 12 for revision in revisions)
    print(
        f"{options.events:,} events, {played.records:,} records of partials, {len(revisions):,} windows in "
        f"{sum(revisions):,} revisions (at most {max(revisions)} of one, more than 12 of {often:,}), "
        f"{len(played.judged.anomalies)} anomaly revisions, {time.monotonic() - begun:.0f} s: {len(wrong)} windows are "
        f"wrong; a judge that never dies says {'the same' if same else 'something else'}"
    )
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n".join([f"at most {memory_mb:.0f} MB in this process", *wrong[:20]]))
    return 1 if wrong or not same else 0


if __name__ == "__main__":
    sys.exit(main())
