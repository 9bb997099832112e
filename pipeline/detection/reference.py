"""What a key usually does, as sums: the last seven days without the hours that findings covered. Reads timelines.

What is compared with it is never in it: days begin a day before the window under test where enough are known, else the
reference ends where the window begins. Made once an hour for a key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline.detection.chance import Counts, dispersion
from pipeline.windows import bucket as buckets
from pipeline.windows.timeline import Sum, Timeline, unpacked
from schemas.partial import Bucket

DAYS: Final = 7
# Hours before the present one that are left out: the longest window under test.
LEFT_OUT_HOURS: Final = 24
# A key that is younger than this has no day to leave out.
YOUNG_HOURS: Final = 72


@dataclass(frozen=True, slots=True)
class Reference:
    """What is usual.

    Attributes:
        total: The sum.
        sums: What it is the sum of: days, and the hours that are in none yet. Those at rest are the key's own bytes.
        days: How many of them, at the beginning, are days.
    """

    total: Bucket
    sums: tuple[Sum, ...]
    days: int = 0

    @property
    def parts(self) -> tuple[Bucket, ...]:
        """The sums as buckets; few findings come so far that they are looked at."""
        return tuple(map(unpacked, self.sums))

    def dispersion(self, of: Callable[[Bucket], tuple[float, float]]) -> float:
        """How a rate varies from part to part; `of` gives (hits, count) of a bucket."""
        return dispersion(self.past(of))

    def past(self, of: Callable[[Bucket], tuple[float, float]]) -> Counts:
        """(hits, count) of each part."""
        return [of(part) for part in self.parts]


def reference(timeline: Timeline, hour: int, window_hours: int, taint: int) -> Reference:
    """What is usual before a window that ends in an hour.

    Args:
        timeline: The key.
        hour: The hour of the last minute under test.
        window_hours: How long the window is.
        taint: Kind of finding whose hours do not count.
    """
    first = timeline.book.first()
    young = first is None or hour - first < YOUNG_HOURS
    end = hour - (window_hours if young else max(window_hours, LEFT_OUT_HOURS))
    since = timeline.since.get(taint, 0)
    begin = max(hour - DAYS * 24, since)
    sums: list[Sum] = []
    # What has gone into its day is older than any window.
    for day in range((hour - DAYS * 24) // 24, hour // 24 + 1):
        known = timeline.usual.get(day, timeline.days.get(day))
        if known is not None and day * 24 >= since:
            sums.append(known)
    of_days = len(sums)
    for at in range(begin, end):
        if not (timeline.tainted.get(at, 0) & taint) and timeline.has_hour(at):
            sums.append(timeline.hour_sum(at))
    total, held, days = Bucket(), list[Sum](), 0
    for place, one in enumerate(sums):
        part = unpacked(one)
        buckets.merge(total, part)
        if part.facts:
            held.append(one)
            days += place < of_days
    return Reference(total, tuple(held), days)
