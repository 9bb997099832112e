"""What a key usually costs at an hour of the week: the only baseline that survives mornings, weekends and growth.

Which earlier days an hour is compared with:

- The same hour of the same weekday, up to four weeks back, scaled by how days have grown since.
- Of the last six days those that ran alike around that hour a week ago or more; in the first week, when no weekday is
  known twice, the higher ones of those that there are, because nothing tells working days from others yet.

Hours in which nobody watched are left out, and so are those that a finding covered: yesterday's incident is no habit.
Two things are, although they were told: what was told of this hour on three days of the last six, and in the first week
what came after days of which none was a working day all over the world. Without that an office that grew, or one whose
Monday begins on Sunday evening UTC, would be told of every day for ever.

How much the days that are compared differ from each other is the `scatter` of the hour: a nightly batch of another size
every time is no habit.

Costs are made by the hour and remembered for an hour; windows are put together from them, by quarters. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from pipeline.detection import calendar
from pipeline.detection.rule import Taint
from pipeline.windows.book import Hour
from pipeline.windows.rolling import Store
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_HOURS, HOUR_MINUTES, WEEK_HOURS

WEEKS: Final = 4
# Days are alike when what they cost around the hour differs by less than this factor and so many deviations of chance.
ALIKE: Final = 1.5
BY_CHANCE: Final = 1.5
# Of the working days that are known in the first week, the higher part.
HIGHER_PART: Final = 0.7
# What was told on so many of the last days is how days are now.
OFTEN: Final = 3
# How days may have grown since a week, or several weeks.
GROWTH: Final = (0.5, 3.0)
# Hours on either side that scatter is measured over.
AROUND: Final = 2
# What is assumed of scatter where too little is known, and how many differences count as knowing.
SCATTER: Final = 0.15
KNOWN_DIFFERENCES: Final = 8.0
# A day that fell further than to this part of the usual counts as one that fell so far: that nothing came on one day
# says that it may be silent again, and nothing of how high others may rise.
LEAST_FALL: Final = 0.5
# Calls come in runs of about so many.
RUN: Final = 3.0

# How much higher today may run than other days.
LEVEL_MOST: Final = 1.4
LEVEL_HOURS: Final = 6
LEVEL_GAP: Final = 2
LEVEL_CALLS: Final = 30
QUARTER: Final = HOUR_MINUTES // 4
_EVEN: Final = (0.25, 0.25, 0.25, 0.25)


class Draw(NamedTuple):
    """What an hour cost on one earlier day, as it would today: nano-dollars, calls, and what the hour was."""

    cost: float
    calls: float
    hour: Hour


@dataclass(frozen=True, slots=True)
class Usual:
    """What an hour usually costs.

    Attributes:
        cost: Nano-dollars.
        calls: Calls.
        days: How many days that stands on.
        draws: What the hour cost on each of them.
        quarters: Share of the cost in each quarter of the hour.
    """

    cost: float
    calls: float
    days: int
    draws: tuple[float, ...]
    quarters: tuple[float, float, float, float]


class Window(NamedTuple):
    """What a window usually costs: nano-dollars, calls, and how many days that stands on."""

    cost: float
    calls: float
    days: int


class _Sums(NamedTuple):
    """Usual cost and calls since minute `first`, at the end of each quarter of an hour; known from a quarter on."""

    first: int
    cost: tuple[float, ...]
    calls: tuple[float, ...]
    days: int
    from_quarter: int

    def between(self, begin: float, end: float) -> tuple[float, float]:
        """Cost and calls between two times, in quarters since `first`."""
        low, high = int(begin), min(int(end), len(self.cost) - 2)
        after, before = end - high, begin - low
        cost = self.cost[high] + after * (self.cost[high + 1] - self.cost[high])
        calls = self.calls[high] + after * (self.calls[high + 1] - self.calls[high])
        return (
            cost - self.cost[low] - before * (self.cost[low + 1] - self.cost[low]),
            calls - self.calls[low] - before * (self.calls[low + 1] - self.calls[low]),
        )


class Habit:
    """A key's hours, seen from one of them. Makes what it is asked for, once.

    Args:
        store: Which hours anybody watched: those before the first, and those in which nobody did, are unknown, not
            zero.
        timeline: The key.
        now: The present hour.
        without: Timelines below it that are not part of its habit: what is new.
    """

    def __init__(self, store: Store, timeline: Timeline, now: int, without: tuple[Timeline, ...] = ()) -> None:
        self._timeline, self._without, self._dark = timeline, without, store.dark
        # The first hour is rarely a whole one; before it the key was not there, which is not the same as nothing.
        first = max(store.first_hour or 0, timeline.book.first() or 0)
        self._known_from = max(first + 1, timeline.since.get(Taint.COST, 0))
        self.now = now
        self._usual: dict[int, Usual | None] = {}
        self._growth: dict[int, float] = {}
        self._scatter: dict[int, float] = {}
        self._level: dict[int, float] = {}
        self._sums: _Sums | None = None
        self._one: float | None = None

    def usual(self, hour: int) -> Usual | None:
        """What an hour usually costs; None where no day says so."""
        if hour not in self._usual:
            self._usual[hour] = self._make(hour)
        return self._usual[hour]

    def window(self, end: int, length: int) -> Window | None:
        """What the `length` minutes up to minute `end` usually cost; None where no day says so.

        They must lie within the present hour and the two before it.
        """
        known = self._sums
        if known is None:
            known = self._sums = self._add_up()
        begin = (end - length - known.first) / QUARTER
        if begin < known.from_quarter:
            return None
        cost, calls = known.between(begin, (end - known.first) / QUARTER)
        return Window(cost, calls, known.days)

    def _add_up(self) -> _Sums:
        first, cost, calls, days, known_from = (self.now - 2) * HOUR_MINUTES, [0.0], [0.0], 99, 0
        for place, hour in enumerate(range(self.now - 2, self.now + 1)):
            usual = self.usual(hour)
            if usual is None:
                known_from, days = 4 * (place + 1), 99
            else:
                days = min(days, usual.days)
            for part in usual.quarters if usual is not None else _EVEN:
                cost.append(cost[-1] + (usual.cost * part if usual is not None else 0.0))
                calls.append(calls[-1] + (usual.calls * part if usual is not None else 0.0))
        return _Sums(first, tuple(cost), tuple(calls), days, known_from)

    def level(self, before: int) -> float:
        """How the hours before minute `before` compare with what they usually cost, at least 1.

        Today may run higher than other days, evenly and for hours, without being wrong. Hours right before the window
        are left out, or a slow rise would raise its own baseline.
        """
        last = before // HOUR_MINUTES - LEVEL_GAP
        if last not in self._level:
            observed, expected, calls = 0.0, 0.0, 0.0
            for hour in range(last - LEVEL_HOURS + 1, last + 1):
                usual, known = self.usual(hour), self._known(hour) if hour >= self._known_from else None
                if usual is not None and known is not None:
                    observed, expected, calls = observed + known.cost, expected + usual.cost, calls + usual.calls
            known_enough = calls >= LEVEL_CALLS and expected > 0
            self._level[last] = min(max(observed / expected, 1.0), LEVEL_MOST) if known_enough else 1.0
        return self._level[last]

    def scatter(self, hour: int) -> float:
        """How days differ from each other around an hour: standard deviation of the logarithm, beyond mere chance."""
        if hour not in self._scatter:
            self._scatter[hour] = self._measure(hour)
        return self._scatter[hour]

    def _make(self, hour: int) -> Usual | None:
        days = range(DAY_HOURS, WEEK_HOURS, DAY_HOURS)
        same = self._draws(hour, range(WEEK_HOURS, (WEEKS + 1) * WEEK_HOURS, WEEK_HOURS))
        recent, covered = self._draws(hour, days), self._draws(hour, days, covered=True)
        if len(covered) >= OFTEN:
            chosen = covered
        elif same:
            chosen = self._by_weekday(hour, same, recent)
        else:
            chosen = self._first_week(hour, recent, covered)
        if not chosen:
            return None
        draws = [draw for _, draw in chosen]
        cost = _middle([draw.cost for draw in draws])
        if len(draws) < 3:
            # One day's hour may have been low by chance; the hours around it rarely are too.
            cost = max([cost, *(self._around(at) for at, _ in chosen)])
        calls = _middle([draw.calls for draw in draws])
        return Usual(cost, calls, len(draws), tuple(draw.cost for draw in draws), _quarters(draws, cost))

    def _draws(self, hour: int, back: range, *, covered: bool = False) -> list[tuple[int, Draw]]:
        """(hour, what it cost as it would now) of earlier days: those that no finding covered, or that one did."""
        found = []
        for hours in back:
            at = hour - hours
            if at < self._known_from:
                break
            known = self._known(at, covered=covered)
            if known is not None:
                growth = self._grown(hours // WEEK_HOURS) if hours >= WEEK_HOURS else 1.0
                found.append((at, Draw(known.cost * growth, known.calls * growth, known)))
        return found

    def _known(self, hour: int, *, covered: bool = False) -> Hour | None:
        """What is known of an hour that no finding covered, or of one that was `covered`."""
        if bool(self._timeline.tainted.get(hour, 0) & Taint.COST) != covered:
            return None
        return self.observed(hour)

    def observed(self, hour: int) -> Hour | None:
        """What an hour cost, without what is new; None where nobody watched."""
        if hour in self._dark:
            return None
        known = self._timeline.hour(hour)
        if not self._without:
            return known
        calls, cost = known.calls, known.cost
        for one in self._without:
            part = one.hour(hour)
            calls, cost = calls - part.calls, cost - part.cost
        return known if cost == known.cost else Hour(max(0.0, calls), max(0.0, cost), quarters=known.quarters)

    def _first_week(
        self, hour: int, recent: list[tuple[int, Draw]], covered: list[tuple[int, Draw]]
    ) -> list[tuple[int, Draw]]:
        """The higher ones of the days that are known, when nobody can say yet which of them are alike."""
        if not any(calendar.is_working_everywhere(at) for at, _ in recent):
            # What was told may have been the first day of work.
            recent = [*recent, *covered]
        working = sum(not calendar.is_weekend(at // DAY_HOURS) for at, _ in recent)
        if not recent or (not working and not calendar.is_weekend(hour // DAY_HOURS)):
            return []
        return sorted(recent, key=lambda one: -one[1].cost)[: max(1, int(HIGHER_PART * working))]

    def _by_weekday(
        self, hour: int, same: list[tuple[int, Draw]], recent: list[tuple[int, Draw]]
    ) -> list[tuple[int, Draw]]:
        base = self._around_all(same)
        kind = calendar.is_weekend(hour // DAY_HOURS)
        if len(same) == 1 and self._was_holiday(same[0][0] // DAY_HOURS):
            # It is no habit where days of the same kind are all much higher.
            others = [self._around(at) for at, _ in recent if calendar.is_weekend(at // DAY_HOURS) == kind]
            if len(others) >= 2 and median(others) > ALIKE * base:
                base, same = median(others), []
        return [*same, *(one for one in recent if self._are_alike(base, self._around(one[0])))]

    def _are_alike(self, one: float, other: float) -> bool:
        """Whether two costs of an hour and its neighbours differ by no more than days and chance make them."""
        if one <= 0 or other <= 0:
            return one == other
        chance = math.sqrt(self._payment() / 3 * (1 / one + 1 / other))
        return abs(math.log(other / one)) <= math.log(ALIKE) + BY_CHANCE * min(1.0, chance)

    def _was_holiday(self, day: int) -> bool:
        """Whether a day was less than half of the middle one of the days after it, as a whole."""
        later = [self._day(one) for one in range(day + 1, min(day + 7, self.now // DAY_HOURS))]
        return bool(later) and self._day(day) < median(later) / 2

    def _around_all(self, same: list[tuple[int, Draw]]) -> float:
        values = [self._around(at) * self._grown((self.now - at) // WEEK_HOURS or 1) for at, _ in same]
        if len(values) == 2 and max(values) > ALIKE * min(values):
            return max(values)
        return _middle(values)

    def _around(self, hour: int) -> float:
        """What an hour and its neighbours cost in the mean."""
        near = [known.cost for at in (hour - 1, hour, hour + 1) if (known := self._known(at)) is not None]
        return sum(near) / len(near) if near else 0.0

    def _grown(self, weeks: int) -> float:
        """How days have grown in so many weeks: the middle one of the last seven days against its own weekday then."""
        if weeks not in self._growth:
            today, first = self.now // DAY_HOURS, math.ceil(self._known_from / DAY_HOURS)
            ratios = []
            for day in range(today - 7, today):
                before = day - 7 * weeks
                if before >= first and (then := self._day(before)) > 0 and (lately := self._day(day)) > 0:
                    ratios.append(lately / then)
            low, high = GROWTH
            self._growth[weeks] = min(max(median(ratios), low), high) if len(ratios) >= 3 else 1.0
        return self._growth[weeks]

    def _day(self, day: int) -> float:
        return self._timeline.day(day).cost - sum(one.day(day).cost for one in self._without)

    def _measure(self, hour: int) -> float:
        squares, count, payment = 0.0, 0.0, self._payment()
        for at in range(hour - AROUND, hour + AROUND + 1):
            usual = self.usual(at)
            if usual is None or usual.days < 2 or usual.cost <= 0:
                continue
            for cost in usual.draws:
                difference = math.log(max(cost, LEAST_FALL * usual.cost) / usual.cost)
                # What comes of the payments' own chance is none of the day's.
                squares += max(0.0, difference * difference - min(1.0, payment / usual.cost))
            # The middle was made of them.
            count += usual.days - 1
        weight = count / (count + KNOWN_DIFFERENCES)
        return math.sqrt(weight * (squares / count if count else 0.0) + (1 - weight) * SCATTER * SCATTER)

    def _payment(self) -> float:
        """How large one independent payment of the last two days was: mean square over mean, in runs of a few."""
        if self._one is None:
            hours = [self._timeline.hour(at) for at in range(self.now - 2 * DAY_HOURS, self.now - 1)]
            cost = sum(known.cost for known in hours)
            self._one = RUN * sum(known.squares for known in hours) * 1e6 / cost if cost > 0 else 0.0
        return self._one


def _middle(values: list[float]) -> float:
    return median(values) if len(values) > 2 else sum(values) / len(values)


def _quarters(draws: list[Draw], usual: float) -> tuple[float, float, float, float]:
    """Share of the cost in each quarter; a day counts no more than a usual one, or one dear call would say it all."""
    parts, total = [0.0, 0.0, 0.0, 0.0], 0.0
    for draw in draws:
        whole, weight = sum(draw.hour.quarters), min(draw.cost, usual)
        if whole:
            total += weight
            for place, part in enumerate(draw.hour.quarters):
                parts[place] += weight * part / whole
    if total <= 0:
        return _EVEN
    return parts[0] / total, parts[1] / total, parts[2] / total, parts[3] / total
