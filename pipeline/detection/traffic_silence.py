"""`traffic.silence`: no call comes where by now many would have come on any earlier day of this kind.

Nights, weekends and a feature that is used now and then are silent by habit, which a week shows: what is expected is
the least that came in the same stretch of the day on several earlier days, and it must have been enough that chance
does not make it nothing. Silence counts only while every partition is heard of; hours in which nobody watched are
unknown. Pure: see `rule`.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Annotated, ClassVar, Final

from msgspec import Meta

from pipeline.detection import calendar
from pipeline.detection.rule import UNDECIDED, Count, Finding, KeyRecipe, Memory, NotNegative, Taint, Undecided
from pipeline.detection.scene import Scene
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span

# What came later than this is no silence any more, but an end.
_LONGEST: Final = DAY_MINUTES


class TrafficSilence(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        minutes: Silence of less than this is never a finding.
        days: Earlier days of this kind that must be known.
        least_expected: Calls that came in the same stretch of the day, in the median of those days, at least.
        least_calls: And on every single one of them, at least.
        clustered: Calls come in runs: so many of them are one independent sign of life.
        surprise: Chance of such a silence, as its negative natural logarithm, at least.
    """

    rule = "traffic.silence"
    tier = 2
    taint: ClassVar[int] = Taint.TRAFFIC
    of_silence: ClassVar[bool] = True

    warm_up_hours: NotNegative = 168.0
    minutes: Annotated[int, Meta(ge=5)] = 15
    days: Annotated[int, Meta(ge=1, le=7)] = 3
    least_expected: NotNegative = 30.0
    least_calls: Count = 4
    clustered: Annotated[float, Meta(ge=1)] = 4.0
    surprise: NotNegative = 9.0

    def may_be_silent(self, timeline: Timeline, minute: int) -> bool:
        """See `KeyRecipe`."""
        return timeline.last_minute >= 0 and self.minutes <= minute - timeline.last_minute <= _LONGEST

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge the time since the last call; see `KeyRecipe`."""
        last = scene.timeline.last_minute
        if scene.minute - last < self.minutes:
            return None
        if firing:
            return self._finding(scene, memory["last"], memory["expected"], memory["days"])
        if not scene.store.complete or self._nobody_watched(scene, last + 1):
            return UNDECIDED
        earlier = self._earlier(scene, last + 1, scene.minute + 1)
        known = [calls for _, calls in earlier]
        if len(known) < self.days:
            return None
        expected = median(known)
        if min(known) < self.least_calls or expected < self.least_expected:
            return None
        # The chance that nothing came is that of the quieter of those days, and of any that has the same weekday:
        # where it is Saturday already, Friday's evening is no evening of work.
        quiet = min([sorted(known)[len(known) // 4], *(calls for same, calls in earlier if same)])
        if quiet / self.clustered < self.surprise:
            return None
        return self._finding(scene, last, expected, len(known))

    @staticmethod
    def _nobody_watched(scene: Scene, first: int) -> bool:
        return any(hour in scene.store.dark for hour in range(first // HOUR_MINUTES, scene.minute // HOUR_MINUTES + 1))

    @staticmethod
    def _earlier(scene: Scene, first: int, end: int) -> list[tuple[bool, float]]:
        """(whether it has the same weekday, calls between the same minutes) of earlier days of this kind."""
        timeline, store = scene.timeline, scene.store
        oldest = timeline.book.first()
        if oldest is None:
            return []
        day, hours = scene.minute // DAY_MINUTES, DAY_MINUTES // HOUR_MINUTES
        known = [one for one in range(day - 28, day) if one * hours > oldest and first - (day - one) * DAY_MINUTES > 0]
        weeks = calendar.same_weekday(day, known)
        found = []
        # With two weeks of this weekday, what other days did says nothing.
        for one in weeks if len(weeks) >= 3 else calendar.same_kind(day, known):
            back = (day - one) * DAY_MINUTES
            calls = 0.0
            for hour in range((first - back) // HOUR_MINUTES, math.ceil((end - back) / HOUR_MINUTES)):
                # Silence on the same weekday is a habit, even where it was taken for a finding.
                if hour in store.dark or (one not in weeks and timeline.tainted.get(hour, 0) & Taint.TRAFFIC):
                    break
                part = min(end - back, (hour + 1) * HOUR_MINUTES) - max(first - back, hour * HOUR_MINUTES)
                calls += timeline.hour(hour).calls * part / HOUR_MINUTES
            else:
                found.append((one in weeks, calls))
        return found

    def _finding(self, scene: Scene, last: int, expected: float, days: int) -> Finding:
        silent = scene.minute - scene.timeline.last_minute
        return Finding(
            window=Span((last + 1) * MINUTE_MS, scene.end_ms),
            observed=0.0,
            baseline=round(expected, 1),
            threshold=None,
            unit="calls",
            severity="SEV2" if scene.key[0] == "tenant" else "SEV3",
            why=f"{scene.who}: no call for {silent:,} minutes; on {days} earlier days like this one {expected:,.0f} "
            "came in that time.",
            began_at=(last + 1) * MINUTE_MS,
            details={"silent_minutes": silent, "days": days},
            memory={"last": last, "expected": expected, "days": days},
        )
