"""`feedback.negative`: people dislike a feature's answers more often than usual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.rates import Metric, RateRecipe
from pipeline.detection.rule import Count, NotNegative, Ratio, Share
from schemas.partial import Bucket


class FeedbackNegative(RateRecipe, frozen=True, kw_only=True):
    """The recipe. Feedback is rare, and one annoyed person may give several: fewer of it count, but longer windows."""

    rule = "feedback.negative"
    tier = 2
    sample: ClassVar[str] = "feedback"
    of_what: ClassVar[str] = "ratings"
    what: ClassVar[str] = "were negative"

    hours: tuple[int, ...] = (1, 6, 24)
    ratio: Ratio = 1.6
    least_rise: Share = 0.15
    least_count: Count = 15
    least_hits: Count = 6
    usual_count: Count = 40
    surprise: NotNegative = 4.2

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """Negative ratings of those that have a sign."""
        if bucket.quality is not None:
            yield Metric("", bucket.quality.disliked, bucket.quality.disliked + bucket.quality.liked)
