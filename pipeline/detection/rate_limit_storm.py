"""`rate_limit.storm`: calls that a rate limit refused come again without back-off, and keep the limit from lifting.

Who comes back, and whether that was patient, is said by `windows.patience`. Where nobody can tell whose call the next
one is, a storm is when half of all calls are refused, for ten minutes. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import MINUTE_MS
from schemas.anomaly import Span, SuggestedControl
from schemas.partial import Bucket

MINUTES = 10


class RateLimitStorm(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        least_limited: Calls that a rate limit refused within ten minutes, at least.
        impatient_share: Share of those that came back who did not wait, at least.
        least_returns: Calls that came back, at least.
        limited_share: Where nobody is known to have come back: share of all calls that were refused, at least.
    """

    rule = "rate_limit.storm"
    tier = 2
    taint: ClassVar[int] = Taint.NONE

    clear_minutes: NotNegative = 15.0
    least_limited: Count = 12
    impatient_share: Share = 0.5
    least_returns: Count = 8
    limited_share: Share = 0.5

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last ten minutes; see `KeyRecipe`."""
        least = 3 if firing else self.least_limited
        if scene.failed(MINUTES) < least:
            return None
        total = scene.blocks(MINUTES)
        limited = total.errors.get("rate_limited", 0)
        if limited < least or not self._is_storm(total, limited, firing):
            return None
        newest = scene.blocks(5).errors.get("rate_limited", 0)
        if not firing and not 0 < newest < limited:
            # A burst within one of the two blocks is over, or has just begun.
            return None
        returns = total.patient + total.impatient
        share = limited / total.calls
        came = f"; {total.impatient:,} of {returns:,} that came back did not wait" if returns else ""
        first = scene.minute - MINUTES + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=float(limited),
            baseline=None,
            threshold=float(self.least_limited),
            unit="calls",
            severity="SEV2" if share >= 0.5 else "SEV3",
            why=f"{scene.who}: {limited:,} of {total.calls:,} calls were refused by a rate limit within {MINUTES} "
            f"minutes{came}.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.newest_failed(first, MINUTES),
            details={
                "calls": total.calls,
                "impatient": total.impatient,
                "patient": total.patient,
                "retries": total.retries,
            },
            suggested_control=SuggestedControl("switch", scene.names, "hold calls back until the limit lifts"),
        )

    def _is_storm(self, total: Bucket, limited: int, firing: bool) -> bool:
        returns = total.patient + total.impatient
        if returns >= (3 if firing else self.least_returns):
            return total.impatient >= self.impatient_share * returns
        return limited >= self.limited_share * total.calls
