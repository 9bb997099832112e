"""`cost.spike`: a tenant or a feature costs about twice what it should, within the hour.

An estimate of a doubling scatters around two, so the bound is set a little lower, and the excess must stand out of the
noise that this very key has shown (`surprise`), and be worth something. Several window lengths are tried: short ones
see a steep rise early, the hour sees a doubling. Pure: see `rule`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import msgspec

from pipeline.detection.baseline import Expectation, Past, per_call, surprise
from pipeline.detection.parts import in_payments
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Positive, Ratio, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.ring import LENGTHS
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span, SuggestedControl

NANO: Final = 1_000_000_000
# Costs of the calls of one run resemble one another: so many calls are one independent payment.
CORRELATED: Final = 2.0
# So long may one burst of calls be.
BURST_MINUTES: Final = 5


class Bound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a window of one length is too expensive.

    Attributes:
        minutes: Length; one of `ring.LENGTHS`.
        ratio: Observed over expected, at least.
        surprise: `baseline.surprise` against the highest cost that the expectation allows, at least.
    """

    minutes: int
    ratio: Ratio
    surprise: NotNegative

    def __post_init__(self) -> None:
        if self.minutes not in LENGTHS:
            raise ValueError(f"minutes is {self.minutes}; it must be one of {', '.join(map(str, LENGTHS))}")


