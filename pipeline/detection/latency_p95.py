"""`latency.p95`: the slowest twentieth of calls takes twice as long as usual, for a quarter of an hour.

Judged at the end of every five minutes for provider x model, where a slow provider shows first, and for tenant x
feature, where it would only be repeated: the engine keeps a feature back while a provider that it uses explains it.
Pure: see `rule`.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from pipeline.detection import likeforlike
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Taint
from pipeline.detection.scene import Scene
from pipeline.windows import sketch
from pipeline.windows.timeline import BLOCK_MINUTES
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span, SuggestedControl

P95: Final = 0.95


class LatencyP95(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: p95 over its baseline, at least.
        clear: An open finding is over below this ratio.
        minutes: For how long, in multiples of 15. With few calls a longer stretch shows what a short one cannot, so
            several are tried. The whole stretch and each third of it that has calls must be slow.
        least_calls: Calls in that stretch, at least.
        least_slow: Calls in it beyond the bound, at least: one slow call is no slow provider.
        least_excess_ms: Slower by so much, at least.
        baseline_hours: How many past hours are a baseline.
        hour_calls: Calls that make one hour's p95 worth something by itself.
        baseline_calls: Calls in all baseline hours, at least.
    """

    rule = "latency.p95"
    tier = 1
    taint: ClassVar[int] = Taint.LATENCY

    clear_minutes: NotNegative = 15.0
    ratio: Ratio = 2.0
    clear: Ratio = 1.5
    minutes: Annotated[tuple[int, ...], Meta(min_length=1)] = (15, 30, 60)
    least_calls: Count = 15
    least_slow: Count = 3
    least_excess_ms: NotNegative = 100.0
    baseline_hours: Annotated[int, Meta(ge=1, le=24)] = 24
    hour_calls: Count = 30
    baseline_calls: Count = 60

    def __post_init__(self) -> None:
        if any(length <= 0 or length % 15 for length in self.minutes):
            raise ValueError("minutes must be multiples of 15")

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the minutes that end with the scene's, which must be the last of a block of five; see `KeyRecipe`."""
        newest = scene.blocks(BLOCK_MINUTES).latency
        if not firing and not newest:
            return None
        baseline = memory.get("p95") if firing else scene.remember("usual p95", lambda: self.baseline(scene))
        if baseline is None:
            return None
        if not firing and self._p95(newest) < baseline * self.ratio and self._quiet(scene, baseline):
            return None
        longest = self.minutes[-1]
        for length in self.minutes:
            parts = self._thirds(scene, length)
            calls = sum(sum(part.values()) for part in parts)
            if calls >= self.least_calls or (firing and length == longest):
                found = self._judge(scene, length, parts, calls, baseline, firing)
                if found is not None or firing:
                    return found
        return None

    def _quiet(self, scene: Scene, baseline: float) -> bool:
        """Whether nothing was slow in the newest third of the longest stretch: almost always all that is looked at."""
        return not sketch.above(scene.blocks(self.minutes[-1] // 3).latency, baseline * self.ratio)

    @staticmethod
    def _thirds(scene: Scene, length: int) -> list[sketch.Sketch]:
        each, last = length // 3 // BLOCK_MINUTES, scene.minute // BLOCK_MINUTES + 1
        return [scene.timeline.blocks_total(last - back * each, each).latency for back in (3, 2, 1)]

    def _judge(
        self,
        scene: Scene,
        length: int,
        parts: list[sketch.Sketch],
        calls: int,
        baseline: float,
        firing: bool,
    ) -> Finding | None:
        bound = baseline * (self.clear if firing else self.ratio)
        # Each third must be slow by itself, one without calls says nothing; but the newest and the oldest must speak.
        if not firing and (
            self._p95(parts[2]) < bound or self._p95(parts[0]) < bound or (parts[1] and self._p95(parts[1]) < bound)
        ):
            return None
        total: sketch.Sketch = {}
        for part in parts:
            sketch.merge(total, part)
        p95 = self._p95(total)
        if not calls or p95 < bound:
            return None
        if not firing:
            if sketch.above(total, bound) < self.least_slow or p95 - baseline < self.least_excess_ms:
                return None
            # Other calls than usual are no slower calls.
            share = likeforlike.slow_share(scene, length, self.ratio)
            if share is not None and share < 1 - P95:
                return None
        return self._finding(scene, length, calls, p95, baseline, total)

    @staticmethod
    def _p95(latencies: sketch.Sketch) -> float:
        return sketch.quantile(latencies, P95) or 0.0

    def baseline(self, scene: Scene) -> float | None:
        """p95 to be expected, in ms: the median of the past hours' p95, or of all their calls where hours are thin.

        The present hour, the one before it, which the window may touch, and hours that a finding covered do not count.
        None while fewer than `baseline_calls` calls are known.
        """
        timeline = scene.timeline
        last = scene.minute // HOUR_MINUTES - 1
        hours = [
            hour
            for hour in range(last - self.baseline_hours, last)
            if not timeline.tainted.get(hour, 0) & Taint.LATENCY
        ]
        known = [timeline.hour(hour) for hour in hours]
        if sum(one.calls for one in known) < self.baseline_calls:
            return None
        each = [one.p95_ms for one in known if not math.isnan(one.p95_ms) and one.calls >= self.hour_calls]
        if len(each) >= 3:
            return median(each)
        total: sketch.Sketch = {}
        for hour, one in zip(hours, known, strict=True):
            if one.calls:
                sketch.merge(total, timeline.hour_total(hour).latency)
        return sketch.quantile(total, P95)

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        last = scene.minute // HOUR_MINUTES - 1
        calls = sum(scene.timeline.hour(hour).calls for hour in range(last - self.baseline_hours, last))
        few = f"{calls:,.0f} of {self.baseline_calls} calls" if calls < self.baseline_calls else ""
        return super().lacks(scene) or few

    def _finding(
        self, scene: Scene, length: int, calls: int, p95: float, baseline: float, total: sketch.Sketch
    ) -> Finding:
        ratio = p95 / baseline
        severity: Severity = "SEV1" if ratio >= 4 else "SEV2"
        first = scene.minute - length + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(p95, 1),
            baseline=round(baseline, 1),
            threshold=round(baseline * self.ratio, 1),
            unit="ms",
            severity=severity,
            why=(
                f"{scene.who}: the p95 latency of {calls} calls was {p95 / 1000:.1f} s for {length} minutes, "
                f"{ratio:.1f} times the usual {baseline / 1000:.1f} s."
            ),
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.slowest(first, length),
            details={"calls": calls, "p50_ms": round(sketch.quantile(total, 0.5) or 0.0, 1)},
            memory={"p95": baseline},
            suggested_control=SuggestedControl("switch", scene.names, "route to another model until it is fast again"),
        )
