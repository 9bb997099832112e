"""What stops and comes back neither repeats an anomaly nor misses one, and history that is sent later pages nobody."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec
import pytest

from pipeline.detection.judging import Judge, JudgeState
from schemas.anomaly import Anomaly
from schemas.partial import Partials
from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Plant

TWO_YEARS_MS = 730 * DAY_MS


class Log(Plant):
    """A plant that keeps its log of partials."""

    def __init__(self) -> None:
        super().__init__(flush_ms=5 * MINUTE_MS)
        self.log: list[tuple[Partials, int]] = []
        apply = self.judge.apply

        def kept(record: Partials, appended_at: int) -> object:
            self.log.append((record, appended_at))
            return apply(record, appended_at)

        self.judge.apply = kept  # type: ignore[method-assign, assignment]


def calls(plant: Plant, begin_ms: float, hours: float, usd: float = 0.05, seed: int = 1) -> None:
    rng, at_ms = Random(seed), begin_ms
    while (at_ms := at_ms + rng.expovariate(1.2) * MINUTE_MS) < begin_ms + hours * HOUR_MS:
        plant.call(at_ms, usd=usd * rng.lognormvariate(0, 0.4), latency_ms=1_000.0 * rng.lognormvariate(0, 0.3))


def weekend(plant: Plant, off: bool) -> None:
    """A day and a half, a spike; then (perhaps) two days in which facts wait, with another spike; then an hour."""
    calls(plant, MIDNIGHT_MS, 34)
    calls(plant, MIDNIGHT_MS + 34 * HOUR_MS, 2, usd=0.25, seed=2)
    if off:
        # What has waited is read as fast as it goes: a publication holds hours, not minutes.
        plant.flush_ms = 2 * HOUR_MS
    calls(plant, MIDNIGHT_MS + 36 * HOUR_MS, 24, seed=3)
    calls(plant, MIDNIGHT_MS + 60 * HOUR_MS, 4, usd=0.3, seed=4)
    calls(plant, MIDNIGHT_MS + 64 * HOUR_MS, 20, seed=5)
    plant.flush_ms = 5 * MINUTE_MS
    calls(plant, MIDNIGHT_MS + 84 * HOUR_MS, 2, seed=6)


def spikes(anomalies: list[Anomaly]) -> list[tuple[str, int]]:
    """(state, hour in which it began) of the tenant's spikes."""
    found = [one for one in anomalies if one.rule == "cost.spike" and "feature" not in one.subject]
    return [(one.state, (one.opened_at - MIDNIGHT_MS) // HOUR_MS) for one in found if one.state != "update"]


def test_after_a_weekend_off_the_same_anomalies_are_told_once() -> None:
    steady, off = Log(), Log()
    weekend(steady, off=False)
    weekend(off, off=True)
    told = spikes(steady.anomalies)
    assert [state for state, _ in told] == ["open", "resolved", "open", "resolved"]
    assert spikes(off.anomalies) == told
    for plant in (steady, off):
        revisions = Counter((one.id, one.revision) for one in plant.anomalies)
        assert max(revisions.values()) == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_a_judge_that_is_killed_at_any_time_tells_what_one_that_lives_tells(seed: int) -> None:
    """Whoever takes over has an old snapshot and reads again from its position: what it tells again is the same."""
    steady = Log()
    weekend(steady, off=True)
    dice, told = Random(seed), dict[tuple[str, int], Anomaly]()
    judge, snapshot, at = Judge(2), None, 0
    read = msgspec.msgpack.Decoder(JudgeState).decode
    saved_at, deaths = 0, 0
    while at < len(steady.log):
        record, appended_at = steady.log[at]
        for one in judge.apply(record, appended_at).anomalies:
            assert told.setdefault((one.id, one.revision), one) == one
        at += 1
        if dice.random() < 0.02:
            snapshot, saved_at = msgspec.msgpack.encode(judge.state()), at
        if dice.random() < 0.01:
            judge, at, deaths = Judge(2), saved_at, deaths + 1
            if snapshot is not None:
                judge.restore(read(snapshot))
    assert deaths > 3
    assert told == {(one.id, one.revision): one for one in steady.anomalies}


def test_two_years_of_history_page_nobody_and_change_no_baseline() -> None:
    plant, alone = Plant(), Plant()
    for one in (plant, alone):
        calls(one, MIDNIGHT_MS, 30)
    rng = Random(9)
    for at_ms in sorted(rng.uniform(MIDNIGHT_MS - TWO_YEARS_MS, MIDNIGHT_MS + 30 * HOUR_MS) for _ in range(5_000)):
        for status in ("ok", "error"):
            fact = plant.facts[0].call(
                at_ms, usd=50.0, status=status, latency_ms=90_000.0, backfill=True, received_at=plant.now_ms
            )
            assert plant.folds[0].fold(fact)
    for one in (plant, alone):
        one.until(MIDNIGHT_MS + 30 * HOUR_MS)
        calls(one, MIDNIGHT_MS + 30 * HOUR_MS, 3, seed=2)
    assert plant.anomalies == alone.anomalies == []
    day = MIDNIGHT_MS // DAY_MS
    known, usual = (one.judge.store.timelines["tenant", "acme"].day(day) for one in (plant, alone))
    assert (known.calls, known.cost) == (usual.calls, usual.cost)
    assert plant.folds[0].counts["backfill"] == 10_000
