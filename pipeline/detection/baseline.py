"""What a key's cost should be, from three sources; which one speaks depends on how much is known.

`same_hour`: the same time on earlier days, the only baseline that survives a morning. `per_call`: what the calls of
this window would have cost at each feature's and model's usual cost of a call; it needs no day of history and does not
care how many calls there are. `busiest_hour`: the highest hour of the last day, for keys that are known for a day but
have no habit. The window under test is never in its own baseline, nor is an hour that a finding covered (it is
flagged). Why so: docs/decisions/0005-baselines.md. Pure; everything comes from `Timeline`s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import Final, Literal

from pipeline.detection.rule import Taint
from pipeline.windows.book import Hour
from pipeline.windows.ring import LENGTHS
from pipeline.windows.rolling import Store
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES

DAYS: Final = 7
# From so many earlier days on their median is trusted as it is.
FEW_DAYS: Final = 3
DAY_HOURS: Final = 24
# Today may run higher than the days before, evenly and for hours, without being wrong.
LEVEL_MOST: Final = 1.4
LEVEL_HOURS: Final = 6
# Hours right before the window are left out of the level, or a slow rise would raise its own baseline.
LEVEL_GAP: Final = 2
LEVEL_CALLS: Final = 30
# Costs of calls vary and calls come in runs: without five-minute numbers, so many average calls are one payment.
CLUSTER: Final = 8.0
# Calls that make a usual cost of a call.
USUAL_CALLS: Final = 30

Kind = Literal["same_hour", "per_call", "busiest_hour"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of one window.

    Attributes:
        kind: Which of the three sources spoke.
        cost: Nano-dollars.
        calls: Calls.
        days: How many windows of this length it is the mean of: days (`same_hour`) or hours (`per_call`), else 1.
        level: How much higher today runs, evenly, than the days before.
    """

    kind: Kind
    cost: float
    calls: float
    days: int = 1
    level: float = 1.0


