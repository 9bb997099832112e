"""What rules share that look at the last hour, the last six and the last day in turn.

What jumps shows within the hour, what creeps only over a day, and small traffic only in long windows. Pure: see `rule`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta

from pipeline.detection.rule import KeyRecipe
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Bucket

# A longer window is looked at less often; minutes, by hours.
EVERY: Final = {1: 5, 6: 15, 24: 60}
# An open finding is looked at over no more than this, so that its end is seen the same day.
LONGEST_FIRING_HOURS: Final = 6


class WindowedRecipe(KeyRecipe, frozen=True, kw_only=True):
    """Windows of a rule.

    Attributes:
        hours: Windows, in hours: 1, 6 or 24.
    """

    hours: Annotated[tuple[int, ...], Meta(min_length=1)] = (1, 6, 24)

    def __post_init__(self) -> None:
        if any(hours not in EVERY for hours in self.hours):
            raise ValueError("hours must be 1, 6 or 24")

    def windows(self, scene: Scene) -> Iterator[tuple[int, Bucket]]:
        """Windows that are due at the scene's minute, shortest first as set: their hours, and what is in them."""
        for hours in self.hours:
            if not (scene.minute + 1) % EVERY[hours]:
                yield hours, window(scene, hours)


def window(scene: Scene, hours: int) -> Bucket:
    """What is in the hours that end with the scene's minute."""
    return scene.blocks(HOUR_MINUTES) if hours == 1 else scene.hours(hours)


def window_of_open(scene: Scene, hours: int) -> Bucket:
    """The window in which a finding is judged that was opened over `hours`."""
    return window(scene, min(hours, LONGEST_FIRING_HOURS))


def in_words(hours: int) -> str:
    """`1 hour`, `6 hours`."""
    return f"{hours} {'hour' if hours == 1 else 'hours'}"
