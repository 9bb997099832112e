"""`guardrail.rate`: guardrails are triggered more often than usual at a feature, all together or one of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.rates import Metric, RateRecipe
from pipeline.detection.rule import Share
from schemas.partial import Bucket


class GuardrailRate(RateRecipe, frozen=True, kw_only=True):
    """The recipe."""

    rule = "guardrail.rate"
    tier = 2
    sample: ClassVar[str] = "guardrail"
    of_what: ClassVar[str] = "guarded calls"

    least_rise: Share = 0.03

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """Calls that triggered any guardrail, and then each by name, of those that ran through guardrails."""
        if bucket.quality is not None:
            yield Metric("", bucket.quality.guard_hits, bucket.quality.guarded)
            for name in sorted(bucket.quality.guardrails):
                yield Metric(name, bucket.quality.guardrails[name], bucket.quality.guarded)

    def words(self, metric: Metric) -> str:
        """Which guardrail."""
        return f"guarded calls triggered {metric.name or 'a guardrail'}"
