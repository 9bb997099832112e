"""What rules over distributions share: calls are spread over classes otherwise than they usually are.

The population stability index says how far a distribution has moved, less what samples of these sizes differ by chance;
the G statistic says how surely, over how much the key's own days differ from each other; and it must have moved further
than any of those days had. What is told is the class that has moved most. Pure: see `rule`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from pipeline.detection import chance
from pipeline.detection.chance import Shift
from pipeline.detection.reference import Reference
from pipeline.detection.rule import (
    UNDECIDED,
    Count,
    Finding,
    Memory,
    NotNegative,
    Positive,
    Share,
    Taint,
    Undecided,
)
from pipeline.detection.scene import Scene
from pipeline.detection.windowed import WindowedRecipe, in_words, window_of_open
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span
from schemas.partial import Bucket

# What is assumed of how calls cluster where the past cannot say.
_ASSUMED = 1.5


class Spread(NamedTuple):
    """Counts by class, and what the classes are, in words."""

    name: str
    counts: Mapping[str, int] | Mapping[int, int]


class ShiftRecipe(WindowedRecipe, frozen=True, kw_only=True):
    """Bounds of a rule over distributions.

    Attributes:
        least_count: Calls in a window, at least.
        usual_count: Calls that the past must hold to say what is usual.
        psi: Population stability index beyond chance, at least.
        beyond: How many times as far as the furthest of the past's days, at least.
        least_share: How far the share of the class that has moved most must have moved.
        usual_days: Days of which calls must be known: an hour of the day or a weekday is no shift.
        surprise: Standard deviations beyond the key's own scatter, at least.
        clear: An open finding is over when less than this part of the index is left.
    """

    taint: ClassVar[int] = Taint.ANSWERS

    clear_minutes: NotNegative = 60.0
    rejoin_minutes: NotNegative = 360.0
    longest_hours: Positive = 72.0
    warm_up_hours: NotNegative = 72.0
    usual_days: Count = 2
    least_count: Count = 60
    usual_count: Count = 200
    psi: NotNegative = 0.2
    beyond: NotNegative = 1.5
    least_share: Share = 0.1
    surprise: NotNegative = 5.0
    clear: Share = 0.4

    def spreads(self, bucket: Bucket) -> Iterator[Spread]:
        """The distributions of a bucket."""
        raise NotImplementedError

    def why(self, spread: str, moved: Shift) -> str:
        """What has moved, in words."""
        share, usual = 100 * moved.share, 100 * moved.usual
        return f"the answers' {spread} are spread otherwise: {moved.moved} {share:.0f} %, usually {usual:.0f} %"

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge the windows that end with the scene's minute; see `KeyRecipe`."""
        if firing:
            return self._still(scene, memory)
        for hours, now in self.windows(scene):
            for spread in self.spreads(now):
                if sum(spread.counts.values()) >= self.least_count:
                    found = self._judge(scene, hours, spread)
                    if found is not None:
                        return found
        return None

    def _judge(self, scene: Scene, hours: int, spread: Spread) -> Finding | None:
        usual = scene.reference(hours, self.taint)
        known = self._counts(usual.total, spread.name)
        if sum(known.values()) < self.usual_count:
            return None
        moved = chance.shift(spread.counts, known)
        # Almost always all that has to be looked at.
        if moved.psi < self.psi or abs(moved.share - moved.usual) < self.least_share:
            return None
        scatter, furthest = self._past(usual, spread.name, known)
        moved = chance.shift(spread.counts, known, scatter)
        if moved.psi < max(self.psi, self.beyond * furthest) or moved.surprise < self.surprise:
            return None
        return self._finding(scene, hours, spread, moved, scatter)

    def _counts(self, bucket: Bucket, name: str) -> dict[Any, int]:
        return next((dict(one.counts) for one in self.spreads(bucket) if one.name == name), {})

    def _past(self, usual: Reference, name: str, known: dict[Any, int]) -> tuple[float, float]:
        """(dispersion, index of the day that is furthest from the others), of the past's parts."""
        ratios, furthest = [], 0.0
        for part in usual.parts:
            counts = self._counts(part, name)
            if sum(counts.values()) < self.least_count:
                continue
            rest = {place: left for place, count in known.items() if (left := count - counts.get(place, 0)) > 0}
            if not rest:
                continue
            one = chance.shift(counts, rest)
            furthest = max(furthest, one.psi)
            ratios.append(chance.g_ratio(counts, rest))
        if len(ratios) < 3:
            return _ASSUMED, furthest
        return max(1.0, sum(ratios) / len(ratios)), furthest

    def _still(self, scene: Scene, memory: Memory) -> Finding | Undecided | None:
        hours, name = memory["hours"], memory["spread"]
        # What was usual when it opened; its own hours are in no reference.
        usual = scene.reference(hours, self.taint)
        spread = Spread(name, self._counts(window_of_open(scene, hours), name))
        known = self._counts(usual.total, name)
        if sum(spread.counts.values()) < self.least_count // 2 or not known:
            return UNDECIDED
        moved = chance.shift(spread.counts, known, memory["scatter"])
        if moved.psi < self.clear * memory["psi"]:
            return None
        return self._finding(scene, hours, spread, moved, memory["scatter"])

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            usual = scene.reference(self.hours[0], self.taint)
            count = max((sum(spread.counts.values()) for spread in self.spreads(usual.total)), default=0)
            known = f"{count:,} of {self.usual_count:,} calls" if count < self.usual_count else ""
            days = sum(1 for day in usual.parts[: usual.days] if any(one.counts for one in self.spreads(day)))
            if not known and days < self.usual_days:
                known = f"{days} of {self.usual_days} days"
        return known

    def _finding(self, scene: Scene, hours: int, spread: Spread, moved: Shift, scatter: float) -> Finding:
        length = hours * HOUR_MINUTES
        first = scene.minute - length + 1
        count = sum(spread.counts.values())
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(moved.psi, 4),
            baseline=None,
            threshold=self.psi,
            unit="psi",
            severity="SEV3",
            why=f"{scene.who}: {self.why(spread.name, moved)}, in {count:,} calls within {in_words(hours)}.",
            began_at=first * MINUTE_MS,
            details={
                "spread": spread.name,
                "moved": moved.moved,
                "share": round(moved.share, 4),
                "usual_share": round(moved.usual, 4),
                "surprise": round(moved.surprise, 1),
                "hours": hours,
                "count": count,
            },
            memory={"hours": hours, "spread": spread.name, "psi": moved.psi, "scatter": scatter},
        )
