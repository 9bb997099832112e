"""`call.outlier`: one call of a feature costs out of all proportion to those that the feature usually makes.

The dearest call of the last minutes against the dearest calls of the past week's hours, of which the highest does not
count, so that one outlier does not hide the next. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span

NANO: Final = 1_000_000_000
MINUTES: Final = 15
USUAL_HOURS: Final = 7 * 24


class CallOutlier(KeyRecipe, frozen=True, kw_only=True):
    """The recipe. Outliers within an hour are one finding.

    Attributes:
        ratio: Cost of the call over the second highest of the past week's hours, at least.
        mean_ratio: And over the mean cost of a call.
        least_usd: And in money.
    """

    rule = "call.outlier"
    tier = 2
    taint: ClassVar[int] = Taint.NONE

    pause_minutes: NotNegative = 15.0
    clear_minutes: NotNegative = 15.0
    rejoin_minutes: NotNegative = 60.0
    warm_up_hours: NotNegative = 24.0
    warm_up_calls: Count = 200
    ratio: Ratio = 5.0
    mean_ratio: Ratio = 25.0
    least_usd: NotNegative = 0.5

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the dearest call of the last quarter of an hour; see `KeyRecipe`."""
        most = scene.timeline.dearest_call(scene.minute, MINUTES)
        if most < self.least_usd * NANO:
            return None
        highest, mean = scene.remember("dearest", lambda: _usual(scene))
        if firing:
            highest, mean = memory["highest"], memory["mean"]
        if highest <= 0 or most < max(self.ratio * highest, self.mean_ratio * mean):
            return None
        first = scene.minute - MINUTES + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=most / NANO,
            baseline=highest / NANO,
            threshold=max(self.ratio * highest, self.mean_ratio * mean) / NANO,
            unit="usd",
            severity="SEV3",
            why=f"{scene.who}: one call cost ${most / NANO:,.2f}, {most / mean:,.0f} times the ${mean / NANO:,.4f} of "
            f"a usual call and {most / highest:,.1f} times the ${highest / NANO:,.4f} of the dearest of the past week.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.dearest(first, MINUTES, 1),
            details={"mean_usd": round(mean / NANO, 9)},
            memory={"highest": highest, "mean": mean},
        )


def _usual(scene: Scene) -> tuple[float, float]:
    """(second highest of the past week's dearest calls by hour, mean cost of a call), in nano-dollars.

    The two hours before the present one do not count: they may hold the same outliers.
    """
    now = scene.minute // HOUR_MINUTES
    hours = [known for hour in range(now - USUAL_HOURS, now - 1) if (known := scene.timeline.hour(hour)).calls]
    calls, dearest = sum(known.calls for known in hours), sorted(known.dearest for known in hours)
    if len(dearest) < 2 or not calls:
        return 0.0, 0.0
    highest = dearest[-2]
    # The dearest call of all is no usual one.
    cost = sum(known.cost for known in hours) - max(0.0, dearest[-1] - highest)
    return highest, cost / calls
