"""`latency.p95`: the slowest twentieth of calls takes twice as long as usual, for a quarter of an hour.

Judged once a minute for provider x model, where a slow provider shows first, and for tenant x feature, where it would
only be repeated: the engine keeps a feature back while a provider that it uses explains it. Pure: see `rule`.
"""

from __future__ import annotations

from statistics import median
from typing import Annotated

from msgspec import Meta

from pipeline.detection.rule import Count, Finding, NotNegative, Ratio, Recipe
from pipeline.windows import sketch
from pipeline.windows.keys import subject
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span, SuggestedControl

P95 = 0.95


class LatencyP95(Recipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: p95 over its baseline, at least.
        clear: An open finding is over below this ratio.
        minutes: For how long. With few calls a longer stretch shows what a short one cannot, so several are tried. The
            whole stretch and each third of it that has calls must be slow.
        least_calls: Calls in that stretch, at least.
        least_slow: Calls in it beyond the bound, at least: one slow call is no slow provider.
        least_excess_ms: Slower by so much, at least.
        baseline_hours: How many past hours are a baseline.
        hour_calls: Calls that make one hour's p95 worth something by itself.
        warm_up_calls: Calls in all baseline hours, at least.
    """

    rule = "latency.p95"
    tier = 1

    clear_minutes: NotNegative = 15.0
    ratio: Ratio = 2.0
    clear: Ratio = 1.5
    minutes: Annotated[tuple[int, ...], Meta(min_length=1)] = (15, 30, 60)
    least_calls: Count = 15
    least_slow: Count = 3
    least_excess_ms: NotNegative = 100.0
    baseline_hours: Annotated[int, Meta(ge=1, le=24)] = 24
    hour_calls: Count = 30
    warm_up_calls: Count = 60

    def evaluate(
        self, timeline: Timeline, minute: int, ring_start: int, firing: bool, memory: dict[str, float]
    ) -> Finding | None:
        """Judge the minutes that end with `minute`, included.

        Args:
            timeline: The key.
            minute: Last minute of the window; it must be over.
            ring_start: First minute that is held by minutes.
            firing: Whether a finding of this key is open.
            memory: What the open finding froze: `p95`.
        """
        baseline = memory.get("p95") if firing else self.baseline(timeline, minute, ring_start)
        if baseline is None:
            return None
        bound = baseline * self.ratio
        longest = self.minutes[-1]
        if not firing and not sketch.above(timeline.latencies(minute - longest // 3 + 1, longest // 3), bound):
            return None  # nothing slow lately: almost always all that has to be looked at
        for length in self.minutes:
            third = length // 3
            parts = [timeline.latencies(minute - length + 1 + place * third, third) for place in range(3)]
            calls = sum(sum(part.values()) for part in parts)
            if calls >= self.least_calls or (firing and length == longest):
                found = self._judge(timeline, minute, length, parts, calls, baseline, firing)
                if found is not None or firing:
                    return found
        return None

    def _judge(
        self,
        timeline: Timeline,
        minute: int,
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
        if not firing and (sketch.above(total, bound) < self.least_slow or p95 - baseline < self.least_excess_ms):
            return None
        return self._finding(timeline, minute, length, calls, p95, baseline, total)

    @staticmethod
    def _p95(latencies: sketch.Sketch) -> float:
        return sketch.quantile(latencies, P95) or 0.0

    def baseline(self, timeline: Timeline, minute: int, ring_start: int) -> float | None:
        """p95 to be expected, in ms: the median of the past hours' p95, or of all their calls where hours are thin.

        Hours that overlap the window under test or were covered by a finding do not count. None while fewer than
        `warm_up_calls` calls are known.
        """
        last = (minute - self.minutes[-1] + 1) // HOUR_MINUTES
        hours = [
            timeline.hour_latency(hour, ring_start)
            for hour in range(last - self.baseline_hours, last)
            if hour not in timeline.flagged
        ]
        if sum(known.calls for known in hours) < self.warm_up_calls:
            return None
        each = [known.p95 for known in hours if known.p95 is not None and known.calls >= self.hour_calls]
        if len(each) >= 3:
            return median(each)
        total: sketch.Sketch = {}
        for known in hours:
            sketch.merge(total, known.counts)
        return sketch.quantile(total, P95)

    def _finding(
        self,
        timeline: Timeline,
        minute: int,
        length: int,
        calls: int,
        p95: float,
        baseline: float,
        total: sketch.Sketch,
    ) -> Finding:
        names = subject(timeline.key)
        who = " ".join(f"{name} {value}" for name, value in names.items())
        ratio = p95 / baseline
        severity: Severity = "SEV1" if ratio >= 4 else "SEV2"
        start = (minute - length + 1) * MINUTE_MS
        return Finding(
            window=Span(start, (minute + 1) * MINUTE_MS),
            observed=round(p95, 1),
            baseline=round(baseline, 1),
            threshold=round(baseline * self.ratio, 1),
            unit="ms",
            severity=severity,
            why=(
                f"{who}: the p95 latency of {calls} calls was {p95 / 1000:.1f} s for {length} minutes, "
                f"{ratio:.1f} times the usual {baseline / 1000:.1f} s."
            ),
            began_at=start,
            evidence=timeline.slowest(minute - length + 1, length),
            details={"calls": calls, "p50_ms": round(sketch.quantile(total, 0.5) or 0.0, 1)},
            memory={"p95": baseline},
            suggested_control=SuggestedControl("switch", names, "route to another model until it is fast again"),
        )
