"""What a key's cost should be, from three sources; which one speaks depends on how much is known.

`same_hour`: the same time of the week (`habit`), the only baseline that survives a morning. `per_call`: what the calls
of this window would have cost at each feature's and model's usual cost of a call; it needs no day of history and does
not care how many calls there are. `busiest_hour`: the highest hour of the last day, for keys that are known for a day
but have no habit. The window under test is never in its own baseline, nor is an hour that a finding covered. Why so:
docs/decisions/0005-baselines.md. Pure; everything comes from `Timeline`s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from pipeline.detection import calendar
from pipeline.detection.chance import poisson
from pipeline.detection.habit import QUARTER, Habit
from pipeline.detection.payment import payments, rises, untainted
from pipeline.detection.rule import Taint
from pipeline.detection.scene import Scene
from pipeline.windows.book import Hour
from pipeline.windows.ring import LENGTHS
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_HOURS, HOUR_MINUTES, WEEK_HOURS

# A feature that is younger has no week that its tenant could be compared with.
NEW_HOURS: Final = WEEK_HOURS
# One that is younger has no habit either: what it costs is a launch.
LAUNCH_HOURS: Final = 3 * DAY_HOURS
# A tenant with more new features than this names its features by something else, as the run.
MOST_NEW: Final = 20
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
        launched: Nano-dollars of the window that new features cost, which are not to be held against it.
    """

    kind: Kind
    cost: float
    calls: float
    days: int = 1
    level: float = 1.0
    launched: float = 0.0


