"""The rules that everybody writes first, on the same numbers: a fixed threshold, mean and three sigma, twice the mean.

They look at a rolling hour of money every five minutes, at failures and p95 latencies by quarters of an hour, against
the week before (the fixed threshold: against the first week, times three, or the 5 % of the rule). An alarm ends when
the bound has been kept for an hour. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.detection.play import BLOCK, Played, Series, Told
from bench.detection.traffic import DAY

Floats = NDArray[np.float64]
STEP: Final = 5
HOUR: Final = 60
QUIET: Final = 60
# Calls in a block that a share or a quantile needs.
LEAST: Final = 20
# (value, mean, deviation, mean of the first week, of nothing) -> whether it is wrong.
Bound = Callable[[Floats, Floats, Floats, float], NDArray[np.bool_]]
BOUNDS: Final[dict[str, Bound]] = {
    "fixed": lambda value, mean, sigma, first: value > 3 * first,
    "sigma": lambda value, mean, sigma, first: value > mean + 3 * sigma,
    "twice": lambda value, mean, sigma, first: value > 2 * mean,
}
RULES: Final = ("cost.spike", "error.rate", "latency.p95")


def told(series: Series, name: str, rule: str) -> Iterator[Told]:
    """What a naive rule tells, in the place of one of ours."""
    if rule == "cost.spike":
        for tenant, cost in series.cost.items():
            summed = np.concatenate([[0.0], np.cumsum(cost)])
            ends = np.arange(HOUR, len(cost) + 1, STEP)
            value = summed[ends] - summed[ends - HOUR]
            for at in _alarms(value, BOUNDS[name], DAY // STEP, STEP):
                yield Told(rule, int(ends[at]) - 1, tenant)
        return
    for provider, calls in series.calls.items():
        if rule == "error.rate":
            value = np.where(calls >= LEAST, series.failed[provider] / np.maximum(1, calls), np.nan)
            bound: Bound = (lambda now, mean, sigma, first: now > 0.05) if name == "fixed" else BOUNDS[name]
        else:
            value, bound = np.where(calls >= LEAST, series.p95(provider), np.nan), BOUNDS[name]
        for at in _alarms(value, bound, DAY // BLOCK, BLOCK):
            yield Told(rule, (at + 1) * BLOCK - 1, provider=provider)


def _alarms(value: Floats, bound: Bound, a_day: int, step: int) -> Iterator[int]:
    """Where alarms begin; the week before each value is its past, and the first day none is raised."""
    known = ~np.isnan(value)
    filled = np.where(known, value, 0.0)
    sums, squares, counts = (np.concatenate([[0.0], np.cumsum(part)]) for part in (filled, filled**2, known))
    place = np.arange(len(value))
    begin = np.maximum(0, place - 7 * a_day)
    count = np.maximum(1.0, counts[place] - counts[begin])
    mean = (sums[place] - sums[begin]) / count
    sigma = np.sqrt(np.maximum(0.0, (squares[place] - squares[begin]) / count - mean**2))
    week = min(7 * a_day, len(value))
    first = float(sums[week] / max(1.0, counts[week]))
    wrong = bound(filled, mean, sigma, first) & known
    last = -(10**9)
    for at in np.flatnonzero(wrong).tolist():
        if at >= a_day and (at - last) * step > QUIET:
            yield at
        last = at


def as_played(world: Played, name: str) -> Played:
    """A world as a naive rule tells it."""
    found = [one for rule in RULES for one in told(world.series, name, rule)]
    return Played(world.name, world.tenants, world.days, world.events, found, world.series)