class CostSpike(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        same_hour: Bounds against the same time of the week.
        per_call: Bound against the usual cost of these calls.
        busiest_hour: Bound against the busiest hour, for keys that are known for a day and too thin for `same_hour`.
        clear: An open finding is over when the last hour, and the last two, are below this ratio; shorter windows
            scatter too much.
        known_hours: Whole hours with calls that must be known for `per_call` and `busiest_hour`.
        least_calls: Calls in the window, at least.
        least_excess_usd: Excess over the expectation, at least.
        least_expected_calls: Calls an hour that the same time of earlier days must promise to be a baseline.
        least_window_calls: Calls in the window that it must promise.
        spread_ratio: Payments over expected payments, at least, where a rise is found in the parts together.
        scatters: How many times as far from the expectation as days of this key are from each other, at least.
        new_features: What features of less than three days may cost, in times the expectation of all others.
        model_error: Relative error of the expectation itself, however many days it stands on.
        day_error: Relative error that a single day adds, because no two days are alike; shared by the days there are.
    """

    rule = "cost.spike"
    tier = 1
    every: ClassVar[int] = 1
    taint: ClassVar[int] = Taint.COST
    at_once: ClassVar[bool] = True

    same_hour: tuple[Bound, ...] = (
        Bound(120, 1.75, 3.0),
        Bound(60, 1.75, 3.0),
        Bound(20, 2.0, 3.4),
        Bound(5, 3.0, 5.5),
    )
    per_call: Bound = Bound(60, 1.75, 3.5)
    busiest_hour: Bound = Bound(60, 2.5, 5.0)
    clear: Ratio = 1.4
    known_hours: Count = 3
    least_calls: Count = 10
    least_excess_usd: NotNegative = 0.1
    least_expected_calls: NotNegative = 6.0
    least_window_calls: NotNegative = 5.0
    spread_ratio: Positive = 1.5
    scatters: NotNegative = 2.3
    new_features: NotNegative = 2.0
    model_error: NotNegative = 0.15
    day_error: NotNegative = 0.15

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the windows that end with `scene.minute`.

        Args:
            scene: Key and time.
            firing: Whether a finding of this key is open.
            memory: What the open finding froze: its kind of baseline and what it stood on.

        Returns:
            The finding, or None; None also during the warm-up (docs/decisions/0005-baselines.md).
        """
        timeline = scene.timeline
        past = Past(scene)
        if firing:
            return self._still(scene, past, memory)
        if past.is_launch():
            return None
        # The longest window holds the others: what is not in it is in none.
        if timeline.calls[-1] < self.least_calls or timeline.cost[-1] < self.least_excess_usd * NANO:
            return None
        found = self._by_habit(scene, past)
        if found is not None:
            return found
        if not scene.thorough:
            return None
        calls, cost = timeline.calls[_HOUR], timeline.cost[_HOUR]
        if calls < self.least_calls or cost < self.least_excess_usd * NANO:
            return None
        if past.known_hours() < self.known_hours:
            return None
        return self._by_call(scene, past) or self._by_busiest_hour(scene, past)

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = Past(scene).known_hours()
        few = f"{known} of {self.known_hours} hours with calls" if known < self.known_hours else ""
        return super().lacks(scene) or few

    def explain(self, scene: Scene, finding: Finding) -> dict[str, Any]:
        """The features with the largest part in a tenant's cost."""
        if scene.key[0] != "tenant":
            return {}
        place = LENGTHS.index(finding.details["minutes"])
        parts = []
        for other in scene.parts("feature"):
            other.seek(scene.minute)
            if other.cost[place]:
                parts.append((-other.cost[place], other.key[2]))
        return {"features_usd": {name: round(-cost / NANO, 6) for cost, name in sorted(parts)[:5]}}

    def _habit(self, past: Past, minutes: int) -> Expectation | None:
        """What the same time of the week promises; None where that is too little to be a baseline."""
        expected = past.same_hour(minutes)
        if expected is None or expected.calls < self.least_window_calls:
            return None
        return expected if expected.calls * HOUR_MINUTES / minutes >= self.least_expected_calls else None

    def _by_habit(self, scene: Scene, past: Past) -> Finding | None:
        for bound in self.same_hour:
            place = LENGTHS.index(bound.minutes)
            calls, cost = scene.timeline.calls[place], scene.timeline.cost[place]
            if calls < self.least_calls or cost < self.least_excess_usd * NANO:
                continue
            expected = self._habit(past, bound.minutes)
            if expected is None or cost < bound.ratio * expected.cost:
                continue
            expected = past.careful(expected, bound.minutes)
            # A launch is a finding only where it is beyond all proportion.
            cost -= round(min(expected.launched, self.new_features * expected.cost))
            rest = cost - scene.timeline.dearest_call(scene.minute, bound.minutes)
            if not (
                self._matters(rest, expected, bound)
                and self._is_beyond(rest, expected, past, bound)
                and self._lasts(scene, cost, expected, bound)
            ):
                continue
            payment = max(past.payment(bound.minutes), past.rise(bound.minutes))
            if self._stands_out(rest, expected, bound, payment) or self._parts_stand_out(scene, bound):
                return self._finding(scene, bound, expected, cost)
        return None

    def _is_beyond(self, cost: float, expected: Expectation, past: Past, bound: Bound) -> bool:
        """Whether the cost is further from the expectation than days of this key are from each other."""
        scatter = past.scatter(bound.minutes) * math.sqrt(1 + 1 / expected.days)
        return math.log(cost / expected.cost) >= self.scatters * scatter

    def _lasts(self, scene: Scene, cost: float, expected: Expectation, bound: Bound) -> bool:
        """Whether the window is too dear without its dearest piece, too: one burst of calls is no hour that is dear."""
        if bound.minutes <= BURST_MINUTES:
            return True
        by_minute = scene.timeline.cost_by_minute(scene.minute - bound.minutes + 1, bound.minutes)
        dearest = max(sum(by_minute[at : at + BURST_MINUTES]) for at in range(0, bound.minutes, BURST_MINUTES))
        return cost - dearest >= self.clear * expected.cost * (1 - BURST_MINUTES / bound.minutes)

    def _parts_stand_out(self, scene: Scene, bound: Bound) -> bool:
        """Whether the parts together stand out, and have risen without the one that rose most, too.

        A single part knows nothing of its noise that the whole does not know better.
        """
        parts = in_payments(scene, bound.minutes)
        if not parts.rest_due or parts.rest_made < self.clear * parts.rest_due:
            return False
        if parts.made < self.spread_ratio * parts.due:
            return False
        return self._stands_out(parts.made, Expectation("same_hour", parts.due, 0.0, parts.days), bound, 1.0)

    def _by_call(self, scene: Scene, past: Past) -> Finding | None:
        usual = per_call(scene, HOUR_MINUTES)
        if usual is None:
            return None
        if not self._exceeds(scene, usual.observed, usual.expected, self.per_call, CORRELATED * usual.payment):
            return None
        habit = self._habit(past, HOUR_MINUTES)
        if habit is not None and scene.timeline.cost[_HOUR] < self.clear * habit.cost:
            # Dearer calls, but fewer of them: nothing has become more expensive.
            return None
        return self._finding(scene, self.per_call, usual.expected, usual.observed)

    def _by_busiest_hour(self, scene: Scene, past: Past) -> Finding | None:
        if not past.known_for_a_day() or past.was_weekend() or self._habit(past, HOUR_MINUTES) is not None:
            return None
        busiest, cost = past.busiest_hour(HOUR_MINUTES), scene.timeline.cost[_HOUR]
        if busiest is None or not self._exceeds(scene, cost, busiest, self.busiest_hour, past.payment(HOUR_MINUTES)):
            return None
        return self._finding(scene, self.busiest_hour, busiest, cost)

    def _exceeds(self, scene: Scene, cost: int, expected: Expectation, bound: Bound, payment: float) -> bool:
        if not self._matters(cost, expected, bound) or not self._lasts(scene, cost, expected, bound):
            return False
        # One call may be as dear as an hour; that is another finding than an hour that is dear.
        cost -= scene.timeline.dearest_call(scene.minute, bound.minutes)
        return self._matters(cost, expected, bound) and self._stands_out(cost, expected, bound, payment)

    def _matters(self, cost: int, expected: Expectation, bound: Bound) -> bool:
        """Whether the cost is above the bound, by enough money."""
        return 0 < bound.ratio * expected.cost <= cost and cost - expected.cost >= self.least_excess_usd * NANO

    def _stands_out(self, cost: float, expected: Expectation, bound: Bound, payment: float) -> bool:
        """Whether the cost is above the noise: days differ, and each was itself one draw."""
        error = self.model_error + self.day_error / expected.days
        highest = expected.cost * (1 + error) + 1.5 * math.sqrt(payment * expected.cost / expected.days)
        return surprise(cost, highest, payment) >= bound.surprise

    def _still(self, scene: Scene, past: Past, memory: Memory) -> Finding | None:
        """The last hours against what the open finding stood on; None when it is clear."""
        cost = scene.timeline.cost[_HOUR]
        if "level" in memory:
            # A longer window than the one that found it remembers the spike itself: only what would be a finding there
            # holds it open.
            longest = max(HOUR_MINUTES, memory.get("minutes", 0))
            for bound in self.same_hour:
                if bound.minutes >= HOUR_MINUTES:
                    habit = past.same_hour(bound.minutes)
                    expected = habit and past.careful(habit, bound.minutes, memory["level"])
                    cost = scene.timeline.cost[LENGTHS.index(bound.minutes)]
                    least = self.clear if bound.minutes <= longest else bound.ratio
                    if expected is not None and 0 < least * expected.cost <= cost:
                        return self._finding(scene, bound, expected, cost)
            return None
        if "busiest_cost" in memory:
            bound = self.busiest_hour
            expected = Expectation("busiest_hour", memory["busiest_cost"], memory["busiest_calls"])
        else:
            # Hours that the finding covers do not count, so the usual cost of a call is the one before it.
            usual = per_call(scene, HOUR_MINUTES)
            if usual is None:
                return None
            bound, expected, cost = self.per_call, usual.expected, usual.observed
        return self._finding(scene, bound, expected, cost) if cost >= self.clear * expected.cost else None

    def _finding(self, scene: Scene, bound: Bound, expected: Expectation, cost: int) -> Finding:
        timeline, end = scene.timeline, scene.minute + 1
        calls = timeline.calls[LENGTHS.index(bound.minutes)]
        ratio = cost / expected.cost
        calls_ratio = calls / expected.calls if expected.calls else 0.0
        each_ratio = ratio / calls_ratio if calls_ratio else 0.0
        severity: Severity = "SEV1" if ratio >= 4 else "SEV2"
        names = scene.names
        return Finding(
            window=Span((end - bound.minutes) * MINUTE_MS, end * MINUTE_MS),
            observed=cost / NANO,
            baseline=expected.cost / NANO,
            threshold=bound.ratio * expected.cost / NANO,
            unit="usd",
            severity=severity,
            why=_why(names, bound, expected, cost, calls_ratio, each_ratio),
            began_at=_onset(timeline, scene.minute, bound.minutes, expected, ratio) * MINUTE_MS,
            evidence=timeline.dearest(end - bound.minutes, bound.minutes),
            details={
                "minutes": bound.minutes,
                "baseline": expected.kind,
                "baseline_windows": expected.days,
                "calls": calls,
                "calls_expected": round(expected.calls, 1),
                "calls_ratio": round(calls_ratio, 2),
                "cost_per_call_ratio": round(each_ratio, 2),
            },
            memory=_frozen(expected, bound.minutes),
            suggested_control=SuggestedControl("switch", names, f"{ratio:.1f} times the expected cost"),
        )


_HOUR: Final = LENGTHS.index(HOUR_MINUTES)


def _frozen(expected: Expectation, minutes: int) -> dict[str, float]:
    if expected.kind == "same_hour":
        return {"level": expected.level, "minutes": minutes}
    if expected.kind == "busiest_hour":
        return {"busiest_cost": expected.cost, "busiest_calls": expected.calls}
    return {}


def _onset(timeline: Timeline, minute: int, length: int, expected: Expectation, ratio: float) -> int:
    """The minute in which the cost most likely rose: where its cumulated difference to a level between is lowest.

    (r - 1) / ln r is the level at which a minute speaks neither for the old nor for the new rate of a Poisson process.
    """
    each = expected.cost / length * ((ratio - 1) / math.log(ratio) if ratio > 1 else 1.0)
    total, lowest, onset = 0.0, 0.0, minute - length + 1
    for now, cost in enumerate(timeline.cost_by_minute(minute - length + 1, length), minute - length + 1):
        total += cost - each
        if total < lowest:
            lowest, onset = total, now + 1
    return min(onset, minute)


_AGAINST: Final = {
    "per_call": "these calls usually cost",
    "busiest_hour": "of the last day's busiest hour",
}


def _why(
    names: dict[str, str], bound: Bound, expected: Expectation, cost: int, calls_ratio: float, each_ratio: float
) -> str:
    who = " ".join(f"{name} {value}" for name, value in names.items())
    days = f"{expected.days} earlier days" if expected.days > 1 else "an earlier day"
    against = _AGAINST.get(expected.kind, f"expected from the same time of {days}")
    return (
        f"{who} cost ${cost / NANO:,.2f} in {bound.minutes} minutes, {cost / expected.cost:.1f} times the "
        f"${expected.cost / NANO:,.2f} {against}: {calls_ratio:.1f} times the calls at {each_ratio:.1f} times the cost "
        "of a call."
    )