class Past:
    """A key's history as seen from a scene; what it is asked for is made once an hour."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._timeline = scene, scene.timeline
        self._now = scene.minute // HOUR_MINUTES

    # -- the same time of the week

    def same_hour(self, length: int) -> Expectation | None:
        """Expectation for the `length` minutes that end with the scene; None where nothing says so.

        A tenant's new features are no part of its habit. Those that have one of their own add to it, and what the
        newest cost is a launch.
        """
        end, new = self._scene.minute + 1, self._new()
        usual = self._habit(self._timeline, new).window(end, length)
        if usual is None:
            return None
        cost, calls, launched = usual.cost, usual.calls, 0.0
        for one in new:
            own = None
            if self._age(one) >= LAUNCH_HOURS:
                own = self._habit(one, ()).window(end, length)
            if own is None:
                one.seek(self._scene.minute)
                launched += one.cost[LENGTHS.index(length)]
            else:
                cost, calls = cost + own.cost, calls + own.calls
        return Expectation("same_hour", cost, calls, usual.days, launched=launched)

    def careful(self, expected: Expectation, length: int, level: float | None = None) -> Expectation:
        """The same expectation with today's level, or with a `level` that a finding has frozen."""
        if level is None:
            level = self._habit(self._timeline, self._new()).level(self._scene.minute + 1 - length)
        return replace(expected, cost=expected.cost * level, calls=expected.calls * level, level=level)

    def scatter(self, length: int) -> float:
        """How days differ around the middle of the window; see `Habit.scatter`."""
        middle = (self._scene.minute + 1 - length // 2) // HOUR_MINUTES
        return self._habit(self._timeline, self._new()).scatter(middle)

    def _habit(self, timeline: Timeline, without: tuple[Timeline, ...]) -> Habit:
        store, now = self._scene.store, self._now
        scene = self._scene if timeline is self._timeline else Scene(store, timeline, self._scene.minute)
        found: Habit = scene.remember("habit", lambda: Habit(store, timeline, now, without))
        return found

    def is_launch(self) -> bool:
        """Whether this is a tenant's new feature: what it costs is no news of its own, and counts for the tenant."""
        if self._scene.key[0] != "feature":
            return False
        tenant = self._scene.store.timelines.get(("tenant", self._scene.tenant))
        return tenant is not None and self._age(self._timeline) < min(NEW_HOURS, self._age(tenant) - DAY_HOURS)

    def was_weekend(self) -> bool:
        """Whether the last day was one of a weekend and the present one is none, so that it says little."""
        day = self._now // DAY_HOURS
        return calendar.is_weekend((self._now - DAY_HOURS) // DAY_HOURS) and not calendar.is_weekend(day)

    def _new(self) -> tuple[Timeline, ...]:
        if self._scene.key[0] != "tenant":
            return ()
        found: tuple[Timeline, ...] = self._scene.remember("new", self._find_new)
        return found

    def _find_new(self) -> tuple[Timeline, ...]:
        age = self._age(self._timeline)
        new = [one for one in self._scene.parts("feature") if self._age(one) < min(NEW_HOURS, age - DAY_HOURS)]
        return tuple(sorted(new, key=lambda one: one.key)) if len(new) <= MOST_NEW else ()

    def _age(self, timeline: Timeline) -> int:
        first = timeline.book.first()
        return 0 if first is None else self._now - first

    # -- the last day's hours

    @property
    def last_day(self) -> list[Hour]:
        """The last day's hours that had calls, without those that the window may touch."""
        found: list[Hour] = self._scene.remember("last day", lambda: _last_day(self._timeline, self._now))
        return found

    def known_hours(self) -> int:
        """Whole hours of the last week that had calls."""
        found: int = self._scene.remember("known hours", self._count_hours)
        return found

    def _count_hours(self) -> int:
        timeline, before = self._timeline, self._now - 1 - DAY_HOURS
        earlier = range(before - WEEK_HOURS + DAY_HOURS, before)
        return len(self.last_day) + sum(1 for hour in earlier if timeline.hour(hour).calls)

    def known_for_a_day(self) -> bool:
        """Whether this key was there a day before the hour under test."""
        first = self._now - 1 - DAY_HOURS
        oldest = self._timeline.book.first()
        return oldest is not None and oldest <= first and first > (self._scene.store.first_hour or 0)

    def busiest_hour(self, length: int) -> Expectation | None:
        """The cost of the last day's most expensive hour, for `length` minutes; None where no hour is known."""
        if not self.last_day:
            return None
        top = max(self.last_day, key=lambda known: known.cost)
        return Expectation("busiest_hour", top.cost * length / HOUR_MINUTES, top.calls * length / HOUR_MINUTES)

    def payment(self, minutes: int) -> float:
        """How large one independent payment of this key may be, in nano-dollars; see `payment`.

        Args:
            minutes: Length of the window that is looked at: what looks like several payments from near is one from
                further away.
        """
        found: tuple[float, float] = self._scene.remember("payment", lambda: payments(self._timeline, self._now - 1))
        return max(found) if minutes >= QUARTER else found[0]

    def rise(self, minutes: int) -> float:
        """How large one independent rise of this key's hours may be, in nano-dollars; see `payment.rises`."""
        habit = self._habit(self._timeline, self._new())
        found: float = self._scene.remember("rises", lambda: rises(habit, self._now - 1))
        return found * min(1.0, minutes / HOUR_MINUTES)


def _last_day(timeline: Timeline, now: int) -> list[Hour]:
    hours = range(now - 1 - DAY_HOURS, now - 1)
    return [known for hour in hours if (known := untainted(timeline, hour)) is not None]


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


def per_call(scene: Scene, length: int) -> PerCall | None:
    """What the calls of the window would have cost at the usual cost of a call of each part.

    Parts are the key's `model` timelines: each has its own usual cost of a call, so that a change in the mix of
    features is no change in price. Hours that a finding of the key covered are in none of them.

    Args:
        scene: A tenant or a feature.
        length: Length in minutes; one of `ring.LENGTHS`.

    Returns:
        None when no usual cost is known.
    """
    place = LENGTHS.index(length)
    cost, squares, calls, observed, hours = 0.0, 0.0, 0, 0, 1
    for part in scene.parts("model"):
        part.seek(scene.minute)
        count = part.calls[place]
        if not count:
            continue
        usual = _usual_call(scene, part)
        if usual is not None:
            hours = max(hours, usual[2])
            calls += count
            cost += usual[0] * count
            squares += usual[1] * count
            observed += part.cost[place]
    if cost <= 0:
        return None
    return PerCall(Expectation("per_call", cost, calls, days=hours), observed, squares / cost)


def _usual_call(scene: Scene, part: Timeline) -> tuple[float, float, int] | None:
    """Mean and mean square of what a call cost, in nano-dollars, and of how many hours that is.

    Over the last day, or as far back within a week as it takes to know enough calls.
    """
    now, covered = scene.minute // HOUR_MINUTES, scene.timeline.tainted

    def make() -> tuple[float, float, int] | None:
        cost, squares, calls, hours = 0.0, 0.0, 0.0, 0
        for hour in range(now - 2, now - 2 - WEEK_HOURS, -1):
            if hour < now - 1 - DAY_HOURS and calls >= USUAL_CALLS:
                break
            if (covered.get(hour, 0) | part.tainted.get(hour, 0)) & Taint.COST:
                continue
            known = part.hour(hour)
            if known.calls:
                cost, squares, calls, hours = cost + known.cost, squares + known.squares, calls + known.calls, hours + 1
        return (cost / calls, squares * 1e6 / calls, hours) if calls >= USUAL_CALLS else None

    # The key's own past says which hours were covered, so it is remembered there.
    found: tuple[float, float, int] | None = scene.remember(f"call {part.key}", make)
    return found


def surprise(observed: float, expected: float, payment: float) -> float:
    """How surprising a cost is, on the scale of standard deviations; see `chance.poisson`."""
    return poisson(observed, expected, payment)
