"""`error.rate`: more than a twentieth of calls fail, for ten minutes, and that is more than usual.

Counted are errors, time-outs and calls that a rate limit refused; not those refused that came back as late as they
were told, which are one request that waits: whether it fails is said by its last attempt. Judged for a provider's
model, where an outage shows first, for a tenant, and for a feature, which a provider or its tenant explains when it
is one of many. With few calls a longer stretch must show what ten minutes cannot. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection import chance, likeforlike
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Positive, Ratio, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows import bucket as buckets
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span, SuggestedControl

# Windows in minutes, and the shorter one that must show it, too: what is over is no reason for a page.
WINDOWS = ((10, 5), (20, 10), (60, 20))
USUAL_HOURS = 7 * 24


class ErrorRate(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        share: Share of calls that fail, at least.
        ratio: That share over the usual one, at least: a feature of which a tenth always fails is not news.
        least_calls: Calls in the window, at least.
        least_failed: Failed calls in the window, at least.
        surprise: Standard deviations beyond the usual share, at least.
        cluster: How many failures make one, at least: what fails is tried again.
        clear: An open finding is over below this part of the bound.
    """

    rule = "error.rate"
    tier = 1
    taint: ClassVar[int] = Taint.FAILURES

    share: Share = 0.05
    ratio: Ratio = 2.0
    least_calls: Count = 20
    least_failed: Count = 5
    surprise: NotNegative = 4.0
    cluster: Positive = 2.0
    clear: Share = 0.6

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the minutes that end with the scene's; see `KeyRecipe`."""
        if firing:
            length = memory["minutes"]
            calls, failed, _ = _requests(scene, length)
            if calls and failed >= self.clear * memory["bound"] * calls:
                return self._finding(scene, length, memory["bound"], memory["usual"])
            return None
        for length, newest in WINDOWS:
            calls, failed = scene.calls(length), scene.failed(length)
            if calls < self.least_calls or failed < max(self.least_failed, self.share * calls):
                continue
            # It must be so all the time: in the newest part, and in the rest.
            late_calls, late = scene.calls(newest), scene.failed(newest)
            if late < self.share * late_calls or not late or failed - late < self.share * (calls - late_calls):
                continue
            calls, failed, _ = _requests(scene, length)
            if failed < max(self.least_failed, self.share * calls):
                continue
            usual, spread = scene.remember("usual failures", lambda: self._usual(scene))
            if failed < max(self.share, self.ratio * usual) * calls:
                continue
            # Other calls than usual may fail more often than those that are usual.
            usual = max(usual, likeforlike.usual_failures(scene, length))
            bound = max(self.share, self.ratio * usual)
            if failed < bound * calls:
                continue
            # Against the usual share, but not as if failures were all but impossible.
            likely = max(usual, self.share / 4)
            if chance.poisson(failed, likely * calls, max(spread, self.cluster)) >= self.surprise:
                return self._finding(scene, length, bound, usual)
        return None

    @staticmethod
    def _usual(scene: Scene) -> tuple[float, float]:
        """The share of failed calls over the last week, and how it scatters from hour to hour."""
        now, timeline = scene.minute // HOUR_MINUTES, scene.timeline
        hours = [
            known
            for hour in range(now - USUAL_HOURS, now - 1)
            if not timeline.tainted.get(hour, 0) & Taint.FAILURES and (known := timeline.hour(hour)).calls
        ]
        calls = sum(known.calls for known in hours)
        if not calls:
            return 0.0, 1.5
        past = [(known.failed, known.calls) for known in hours]
        return sum(known.failed for known in hours) / calls, min(4.0, chance.dispersion(past))

    def _finding(self, scene: Scene, length: int, bound: float, usual: float) -> Finding:
        calls, failed, waited = _requests(scene, length)
        rate, first = failed / calls, scene.minute - length + 1
        by_status = scene.blocks(length).errors
        named = ", ".join(f"{count:,} {status}" for status, count in sorted(by_status.items(), key=lambda x: -x[1])[:3])
        severity: Severity = "SEV1" if rate >= 0.25 else "SEV2"
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(rate, 4),
            baseline=round(usual, 4),
            threshold=round(bound, 4),
            unit="share",
            severity=severity,
            why=f"{scene.who}: {100 * rate:.0f} % of {calls:,} calls failed within {length} minutes ({named}); "
            f"{100 * usual:.1f} % is usual." + (f" {waited:,} more waited for a rate limit." if waited else ""),
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.newest_failed(first, length),
            details={"minutes": length, "calls": calls, "failed": failed, "waited": waited, "by_status": by_status},
            memory={"minutes": max(length, 10), "bound": bound, "usual": usual},
            suggested_control=SuggestedControl("switch", scene.names, "route to another model until it works again"),
        )


def _requests(scene: Scene, length: int) -> tuple[int, int, int]:
    """Calls of the last `length` minutes, those that failed, and those left out of both, which waited and came back."""
    calls, failed = scene.calls(length), scene.failed(length)
    if not failed:
        return calls, failed, 0
    # The blocks may begin some minutes earlier.
    held = scene.blocks(length)
    waited = min(failed, round(held.patient * failed / max(failed, buckets.failed(held.errors))))
    return calls - waited, failed - waited, waited
