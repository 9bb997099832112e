"""What rules over rates share: something happens to a larger part of calls than it usually does.

A rule of this kind says what it counts (`counts`) and in which words; the bounds are its recipe. Looked at over several
windows, because a rate that jumps shows within the hour and one that creeps only over a day, and small traffic only in
long windows. The rise must be large in proportion, large in itself, and beyond what the key's own past makes likely.
Pure: see `rule`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta

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
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span
from schemas.partial import Bucket


class Metric(NamedTuple):
    """What is counted: its name in details (empty: the rule's own), hits, and out of how many."""

    name: str
    hits: float
    out_of: float


class RateRecipe(WindowedRecipe, frozen=True, kw_only=True):
    """Bounds of a rule over a rate.

    Attributes:
        least_count: Calls (or judgements) in a window, at least.
        least_hits: Of them those that it is about, at least.
        ratio: The rate over the usual rate, at least.
        least_rise: The rate less the usual rate, at least.
        surprise: Standard deviations beyond the key's own scatter, at least.
        clear: An open finding is over when less than this part of its rise is left over the last hours.
        always: A rate that is a finding whatever is usual; 1 for none.
        usual_count: Calls that the past must hold to say what is usual.
    """

    taint: ClassVar[int] = Taint.ANSWERS
    sample: ClassVar[str] = ""
    what: ClassVar[str] = ""
    of_what: ClassVar[str] = "calls"
    worst: ClassVar[Severity] = "SEV2"

    clear_minutes: NotNegative = 60.0
    rejoin_minutes: NotNegative = 240.0
    longest_hours: Annotated[float, Meta(gt=0)] = 72.0
    warm_up_hours: NotNegative = 24.0
    least_count: Count = 30
    least_hits: Count = 6
    ratio: Ratio = 2.0
    least_rise: Share = 0.05
    surprise: NotNegative = 5.0
    clear: Share = 0.4
    always: Share = 1.0
    usual_count: Count = 100

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """What is counted in a bucket."""
        raise NotImplementedError

    def words(self, metric: Metric) -> str:
        """What happens to which calls, in words: `calls were refused`."""
        return f"{self.of_what} {self.what}"

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge the windows that end with the scene's minute; see `KeyRecipe`."""
        if firing:
            return self._still(scene, memory)
        for hours, now in self.windows(scene):
            for metric in self.counts(now):
                if metric.out_of >= self.least_count and metric.hits >= self.least_hits:
                    found = self._judge(scene, hours, metric)
                    if found is not None:
                        return found
        return None

    def _judge(self, scene: Scene, hours: int, metric: Metric) -> Finding | None:
        rate = metric.hits / metric.out_of
        usual = scene.reference(hours, self.taint)
        known = self._usual(usual.total, metric.name)
        if known.out_of < self.usual_count:
            if rate < self.always:
                return None
            return self._finding(scene, hours, metric, None, 0.0)
        before = chance.usual_rate(known.hits, known.out_of)
        if rate < self.always:
            if rate < self.ratio * before or rate - before < self.least_rise:
                return None
            spread = usual.dispersion(lambda bucket: self._usual(bucket, metric.name)[1:])
            surprise = chance.rise(metric.hits, metric.out_of, known.hits, known.out_of, spread)
            if surprise < self.surprise:
                return None
        else:
            surprise = chance.rise(metric.hits, metric.out_of, known.hits, known.out_of)
        return self._finding(scene, hours, metric, before, surprise)

    def _usual(self, bucket: Bucket, name: str) -> Metric:
        return next((metric for metric in self.counts(bucket) if metric.name == name), Metric(name, 0.0, 0.0))

    def _still(self, scene: Scene, memory: Memory) -> Finding | Undecided | None:
        """The open finding over the window that it was opened for, six hours at most; silence is no news."""
        hours = memory["hours"]
        metric = self._usual(window_of_open(scene, hours), memory["metric"])
        if metric.out_of < min(10, self.least_count):
            return UNDECIDED
        before = memory["usual"]
        if metric.hits / metric.out_of < before + self.clear * memory["rise"]:
            return None
        return self._finding(scene, hours, metric, before, memory["surprise"])

    def _finding(self, scene: Scene, hours: int, metric: Metric, before: float | None, surprise: float) -> Finding:
        rate, length = metric.hits / metric.out_of, hours * HOUR_MINUTES
        usually = "" if before is None else f", usually {_percent(before)}"
        first = scene.minute - length + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(rate, 5),
            baseline=None if before is None else round(before, 5),
            threshold=round(self.always if before is None else max(self.ratio * before, before + self.least_rise), 5),
            unit="share",
            severity=self.worst if rate >= self.always or (before or 0.0) + 0.3 <= rate else "SEV3",
            why=f"{scene.who}: {_percent(rate)} of {metric.out_of:,.0f} {self.words(metric)} within "
            f"{in_words(hours)}{usually}.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.samples(self.sample, first, length) if self.sample else (),
            details={
                "hours": hours,
                "count": metric.out_of,
                "hits": metric.hits,
                "surprise": round(surprise, 1),
                **({"metric": metric.name} if metric.name else {}),
            },
            memory={
                "hours": hours,
                "metric": metric.name,
                "usual": before or 0.0,
                "rise": rate - (before or 0.0),
                "surprise": surprise,
            },
        )

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            counts = self.counts(scene.reference(self.hours[0], self.taint).total)
            count = max((metric.out_of for metric in counts), default=0.0)
            known = f"{count:,.0f} of {self.usual_count:,} {self.of_what}" if count < self.usual_count else ""
        return known

    def explain(self, scene: Scene, finding: Finding) -> dict[str, Any]:
        """Which prompt version, variant or model it is about, where one stands out."""
        return scene.breakdown(lambda bucket: self._usual(bucket, finding.details.get("metric", ""))[1:])


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %" if rate < 0.1 else f"{100 * rate:.0f} %"
