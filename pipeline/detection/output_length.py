"""`output.length`: a feature's answers have become longer or shorter."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.detection.chance import Shift
from pipeline.detection.rule import Share
from pipeline.detection.shifts import ShiftRecipe, Spread
from schemas.partial import Bucket


class OutputLength(ShiftRecipe, frozen=True, kw_only=True):
    """The recipe. Lengths are compared in classes of which two make a doubling."""

    rule = "output.length"
    tier = 2

    least_share: Share = 0.08

    def spreads(self, bucket: Bucket) -> Iterator[Spread]:
        """Length classes of answers that came."""
        if bucket.shape is not None:
            yield Spread("lengths", bucket.shape.lengths)

    def why(self, spread: str, moved: Shift) -> str:
        """Which length has become more or less frequent."""
        length = round(2 ** (int(moved.moved) / 2)) if moved.moved else 0
        more = "more" if moved.share > moved.usual else "fewer"
        return (
            f"{more} answers are about {length:,} characters long: {100 * moved.share:.0f} %, usually "
            f"{100 * moved.usual:.0f} %"
        )
