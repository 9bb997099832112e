"""`price.unknown`: a model is being called whose price nobody knows, so its cost is missing everywhere.

One finding a model. Pure: see `rule`.
"""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Positive
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span


class PriceUnknown(KeyRecipe, frozen=True, kw_only=True):
    """The recipe. It is over after a day in which no call was without a price.

    Attributes:
        least_calls: Calls without a price within the minute, at least.
    """

    rule = "price.unknown"
    tier = 2
    every: ClassVar[int] = 1
    late: ClassVar[bool] = True

    clear_minutes: NotNegative = 1_440.0
    rejoin_minutes: NotNegative = 7 * 1_440.0
    longest_hours: Positive = 720.0
    least_calls: Count = 1

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the minute of the scene, and what has come for it late; see `KeyRecipe`."""
        if scene.timeline.minute_total(scene.minute).unpriced < self.least_calls:
            return None
        last_hour = scene.blocks(HOUR_MINUTES).unpriced
        who = scene.who or "calls that name no model"
        return Finding(
            window=Span(scene.minute * MINUTE_MS, scene.end_ms),
            observed=float(last_hour),
            baseline=None,
            threshold=float(self.least_calls),
            unit="calls",
            severity="SEV3",
            why=(
                f"{who}: {last_hour} calls in the last hour have no known price, so their cost is missing in every sum."
            ),
            began_at=scene.minute * MINUTE_MS,
        )
