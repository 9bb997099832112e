"""How large one independent payment of a key is: what chance makes of its cost, read off the key's own past.

Costs of calls vary and calls come in runs, so that a window's cost is a sum of fewer payments than it has calls.
Variance over mean of a compound Poisson sum is the mean size of its payments, each weighted by its own size; it is
taken from the costs of five minutes and from those of quarters of an hour, because the calls of a run take minutes.

One day says it badly where now and then a run is fifty times as long as others: days without such a run make the next
one a surprise. So a week's estimates are looked at, and a high one is believed. Decisions 0023 and 0024. Pure.
"""

from __future__ import annotations

import math
from typing import Final

from pipeline.detection.habit import OFTEN, Habit
from pipeline.detection.rule import Taint
from pipeline.windows.book import Hour
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_HOURS, WEEK_HOURS

# Without five-minute numbers, so many average calls are one payment.
CLUSTER: Final = 8.0
# Calls that say how large one payment is.
SURE_CALLS: Final = 200
# Of so many estimates one may lie above the one that is believed.
RARELY: Final = 4


def payments(timeline: Timeline, end: int) -> tuple[float, float]:
    """Payments in nano-dollars as five minutes and as quarters of an hour show them.

    Args:
        timeline: A key.
        end: The hour that the week before ends with, itself left out.
    """
    known = [_estimate(hours) for hours in _parts(timeline, end)]
    place = -1 - len(known) // RARELY
    return sorted(near for near, _ in known)[place], sorted(far for _, far in known)[place]


def rises(habit: Habit, end: int) -> float:
    """How large one rise of an hour above the usual is, in nano-dollars: what was so on several days of a week.

    A sum of squares over a mean like `payments`, of jobs that last an hour, of which neither quarters nor five minutes
    know. Falls are left out: corners of an office's day are no jobs. Hours that a finding covered are not: what was
    told three days a week is how this key pays. 0 where too little is known.

    Args:
        habit: What the key's hours usually cost.
        end: The hour that the week before ends with, itself left out.
    """
    known = []
    for day in range(WEEK_HOURS // DAY_HOURS):
        squares, costs = 0.0, 0.0
        for hour in range(end - (day + 1) * DAY_HOURS, end - day * DAY_HOURS):
            usual, seen = habit.usual(hour), habit.observed(hour)
            if usual is not None and seen is not None:
                rise = max(0.0, seen.cost - usual.cost)
                # The usual itself is the middle of so many days and errs by its share of their variance.
                squares += rise * rise / (1 + 1 / usual.days)
                costs += usual.cost
        if costs > 0:
            known.append(squares / costs)
    return sorted(known)[-OFTEN] if len(known) >= OFTEN else 0.0


def untainted(timeline: Timeline, hour: int) -> Hour | None:
    """An hour that had calls and that no finding on cost covered."""
    if timeline.tainted.get(hour, 0) & Taint.COST or not (known := timeline.hour(hour)).calls:
        return None
    return known


def _parts(timeline: Timeline, end: int) -> list[list[Hour]]:
    """A week's hours, the newest first: by days, or by as many more hours as it takes to know `SURE_CALLS` calls."""
    parts, hours, calls, length = list[list[Hour]](), list[Hour](), 0.0, 0
    for hour in range(end - 1, end - 1 - WEEK_HOURS, -1):
        length += 1
        known = untainted(timeline, hour)
        if known is not None:
            hours.append(known)
            calls += known.calls
        if length >= DAY_HOURS and calls >= SURE_CALLS:
            parts.append(hours)
            hours, calls, length = [], 0.0, 0
    # What is left is too little to say something by itself.
    if not parts or calls >= SURE_CALLS:
        parts.append(hours)
    return parts


def _estimate(hours: list[Hour]) -> tuple[float, float]:
    """Variance over mean of the costs of five minutes and of quarters; of few calls mixed with a cautious guess."""
    calls = sum(known.calls for known in hours)
    guess = CLUSTER * sum(known.cost for known in hours) / calls if calls else 0.0
    seen = [known for known in hours if not math.isnan(known.spread)]
    cost = sum(known.cost for known in seen)
    if cost <= 0:
        return guess, guess
    weight = min(1.0, calls / SURE_CALLS)
    near, far = sum(known.spread * 12 / 11 for known in seen) / cost, sum(map(_unevenness, seen)) / cost
    return weight * near + (1 - weight) * max(guess, near), weight * far + (1 - weight) * max(guess, far)


def _unevenness(hour: Hour) -> float:
    """Four times the variance of the costs of the hour's quarters."""
    whole = sum(hour.quarters)
    if not whole:
        return 0.0
    return sum((hour.cost * (part / whole - 0.25)) ** 2 for part in hour.quarters) * 4 / 3
