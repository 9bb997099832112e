"""`cost.daily`: a tenant's day has already cost more than twice what days have cost over the trailing week.

It finds what is spread over a whole day and so stands out in no hour of it. What a weekday usually costs is taken into
account where several of them are known, and a feature that is new may cost as much again as all others. Told once a
day, when the bound is crossed. Pure: see `rule`.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any, ClassVar, Final, NamedTuple

from pipeline.detection import calendar
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_HOURS, DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span, SuggestedControl

NANO: Final = 1_000_000_000
WEEK: Final = 7
# Days scatter by at least this part, however alike the few were that are known.
_LEAST_SCATTER: Final = 0.15


class CostDaily(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: Today's cost over the trailing week's mean, at least.
        alike_ratio: And over that of days like today, at least: of the same weekday where two are known.
        deviations: And beyond those by so many of their standard deviations.
        least_excess_usd: And by so much.
        least_calls: Calls of today, at least.
        new_features: What features of less than a week may add, in usual days.
    """

    rule = "cost.daily"
    tier = 1
    taint: ClassVar[int] = Taint.NONE

    # Seven whole days, and the one that it began in.
    warm_up_hours: NotNegative = 192.0
    ratio: Ratio = 2.0
    alike_ratio: Ratio = 1.6
    deviations: NotNegative = 3.0
    least_excess_usd: NotNegative = 0.25
    least_calls: Count = 20
    new_features: NotNegative = 1.0

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the day so far; see `KeyRecipe`."""
        day = scene.minute // DAY_MINUTES
        if firing and memory["day"] != day:
            return None
        if not firing and scene.timeline.cost[-1] <= 0:
            return None
        calls, cost = _today(scene.timeline, scene.minute)
        if firing:
            return self._finding(scene, day, calls, cost, memory["usual"])
        if calls < self.least_calls or cost < self.least_excess_usd * NANO:
            return None
        usual = scene.remember(f"days {day}", lambda: usual_day(scene.timeline, day))
        if usual is None:
            return None
        bound = max(
            self.ratio * usual.week,
            self.alike_ratio * usual.alike,
            usual.alike + self.deviations * usual.deviation,
            max(usual.week, usual.alike) + self.least_excess_usd * NANO,
        )
        if cost < bound:
            return None
        new = sum(_today(one, scene.minute)[1] for one in scene.parts("feature") if _is_new(one, scene.minute))
        if cost - min(new, self.new_features * usual.week) < bound:
            return None
        return self._finding(scene, day, calls, cost, usual.week)

    def _finding(self, scene: Scene, day: int, calls: float, cost: float, usual: float) -> Finding:
        return Finding(
            window=Span(day * DAY_MINUTES * MINUTE_MS, scene.end_ms),
            observed=cost / NANO,
            baseline=usual / NANO,
            threshold=self.ratio * usual / NANO,
            unit="usd",
            severity="SEV1" if cost >= 4 * usual else "SEV2",
            why=f"{scene.who} has cost ${cost / NANO:,.2f} today (UTC) already, {cost / usual:.1f} times the "
            f"${usual / NANO:,.2f} that a day of the trailing week cost.",
            began_at=day * DAY_MINUTES * MINUTE_MS,
            evidence=scene.timeline.dearest(scene.minute - 2 * HOUR_MINUTES + 1, 2 * HOUR_MINUTES),
            details={"calls": round(calls)},
            memory={"day": day, "usual": usual},
            suggested_control=SuggestedControl("switch", scene.names, f"{cost / usual:.1f} times a usual day"),
        )

    def explain(self, scene: Scene, finding: Finding) -> dict[str, Any]:
        """The features with the largest part in the day's cost."""
        parts = sorted((-_today(one, scene.minute)[1], one.key[2]) for one in scene.parts("feature"))
        return {"features_usd": {name: round(-cost / NANO, 6) for cost, name in parts[:5] if cost}}


def _today(timeline: Timeline, minute: int) -> tuple[float, float]:
    """(calls, nano-dollars) of the day so far."""
    known = timeline.day(minute // DAY_MINUTES)
    return known.calls, known.cost


def _is_new(timeline: Timeline, minute: int) -> bool:
    first = timeline.book.first()
    return first is None or minute // HOUR_MINUTES - first < WEEK * DAY_HOURS


class Usual(NamedTuple):
    """What days have cost, in nano-dollars: the trailing week's mean, days like today, and their standard deviation."""

    week: float
    alike: float
    deviation: float


def usual_day(timeline: Timeline, day: int) -> Usual | None:
    """What is usual before a day; None before seven whole days are known.

    Days like today are those of its weekday, scaled to the present week, where two are known, else working days or
    weekends. A day that a finding covered counts for no more than the median of the others.
    """
    first = timeline.book.first()
    if first is None or day - WEEK <= first // DAY_HOURS:
        return None
    costs = {one: timeline.day(one).cost for one in range(max(day - 28, first // DAY_HOURS + 1), day)}
    covered = {hour // DAY_HOURS for hour, kind in timeline.tainted.items() if kind & Taint.COST}
    clean = [cost for one, cost in costs.items() if one not in covered]
    if clean:
        most = median(clean)
        costs = {one: min(cost, most) if one in covered else cost for one, cost in costs.items()}
    week = _mean([costs[one] for one in range(day - WEEK, day)])
    if week <= 0:
        return None
    # Each weekday against the week that led to it, as today.
    alike = [
        costs[one] * week / before
        for one in calendar.same_weekday(day, list(costs))
        if one - WEEK in costs and (before := _mean([costs[at] for at in range(one - WEEK, one)])) > 0
    ]
    if len(alike) < 2:
        alike = [costs[one] for one in calendar.same_kind(day, range(day - WEEK, day))]
    around = _mean(alike)
    spread = math.sqrt(sum((cost - around) ** 2 for cost in alike) / (len(alike) - 1)) if len(alike) > 1 else 0.0
    return Usual(week, around, max(spread, _LEAST_SCATTER * around))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
