"""`price.unknown`: a model is being called whose price nobody knows, so its cost is missing everywhere.

One finding a model. Pure: see `rule`.
"""

from __future__ import annotations

from pipeline.detection.rule import Count, Finding, NotNegative, Positive, Recipe
from pipeline.windows.keys import subject
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span


class PriceUnknown(Recipe, frozen=True, kw_only=True):
    """The recipe. It is over after a day in which no call was without a price.

    Attributes:
        least_calls: Calls without a price within the minute, at least.
    """

    rule = "price.unknown"
    tier = 2

    clear_minutes: NotNegative = 1_440.0
    rejoin_minutes: NotNegative = 7 * 1_440.0
    longest_hours: Positive = 720.0
    least_calls: Count = 1

    def evaluate(self, timeline: Timeline, minute: int) -> Finding | None:
        """Judge the minute `minute`."""
        slot = timeline.minutes.get(minute)
        if slot is None or slot.unpriced < self.least_calls:
            return None
        names = subject(timeline.key)
        who = " ".join(f"{name} {value}" for name, value in names.items()) or "calls that name no model"
        last_hour = sum(
            timeline.minutes[m].unpriced for m in range(minute - HOUR_MINUTES + 1, minute + 1) if m in timeline.minutes
        )
        return Finding(
            window=Span(minute * MINUTE_MS, (minute + 1) * MINUTE_MS),
            observed=float(last_hour),
            baseline=None,
            threshold=float(self.least_calls),
            unit="calls",
            severity="SEV3",
            why=(
                f"{who}: {last_hour} calls in the last hour have no known price, so their cost is missing in every sum."
            ),
            began_at=minute * MINUTE_MS,
        )