class Past:
    """A key's history as seen from the minute `end` (exclusive end of the windows under test).

    Args:
        store: Which hours anybody watched: those before the first, and those in which nobody did, are unknown, not
            zero.
        timeline: The key.
        end: Minute, exclusive.
    """

    def __init__(self, store: Store, timeline: Timeline, end: int) -> None:
        self._timeline = timeline
        self._end = end
        # The first hour is rarely a whole one.
        self._known_from = (store.first_hour or 0) + 1
        self._dark = store.dark

    # -- the same time on earlier days

    def same_hour(self, length: int) -> Expectation | None:
        """Expectation for the `length` minutes up to `end` from the same time of up to seven earlier days.

        Windows shorter than half an hour take the rate of the half hour around their middle. None before a day is
        known.
        """
        wide = max(length, HOUR_MINUTES // 2)
        found = self._days(self._end - length / 2 - wide / 2, wide)
        if not found:
            return None
        cost, calls = found[0] if len(found) == 1 else (median(c for c, _ in found), median(n for _, n in found))
        return Expectation("same_hour", cost * length / wide, calls * length / wide, days=len(found))

    def careful(self, expected: Expectation, length: int, level: float | None = None) -> Expectation:
        """The same expectation, with today's level and without trust in a single day's luck: what an alarm needs.

        `level` replaces the level of today where a finding has frozen it.
        """
        cost = expected.cost
        if expected.days < FEW_DAYS:
            # One day's hour may have been low by chance; the hours around it rarely are too.
            wide = length + 2 * HOUR_MINUTES
            around = self._days(self._end - length / 2 - wide / 2, wide)
            cost = max([cost, *(each * length / wide for each, _ in around)])
        if level is None:
            level = self._level(self._end - length)
        return replace(expected, cost=cost * level, calls=expected.calls * level, level=level)

    def _days(self, start: float, length: float) -> list[tuple[float, float]]:
        """(cost, calls) of the `length` minutes from minute `start`, on each earlier day that is known."""
        found = list[tuple[float, float]]()
        for day in range(1, DAYS + 1):
            begin = start - day * DAY_MINUTES
            if begin < self._known_from * HOUR_MINUTES:
                break
            value = self._between(begin, begin + length)
            if value is not None:
                found.append(value)
        return found

    def _between(self, begin: float, end: float) -> tuple[float, float] | None:
        """(cost, calls) between two minutes; None where a finding covered part of it."""
        cost, calls, tainted = 0.0, 0.0, self._timeline.tainted
        for hour in range(int(begin // HOUR_MINUTES), math.ceil(end / HOUR_MINUTES)):
            if hour in self._dark or (hour in tainted and tainted[hour] & Taint.COST):
                return None
            known = self._timeline.hour(hour)
            if known.calls:
                low, high = max(0.0, begin / HOUR_MINUTES - hour), min(1.0, end / HOUR_MINUTES - hour)
                part = known.between(low, high)
                cost += part
                calls += known.calls * (part / known.cost if known.cost else high - low)
        return cost, calls

    def _level(self, before: int) -> float:
        """How the hours before minute `before` compare with the same hours of earlier days, at least 1."""
        last = before // HOUR_MINUTES - LEVEL_GAP
        observed, expected, calls = 0.0, 0.0, 0.0
        for hour in range(last - LEVEL_HOURS + 1, last + 1):
            if hour < self._known_from or self._timeline.tainted.get(hour, 0) & Taint.COST or hour in self._dark:
                continue
            earlier = self._days(hour * HOUR_MINUTES, HOUR_MINUTES)
            if earlier:
                observed += self._timeline.hour(hour).cost
                expected += median(cost for cost, _ in earlier)
                calls += median(calls for _, calls in earlier)
        if calls < LEVEL_CALLS or expected <= 0:
            return 1.0
        return min(max(observed / expected, 1.0), LEVEL_MOST)

    # -- the last day's hours

    @cached_property
    def last_day(self) -> list[Hour]:
        """The last day's hours that had calls, up to the hour under test."""
        last = (self._end - HOUR_MINUTES) // HOUR_MINUTES
        hours = (
            self._timeline.hour(hour)
            for hour in range(last - DAY_HOURS, last)
            if not self._timeline.tainted.get(hour, 0) & Taint.COST
        )
        return [known for known in hours if known.calls]

    def known_for_a_day(self) -> bool:
        """Whether this key was there a day before the hour under test."""
        first = (self._end - HOUR_MINUTES) // HOUR_MINUTES - DAY_HOURS
        oldest = self._timeline.book.first()
        return first >= self._known_from and oldest is not None and oldest <= first

    def busiest_hour(self, length: int) -> Expectation | None:
        """The cost of the last day's most expensive hour, for `length` minutes; None where no hour is known."""
        if not self.last_day:
            return None
        top = max(self.last_day, key=lambda known: known.cost)
        return Expectation("busiest_hour", top.cost * length / HOUR_MINUTES, top.calls * length / HOUR_MINUTES)

    def usual_call(self) -> tuple[float, float] | None:
        """Mean and mean square of what a call cost over the last day, in nano-dollars; None where few are known."""
        calls = sum(known.calls for known in self.last_day)
        if calls < USUAL_CALLS:
            return None
        cost, squares = sum(known.cost for known in self.last_day), sum(known.squares for known in self.last_day)
        return cost / calls, squares * 1e6 / calls

    def payment(self) -> float:
        """Variance over mean of this key's cost, in nano-dollars: how large one independent payment is.

        From the five-minute costs of the last day's hours; where they are few or only whole hours are known, mixed with
        a cautious guess.
        """
        hours = self.last_day
        calls = sum(known.calls for known in hours)
        guess = CLUSTER * sum(known.cost for known in hours) / calls if calls else 0.0
        spread = sum(known.spread * 12 / 11 for known in hours if not math.isnan(known.spread))
        mean = sum(known.cost for known in hours if not math.isnan(known.spread))
        if mean <= 0:
            return guess
        weight = min(1.0, calls / 200)
        return weight * spread / mean + (1 - weight) * max(guess, spread / mean)


@dataclass(frozen=True, slots=True)
class PerCall:
    """What the calls of a window would have cost, as far as their usual cost is known.

    Attributes:
        expected: Cost and calls of the parts whose usual cost is known.
        observed: What these parts did cost, in nano-dollars.
        payment: Mean square over mean of their usual cost, in nano-dollars: see `Past.payment`.
    """

    expected: Expectation
    observed: int
    payment: float


def per_call(store: Store, parts: Iterable[Timeline], minute: int, length: int) -> PerCall | None:
    """What the calls of the window would have cost at the usual cost of a call of each part.

    Args:
        store: See `Past`.
        parts: The tenant's (feature's) `model` timelines: each with its own usual cost of a call, so that a change in
            the mix of features is no change in price.
        minute: Last minute of the window.
        length: Length in minutes; one of `ring.LENGTHS`.

    Returns:
        None when no usual cost is known.
    """
    place = LENGTHS.index(length)
    cost, squares, calls, observed, hours = 0.0, 0.0, 0, 0, 1
    for part in parts:
        part.seek(minute)
        count = part.calls[place]
        if not count:
            continue
        past = Past(store, part, minute + 1)
        usual = past.usual_call()
        if usual is not None:
            hours = max(hours, len(past.last_day))
            calls += count
            cost += usual[0] * count
            squares += usual[1] * count
            observed += part.cost[place]
    if cost <= 0:
        return None
    return PerCall(Expectation("per_call", cost, calls, days=hours), observed, squares / cost)


def surprise(observed: float, expected: float, payment: float) -> float:
    """How surprising a cost is, on the scale of standard deviations: the signed root of the Poisson deviance.

    Cost is taken as a number of independent payments of one size. Unlike (o - e) / sqrt(e) it does not take a second
    rare payment for a sensation.
    """
    if payment <= 0 or observed <= expected or expected <= 0:
        return 0.0
    made, due = observed / payment, expected / payment
    return math.sqrt(2 * (made * math.log(made / due) - (made - due)))
