"""`run.latency`: runs of a feature take twice as long as usual, from their first call to their last."""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection import chance
from pipeline.detection.rule import (
    UNDECIDED,
    Count,
    Finding,
    Memory,
    NotNegative,
    Ratio,
    Share,
    Taint,
    Undecided,
)
from pipeline.detection.scene import Scene
from pipeline.detection.windowed import WindowedRecipe, in_words, window_of_open
from pipeline.windows import sketch
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span
from schemas.partial import Bucket


class RunLatency(WindowedRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: The 90th percentile of durations over the usual one, at least.
        least_runs: Runs that ended in the window, at least.
        usual_runs: Runs that the past must hold.
        least_excess_s: Longer by so much, at least.
        surprise: Standard deviations beyond chance, at least.
        clear: An open finding is over below this part of the ratio.
    """

    rule = "run.latency"
    tier = 2
    taint: ClassVar[int] = Taint.LATENCY

    clear_minutes: NotNegative = 60.0
    rejoin_minutes: NotNegative = 240.0
    warm_up_hours: NotNegative = 24.0
    ratio: Ratio = 2.0
    least_runs: Count = 15
    usual_runs: Count = 60
    least_excess_s: NotNegative = 5.0
    surprise: NotNegative = 4.5
    clear: Share = 0.7

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge the windows that end with the scene's minute; see `KeyRecipe`."""
        if firing:
            runs = _runs(window_of_open(scene, memory["hours"]))
            if sum(runs.values()) < 5:
                return UNDECIDED
            still = (sketch.quantile(runs, 0.9) or 0.0) >= self.clear * self.ratio * memory["usual"]
            return self._finding(scene, memory["hours"], runs, memory["usual"]) if still else None
        for hours, bucket in self.windows(scene):
            runs = _runs(bucket)
            if sum(runs.values()) < self.least_runs:
                continue
            known = _runs(scene.reference(hours, self.taint).total)
            usual = sketch.quantile(known, 0.9)
            if usual is None or sum(known.values()) < self.usual_runs:
                continue
            now = sketch.quantile(runs, 0.9) or 0.0
            if now < self.ratio * usual or now - usual < self.least_excess_s * 1_000:
                continue
            total, longer = sum(runs.values()), sketch.above(runs, usual)
            before = sketch.above(known, usual)
            if chance.rise(longer, total, before, sum(known.values()), 1.5) >= self.surprise:
                return self._finding(scene, hours, runs, usual)
        return None

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            runs = sum(_runs(scene.reference(self.hours[0], self.taint).total).values())
            known = f"{runs:,} of {self.usual_runs:,} runs" if runs < self.usual_runs else ""
        return known

    def _finding(self, scene: Scene, hours: int, runs: sketch.Sketch, usual: float) -> Finding:
        now, count = sketch.quantile(runs, 0.9) or 0.0, sum(runs.values())
        first = scene.minute - hours * HOUR_MINUTES + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(now, 1),
            baseline=round(usual, 1),
            threshold=round(self.ratio * usual, 1),
            unit="ms",
            severity="SEV3",
            why=f"{scene.who}: a tenth of {count:,} runs that ended within {in_words(hours)} "
            f"took longer than {now / 1_000:,.0f} s, {now / usual:.1f} times the usual {usual / 1_000:,.0f} s.",
            began_at=first * MINUTE_MS,
            details={"hours": hours, "runs": count, "p50_ms": round(sketch.quantile(runs, 0.5) or 0.0, 1)},
            memory={"hours": hours, "usual": usual},
        )


def _runs(bucket: Bucket) -> sketch.Sketch:
    return bucket.quality.runs if bucket.quality is not None else {}
