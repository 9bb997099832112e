"""`retrieval.hit_rate`: what is retrieved for answers finds less than usual: nothing at all, or fewer documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.rates import Metric, RateRecipe
from pipeline.detection.rule import Ratio, Share
from schemas.partial import Bucket

NOTHING, FEWER = "", "documents"


class RetrievalHitRate(RateRecipe, frozen=True, kw_only=True):
    """The recipe. Counted are the misses, so that a fall of the hit rate is a rise.

    One retrieval is one draw: its documents are missed together, and counted one by one they would prove too much.
    """

    rule = "retrieval.hit_rate"
    tier = 2
    sample: ClassVar[str] = "retrieval"
    of_what: ClassVar[str] = "retrievals"

    ratio: Ratio = 1.4
    least_rise: Share = 0.1

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """Retrievals that found nothing; and documents that were wanted and not found."""
        quality = bucket.quality
        if quality is not None:
            yield Metric(NOTHING, quality.misses, quality.retrievals)
            if quality.requested:
                missed = max(0, quality.requested - quality.hits) / quality.requested
                yield Metric(FEWER, missed * quality.retrievals, quality.retrievals)

    def words(self, metric: Metric) -> str:
        """What was not found."""
        return "retrievals found nothing" if metric.name == NOTHING else "retrievals' documents were not found"
