"""`schema.validity`: outputs that should have a form have it less often than usual."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.rates import Metric, RateRecipe
from pipeline.detection.rule import Share
from schemas.partial import Bucket


class SchemaValidity(RateRecipe, frozen=True, kw_only=True):
    """The recipe."""

    rule = "schema.validity"
    tier = 2
    sample: ClassVar[str] = "schema"
    what: ClassVar[str] = "had an output without the form that it should have"

    least_rise: Share = 0.03

    def counts(self, bucket: Bucket) -> Iterator[Metric]:
        """Calls with an invalid output, of those that were checked."""
        if bucket.quality is not None:
            yield Metric("", bucket.quality.schema_invalid, bucket.quality.schema_checked)
