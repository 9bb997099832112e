"""`user.cost`: one user costs out of all proportion, to what the user used to or to what the tenant's others do.

One person's use comes in bursts and has no habit of the day, so an hour must be far beyond every earlier one; or the
last day's cost is far above nearly all other users' and a good part of the tenant's. Pure: see `rule`.
"""

from __future__ import annotations

from statistics import median
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from pipeline.detection import chance
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_HOURS, HOUR_MINUTES, MINUTE_MS, WEEK_HOURS
from schemas.anomaly import Span, SuggestedControl

NANO: Final = 1_000_000_000
# Calls of one run resemble one another and come together: so many are one independent payment.
CLUSTER: Final = 8.0


class UserCost(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: Cost of the last hour over the busiest hour of the past week, at least.
        surprise: Standard deviations of that, at least.
        least_calls: Calls of that hour, at least.
        least_excess_usd: And its excess in money.
        others_ratio: Cost of the last day over what 19 of 20 other users stay below, at least.
        others: Other users that must be known to have cost something in that day.
        share: And the user's part of what the tenant cost in that day.
        least_day_usd: And in money.
        own_ratio: And over the user's own usual day, where one is known.
        clear: An open finding is over below this part of its bound.
    """

    rule = "user.cost"
    tier = 2
    taint: ClassVar[int] = Taint.COST

    clear_minutes: NotNegative = 30.0
    rejoin_minutes: NotNegative = 120.0
    ratio: Ratio = 4.0
    surprise: NotNegative = 6.0
    least_calls: Count = 30
    least_excess_usd: NotNegative = 1.0
    others_ratio: Ratio = 8.0
    others: Annotated[int, Meta(ge=5)] = 20
    share: Share = 0.2
    least_day_usd: NotNegative = 2.0
    own_ratio: Ratio = 2.0
    clear: Share = 0.5

    def lacks(self, scene: Scene) -> str:
        """Enough of the user, or enough others to compare with."""
        known = len(self._hours(scene))
        if known < DAY_HOURS // 4 and len(scene.store.below(scene.tenant, "user")) <= self.others:
            return f"{known} of {DAY_HOURS // 4} hours with calls, or {self.others} other users"
        return ""

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last hour, and at its end the last day; see `KeyRecipe`."""
        if firing and memory["against"] == "others":
            # What a day cost changes by the hour.
            cost = _cost(scene.timeline, scene.minute // HOUR_MINUTES, DAY_HOURS)
            if cost < self.clear * memory["bound"]:
                return None
            return self._against_others(scene, cost, memory["usual"], memory["bound"])
        if firing:
            cost = scene.cost(HOUR_MINUTES)
            return self._against_own(scene, cost, memory["usual"]) if cost >= self.clear * memory["bound"] else None
        return self._own(scene) or self._others(scene)

    def _hours(self, scene: Scene) -> list[float]:
        """Costs of the past week's hours that had calls, without those of the window and of findings."""
        now, timeline = scene.minute // HOUR_MINUTES, scene.timeline
        hours = (hour for hour in range(now - WEEK_HOURS, now - 1) if not timeline.tainted.get(hour, 0) & self.taint)
        return [known.cost for hour in hours if (known := timeline.hour(hour)).calls]

    def _own(self, scene: Scene) -> Finding | None:
        calls, cost = scene.calls(HOUR_MINUTES), scene.cost(HOUR_MINUTES)
        if calls < self.least_calls or cost < self.least_excess_usd * NANO:
            return None
        known = scene.remember("hours", lambda: self._hours(scene))
        if len(known) < DAY_HOURS // 4:
            return None
        busiest = max(known)
        # One call may be as dear as an hour; that is another finding.
        rest = cost - scene.timeline.dearest_call(scene.minute, HOUR_MINUTES)
        if not 0 < self.ratio * busiest <= rest or rest - busiest < self.least_excess_usd * NANO:
            return None
        if chance.poisson(rest, busiest, CLUSTER * cost / calls) < self.surprise:
            return None
        return self._against_own(scene, cost, busiest)

    def _others(self, scene: Scene) -> Finding | None:
        if (scene.minute + 1) % HOUR_MINUTES:
            return None
        hour = scene.minute // HOUR_MINUTES
        cost = _cost(scene.timeline, hour, DAY_HOURS)
        if cost < self.least_day_usd * NANO:
            return None
        tenant = scene.store.timelines.get(("tenant", scene.tenant))
        if tenant is None or cost < self.share * _cost(tenant, hour, DAY_HOURS):
            return None
        around = Scene(scene.store, tenant, scene.minute)
        known: list[float] = around.memo("users", lambda: _costs_of_users(scene, hour))
        others = len(known) - 1
        if others < self.others:
            return None
        # Among the others: this user is mostly the highest of them.
        highest = known[int(0.95 * (others - 1))]
        if not 0 < self.others_ratio * highest <= cost:
            return None
        days = [earlier for back in range(1, 8) if (earlier := _cost(scene.timeline, hour - 24 * back, DAY_HOURS))]
        if len(days) >= 3 and cost < self.own_ratio * median(days):
            return None
        return self._against_others(scene, cost, highest, self.others_ratio * highest)

    def _against_own(self, scene: Scene, cost: float, busiest: float) -> Finding:
        first = scene.minute - HOUR_MINUTES + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=cost / NANO,
            baseline=busiest / NANO,
            threshold=self.ratio * busiest / NANO,
            unit="usd",
            severity="SEV2",
            why=f"{scene.who} cost ${cost / NANO:,.2f} in an hour, {cost / busiest:.1f} times the "
            f"${busiest / NANO:,.2f} of the busiest hour of the past week.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.dearest(first, HOUR_MINUTES),
            details={"against": "own"},
            memory={"against": "own", "usual": busiest, "bound": self.ratio * busiest},
            suggested_control=SuggestedControl("switch", scene.names, f"{cost / busiest:.1f} times the busiest hour"),
        )

    def _against_others(self, scene: Scene, cost: float, highest: float, bound: float) -> Finding:
        first = (scene.minute // HOUR_MINUTES - DAY_HOURS + 1) * HOUR_MINUTES
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=cost / NANO,
            baseline=highest / NANO,
            threshold=bound / NANO,
            unit="usd",
            severity="SEV3",
            why=f"{scene.who} cost ${cost / NANO:,.2f} within a day; 19 of 20 other users stay below "
            f"${highest / NANO:,.2f}.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.dearest(first, DAY_HOURS * HOUR_MINUTES),
            details={"against": "others"},
            memory={"against": "others", "usual": highest, "bound": bound},
            suggested_control=SuggestedControl("switch", scene.names, f"{cost / highest:.1f} times other users"),
        )


def _cost(timeline: Timeline, hour: int, hours: int) -> float:
    """Nano-dollars of so many hours that end with an hour."""
    return sum(timeline.hour(at).cost for at in range(hour - hours + 1, hour + 1))


def _costs_of_users(scene: Scene, hour: int) -> list[float]:
    """What each of the tenant's users cost in the last day, lowest first, without those who cost nothing."""
    users = scene.store.below(scene.tenant, "user")
    return sorted(cost for one in users if (cost := _cost(one, hour, DAY_HOURS)))
