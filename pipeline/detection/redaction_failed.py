"""`redaction.failed`: texts are replaced whole because redaction was in doubt, more often than they should be.

Nothing leaks: redaction fails closed. But what was replaced is lost for whoever needs the text, and a recogniser that
hangs or is missing is worth a look. Counted by the sink, which reads the clean records in order and applies each once;
so it is seen when rows are written. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection import chance
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span


class RedactionFailed(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        share: Share of records with text of which a text was replaced whole, at least.
        ratio: That share over the usual one, at least.
        least_failed: Such records within the hour, at least.
        surprise: Standard deviations beyond the usual share, at least.
    """

    rule = "redaction.failed"
    tier = 1
    taint: ClassVar[int] = Taint.FAILURES

    clear_minutes: NotNegative = 30.0
    share: Share = 0.01
    ratio: Ratio = 3.0
    least_failed: Count = 5
    surprise: NotNegative = 4.0

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last hour; see `KeyRecipe`."""
        total = scene.blocks(HOUR_MINUTES)
        failed = sum(total.errors.values())
        if firing:
            still = failed and failed >= self.share / 2 * total.calls
            return self._finding(scene, total.calls, failed, total.errors) if still else None
        if failed < max(self.least_failed, self.share * total.calls):
            return None
        now = scene.minute // HOUR_MINUTES
        hours = [scene.timeline.hour(hour) for hour in range(now - 24 * 7, now - 1)]
        calls, before = sum(known.calls for known in hours), sum(known.failed for known in hours)
        usual = before / calls if calls else 0.0
        if failed < self.ratio * usual * total.calls:
            return None
        if chance.poisson(failed, max(usual, self.share / 4) * total.calls, 1.5) < self.surprise:
            return None
        return self._finding(scene, total.calls, failed, total.errors)

    def _finding(self, scene: Scene, records: int, failed: int, reasons: dict[str, int]) -> Finding:
        first = scene.minute - HOUR_MINUTES + 1
        named = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda x: -x[1])[:3])
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(failed / records, 5) if records else 1.0,
            baseline=None,
            threshold=self.share,
            unit="share",
            severity="SEV2",
            why=f"{scene.who}: of {failed:,} of {records:,} records within an hour a text was replaced whole, because "
            f"redaction was in doubt ({named}).",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.newest_failed(first, HOUR_MINUTES),
            details={"reasons": reasons},
        )
