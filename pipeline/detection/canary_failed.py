"""`canary.failed`: calls that are made to see whether everything works fail, or have stopped coming.

A canary is an event of kind `canary`: somebody makes the same call again and again, so that a failure is found before
people find it. One failure may be chance; several in a row are not, and neither is silence. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows import bucket as buckets
from pipeline.windows.watermark import DAY_HOURS, HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span


class CanaryFailed(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        minutes: How far to look back, at most an hour.
        least_failed: Failed canaries in that time, at least.
        share: Share of the canaries of that time that failed, at least.
        missed: So many canaries in a row must be missing for their silence to be a finding; 0: it never is.
    """

    rule = "canary.failed"
    tier = 1
    taint: ClassVar[int] = Taint.NONE
    of_silence: ClassVar[bool] = True

    clear_minutes: NotNegative = 10.0
    minutes: Count = 30
    least_failed: Count = 2
    share: Share = 0.5
    missed: Count = 4

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last minutes, and the time since the last canary; see `KeyRecipe`."""
        total = scene.blocks(max(5, min(self.minutes, HOUR_MINUTES)))
        failed = sum(total.errors.values())
        if total.calls and failed >= self.least_failed and failed >= self.share * total.calls:
            return self._finding(scene, total.calls, failed, buckets.failed(total.errors))
        if total.calls:
            return None
        return self._silent(scene) if self.missed else None

    def _silent(self, scene: Scene) -> Finding | None:
        """No canary for longer than several usually take, by the day before the last one."""
        last = scene.timeline.last_minute
        if last < 0:
            return None
        hour = last // HOUR_MINUTES
        known = [scene.timeline.hour(at).calls for at in range(hour - DAY_HOURS, hour)]
        seen = [calls for calls in known if calls]
        if len(seen) < 6 or scene.minute // HOUR_MINUTES - hour > 7 * DAY_HOURS:
            return None
        gap = HOUR_MINUTES / (sum(seen) / len(seen))
        silent = scene.minute - last
        if silent < max(self.missed * gap, 15):
            return None
        return Finding(
            window=Span((last + 1) * MINUTE_MS, scene.end_ms),
            observed=float(silent),
            baseline=round(gap, 2),
            threshold=round(max(self.missed * gap, 15), 2),
            unit="minutes",
            severity="SEV2",
            why=f"{scene.who}: no canary for {silent:,} minutes, and one every {gap:,.0f} minutes is usual.",
            began_at=(last + 1) * MINUTE_MS,
            details={"silent": True},
        )

    def _finding(self, scene: Scene, calls: int, failed: int, broken: int) -> Finding:
        first = scene.minute - self.minutes + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(failed / calls, 4),
            baseline=0.0,
            threshold=self.share,
            unit="share",
            severity="SEV1" if failed == calls else "SEV2",
            why=f"{scene.who}: {failed:,} of {calls:,} canaries within {self.minutes} minutes failed.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.newest_failed(first, self.minutes),
            details={"calls": calls, "failed": failed, "errors": broken},
        )
