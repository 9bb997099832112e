"""`output.shift`: a feature's answers have other labels, finish reasons or languages than usual."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.detection.shifts import ShiftRecipe, Spread
from schemas.partial import Bucket


class OutputShift(ShiftRecipe, frozen=True, kw_only=True):
    """The recipe."""

    rule = "output.shift"
    tier = 2

    def spreads(self, bucket: Bucket) -> Iterator[Spread]:
        """Labels, finish reasons and languages of answers."""
        shape = bucket.shape
        if shape is not None:
            yield Spread("labels", shape.labels)
            yield Spread("finish reasons", shape.finishes)
            yield Spread("languages", shape.languages)
