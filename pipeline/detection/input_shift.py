"""`input.shift`: people ask a feature about other things than usual, by keyed topics of their questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pipeline.detection.chance import Shift
from pipeline.detection.rule import Count, NotNegative, Share, Taint
from pipeline.detection.shifts import ShiftRecipe, Spread
from schemas.partial import Bucket


class InputShift(ShiftRecipe, frozen=True, kw_only=True):
    """The recipe. A question is in up to four of 64 topics, so single shares are small and move little."""

    rule = "input.shift"
    tier = 2
    taint: ClassVar[int] = Taint.QUESTIONS

    psi: NotNegative = 0.15
    least_share: Share = 0.02
    least_count: Count = 200
    usual_count: Count = 800

    def spreads(self, bucket: Bucket) -> Iterator[Spread]:
        """Topics of questions."""
        if bucket.shape is not None:
            yield Spread("topics", bucket.shape.topics)

    def why(self, spread: str, moved: Shift) -> str:
        """Topics have no names here."""
        share, usual = 100 * moved.share, 100 * moved.usual
        return f"questions are about other topics: one of them {share:.1f} % of all, usually {usual:.1f} %"
