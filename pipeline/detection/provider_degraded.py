"""`provider.degraded`: a provider's model fails or waits more than usual, while the other providers do not.

A ticket for what is not bad enough for a page: it sees smaller rises than `error.rate` and `latency.p95`, because it
may look at the peers. When all providers are worse at once, the cause is nearer to us. Pure: see `rule`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pipeline.detection import chance, likeforlike
from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Ratio, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows import bucket as buckets
from pipeline.windows import sketch
from pipeline.windows.watermark import MINUTE_MS
from schemas.anomaly import Span, SuggestedControl

MINUTES = 20


class ProviderDegraded(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        least_calls: Calls within twenty minutes, at least, of the model and of its peers.
        failure_rise: How much the share of failed calls must have risen.
        failure_ratio: And in proportion.
        latency_ratio: Or the median latency over the usual one, at least.
        least_excess_ms: And in milliseconds.
        surprise: Standard deviations beyond chance, at least.
        peers_ratio: The peers must be below this ratio in whatever is worse.
        clear: An open finding is over when less than this part of the rise is left.
    """

    rule = "provider.degraded"
    tier = 2
    taint: ClassVar[int] = Taint.FAILURES | Taint.LATENCY

    hold_minutes: NotNegative = 5.0
    clear_minutes: NotNegative = 20.0
    warm_up_hours: NotNegative = 24.0
    least_calls: Count = 40
    failure_rise: Share = 0.02
    failure_ratio: Ratio = 2.0
    latency_ratio: Ratio = 1.5
    least_excess_ms: NotNegative = 150.0
    surprise: NotNegative = 4.5
    peers_ratio: Ratio = 1.25
    clear: Share = 0.4

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last twenty minutes; see `KeyRecipe`."""
        if scene.calls(MINUTES) < (5 if firing else self.least_calls):
            return None
        now = _Now(scene)
        usual = _Usual(scene, self.taint)
        if usual.calls < 10 * self.least_calls:
            return None
        if firing:
            return self._still(scene, memory, now)
        failed, slow = self._fails(scene, now, usual), self._is_slow(scene, now, usual)
        if not failed and not slow:
            return None
        peers = self._peers(scene)
        if peers is None:
            return None
        worse = peers["failures"] if failed else peers["latency"]
        if worse >= self.peers_ratio:
            return None
        return self._finding(scene, now, usual, "failures" if failed else "latency", peers)

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            calls, least = scene.reference(1, self.taint).total.calls, 10 * self.least_calls
            known = f"{calls:,} of {least:,} calls" if calls < least else ""
        return known

    def _fails(self, scene: Scene, now: _Now, usual: _Usual) -> bool:
        rate, due = now.failed / now.calls, usual.rate
        if not self._has_risen(rate, due):
            return False
        due = max(due, likeforlike.usual_failures(scene, MINUTES))
        if not self._has_risen(rate, due):
            return False
        return chance.poisson(now.failed, max(due, 0.005) * now.calls, usual.spread) >= self.surprise

    def _has_risen(self, rate: float, usual: float) -> bool:
        return rate - usual >= self.failure_rise and rate >= self.failure_ratio * usual

    def _is_slow(self, scene: Scene, now: _Now, usual: _Usual) -> bool:
        if now.median is None or usual.median is None:
            return False
        if now.median < self.latency_ratio * usual.median or now.median - usual.median < self.least_excess_ms:
            return False
        # Other calls than usual are no slower calls.
        ratio = likeforlike.median_ratio(scene, MINUTES)
        if ratio is not None and ratio < self.latency_ratio:
            return False
        # Half of the calls usually lie above the usual median.
        above = sketch.above(now.latency, usual.median)
        total = sum(now.latency.values())
        return chance.rise(above, total, 0.5 * usual.calls, usual.calls, 1.5) >= self.surprise

    def _peers(self, scene: Scene) -> dict[str, float] | None:
        """How the models of other providers do, as ratios to what is usual for them; None where there are too few."""
        calls, failed, due, weighted = 0, 0.0, 0.0, 0.0
        named = 0
        for timeline in scene.store.below("", "provider"):
            if timeline.key[1] == scene.key[1] or timeline.last_minute < scene.minute - MINUTES:
                continue
            other = Scene(scene.store, timeline, scene.minute)
            now, usual = _Now(other), _Usual(other, self.taint)
            if now.calls < 10 or usual.calls < 100:
                continue
            named += 1
            calls += now.calls
            failed += now.failed
            due += max(usual.rate, 0.005) * now.calls
            weighted += now.calls * (now.median / usual.median if now.median and usual.median else 1.0)
        if calls < self.least_calls or not named:
            return None
        # Two failed calls more or less are no ratio.
        return {"models": named, "calls": calls, "failures": (failed + 1) / (due + 2), "latency": weighted / calls}

    def _still(self, scene: Scene, memory: Memory, now: _Now) -> Finding | None:
        usual = _Usual(scene, self.taint)
        kind, value = memory["kind"], _value(memory["kind"], now)
        if value is None or value < memory["usual"] + self.clear * (memory["value"] - memory["usual"]):
            return None
        return self._finding(scene, now, usual, kind, {}, memory)

    def _finding(
        self, scene: Scene, now: _Now, usual: _Usual, kind: str, peers: dict[str, float], memory: Memory | None = None
    ) -> Finding:
        first = scene.minute - MINUTES + 1
        value = _value(kind, now) or 0.0
        known = memory["usual"] if memory is not None else usual.rate if kind == "failures" else usual.median or 0.0
        if kind == "failures":
            said = f"{100 * value:.1f} % of {now.calls:,} calls failed, usually {100 * known:.1f} %"
        else:
            said = f"the median of {now.calls:,} calls was {value:,.0f} ms, usually {known:,.0f} ms"
        details: dict[str, Any] = {"kind": kind, "calls": now.calls}
        if peers:
            details["peers"] = {name: round(number, 2) for name, number in peers.items()}
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(value, 4),
            baseline=round(known, 4),
            threshold=None,
            unit="share" if kind == "failures" else "ms",
            severity="SEV3",
            why=f"{scene.who}: {said}, for {MINUTES} minutes, while other providers are as usual.",
            began_at=first * MINUTE_MS,
            evidence=(
                scene.timeline.newest_failed(first, MINUTES)
                if kind == "failures"
                else scene.timeline.slowest(first, MINUTES)
            ),
            details=details,
            memory={"kind": kind, "value": value, "usual": known},
            suggested_control=SuggestedControl("switch", scene.names, "route some calls to another provider"),
        )


class _Now:
    """The last twenty minutes of a provider's model."""

    def __init__(self, scene: Scene) -> None:
        total = scene.blocks(MINUTES)
        self.calls = total.calls
        self.failed = buckets.failed(total.errors)
        self.latency = total.latency
        self.median = sketch.quantile(total.latency, 0.5)


class _Usual:
    """The last week of it."""

    def __init__(self, scene: Scene, taint: int) -> None:
        known = scene.reference(1, taint)
        self.calls = known.total.calls
        self.rate = buckets.failed(known.total.errors) / self.calls if self.calls else 0.0
        self.spread = known.dispersion(lambda bucket: (buckets.failed(bucket.errors), bucket.calls))
        self.median = sketch.quantile(known.total.latency, 0.5)


def _value(kind: str, now: _Now) -> float | None:
    return now.failed / now.calls if kind == "failures" and now.calls else now.median if kind == "latency" else None
