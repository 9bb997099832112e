"""`refusal.rate`: a feature's answers decline more often than usual, by their status or by what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.rates import Metric, RateRecipe
from pipeline.detection.rule import Share
from schemas.partial import Bucket


class RefusalRate(RateRecipe, frozen=True, kw_only=True):
    """The recipe."""

    rule = "refusal.rate"
    tier = 2
    sample: ClassVar[str] = "refusal"
    what: ClassVar[str] = "were refused"

    least_rise: Share = 0.03

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """Refused calls of all calls."""
        if bucket.quality is not None:
            yield Metric("", bucket.quality.refusals, bucket.calls)
