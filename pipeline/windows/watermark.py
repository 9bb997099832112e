"""Event-time clocks: how far the facts of a partition have come, and how far all of them together.

Pure values in and out; wall time never enters. Ticks are facts like others and keep a silent partition moving.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
HOUR_MINUTES: Final = 60
DAY_MINUTES: Final = 1_440
DAY_HOURS: Final = 24
WEEK_HOURS: Final = 7 * DAY_HOURS


class PartitionClock(msgspec.Struct):
    """What the judge knows of one source partition's time.

    Attributes:
        watermark: Event time in ms.
        moved_at: Append time (ms, from the log) of the record with which the watermark last moved.
    """

    watermark: int
    moved_at: int


@dataclass(slots=True)
class MergedClock:
    """The minimum of the watermarks of all living source partitions; never goes back.

    A partition lives as long as its watermark moved within `silence_ms` of log time before the newest record. One that
    stands still (its `measure` is gone) must not hold back the alarms of the others; when it comes back, its events
    are late and correct their buckets. Until all `expected` partitions have been heard of, or `silence_ms` of log time
    have passed since the first was, there is no merged time: a tenant's traffic on one partition alone would look like
    a fall, and the others' arrival like a spike.

    Attributes:
        expected: Number of source partitions.
        silence_ms: See above.
    """

    expected: int
    silence_ms: int = 30_000
    partitions: dict[int, PartitionClock] = field(default_factory=dict)
    first_at: int | None = None
    newest_at: int = 0
    watermark: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all partitions are known and living: only then is silence nobody's failure to look."""
        living = [c for c in self.partitions.values() if self.newest_at - c.moved_at <= self.silence_ms]
        return len(living) >= self.expected

    def update(self, partition: int, watermark: int, appended_at: int) -> int | None:
        """Take note of one partition's watermark; returns the merged one (ms), None while there is none."""
        self.newest_at = max(self.newest_at, appended_at)
        if self.first_at is None:
            self.first_at = appended_at
        known = self.partitions.get(partition)
        if known is None:
            self.partitions[partition] = PartitionClock(watermark, self.newest_at)
        elif watermark > known.watermark:
            known.watermark = watermark
            known.moved_at = self.newest_at
        if len(self.partitions) < self.expected and self.newest_at - self.first_at < self.silence_ms:
            return None
        living = [c.watermark for c in self.partitions.values() if self.newest_at - c.moved_at <= self.silence_ms]
        if living:
            slowest = min(living)
            if self.watermark is None or slowest > self.watermark:
                self.watermark = slowest
        return self.watermark
