"""Partials of all source partitions, merged by key: the pure store behind `judge`.

`upsert` takes absolute cells in any order and as often as they come; what was applied is remembered by source
partition, epoch and first offset, so a repeated or older cell changes nothing. Rolling sums are moved by the
difference, so that an update costs the same however long the history is. Must not know a rule, a clock or Kafka.

What is kept of a key: minutes for RING_MINUTES (with sketches, by source partition), hours for HOURS_WHOLE (the same),
and two numbers an hour for HOURS_KNOWN. Memory: a part (one source partition in one minute or hour) is about 0.7 kB, a
known hour 0.1 kB. A key that is active in every minute on one partition is 120 kB, a usual one (a dozen active minutes,
ten active hours) 20 kB; `max_keys` bounds their number, the least recently updated ones are forgotten.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.windows.timeline import RING_MINUTES, Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES
from schemas.partial import Cell, Key

HOURS_WHOLE: Final = 26
HOURS_KNOWN: Final = 8 * 24


class Store:
    """Timelines by key, trimmed as the watermark moves.

    Args:
        max_keys: Most keys held.
    """

    def __init__(self, max_keys: int = 50_000) -> None:
        self.timelines: dict[Key, Timeline] = {}
        self.minute = -1
        self.first_hour: int | None = None
        self.forgotten = 0
        self._max_keys = max_keys
        self._sequence = 0
        self._by_minute: dict[int, dict[Key, Timeline]] = {}
        self._by_hour: dict[int, dict[Key, Timeline]] = {}
        self._below: dict[str, dict[Key, Timeline]] = {}

    @property
    def ring_start(self) -> int:
        """First minute that is in the ring."""
        return self.minute - RING_MINUTES

    def upsert(self, partition: int, epoch: int, cell: Cell) -> Timeline | None:
        """Apply one cell; the timeline it changed, or None when it was known or is too old to matter."""
        if self.minute >= 0 and cell.start < (
            self.minute // HOUR_MINUTES - HOURS_WHOLE if cell.hour else self.ring_start
        ):
            return None
        timeline = self.timelines.get(cell.key)
        if timeline is None:
            if len(self.timelines) >= self._max_keys:
                self._forget_least_recent()
            timeline = self._add(Timeline(cell.key))
        self._sequence += 1
        timeline.touched = self._sequence
        origin = (partition, epoch, cell.since)
        if cell.hour:
            changed = timeline.put_hour(origin, cell)
            self._by_hour.setdefault(cell.start, {})[cell.key] = timeline
        else:
            changed = timeline.put_minute(origin, cell, self.ring_start)
            self._by_minute.setdefault(cell.start, {})[cell.key] = timeline
        hour = cell.start if cell.hour else cell.start // HOUR_MINUTES
        if self.first_hour is None or hour < self.first_hour:
            self.first_hour = hour
        return timeline if changed else None

    def _add(self, timeline: Timeline) -> Timeline:
        key = timeline.key
        self.timelines[key] = timeline
        if key[0] in ("feature", "model"):
            self._below.setdefault(key[1], {})[key] = timeline
        return timeline

    def below(self, tenant: str, dimension: str) -> list[Timeline]:
        """A tenant's `feature` or `model` timelines."""
        return [one for key, one in self._below.get(tenant, {}).items() if key[0] == dimension]

    def advance(self, minute: int) -> None:
        """Move to the minute that the watermark is in, and drop what is older than is kept."""
        if minute <= self.minute:
            return
        before, self.minute = self.minute, minute
        for old in sorted(m for m in self._by_minute if m < self.ring_start):
            for timeline in self._by_minute.pop(old).values():
                timeline.settle(old // HOUR_MINUTES)
                timeline.minutes.pop(old, None)
        now = minute // HOUR_MINUTES
        for old in [h for h in self._by_hour if h < now - HOURS_WHOLE]:
            for timeline in self._by_hour.pop(old).values():
                timeline.settle(old)
                timeline.hours.pop(old, None)
                timeline.slow = {h: known for h, known in timeline.slow.items() if h > old}
        if minute // DAY_MINUTES != before // DAY_MINUTES:
            self._sweep(now - HOURS_KNOWN)

    def _sweep(self, oldest: int) -> None:
        """Once a day: forget hours before `oldest`, and keys of which nothing is left."""
        for timeline in list(self.timelines.values()):
            timeline.past = {hour: known for hour, known in timeline.past.items() if hour >= oldest}
            timeline.flagged = {hour: True for hour in timeline.flagged if hour >= oldest}
            if not (timeline.minutes or timeline.hours or any(known.calls for known in timeline.past.values())):
                self.forget(timeline)

    def keys_in(self, first: int, length: int) -> dict[Key, Timeline]:
        """Keys with calls in the minutes `first` to `first + length - 1`, in the order of their first cell."""
        found: dict[Key, Timeline] = {}
        for minute in range(first, first + length):
            found.update(self._by_minute.get(minute, {}))
        return found

    def keys_in_hours(self, first: int, length: int) -> dict[Key, Timeline]:
        """Keys with calls in the hours `first` to `first + length - 1`."""
        found = self.keys_in(first * HOUR_MINUTES, length * HOUR_MINUTES)
        for hour in range(first, first + length):
            found.update(self._by_hour.get(hour, {}))
        return found

    def _forget_least_recent(self) -> None:
        oldest = sorted(self.timelines.values(), key=lambda one: one.touched)
        for timeline in oldest[: max(1, len(oldest) // 20)]:
            self.forget(timeline)

    def forget(self, timeline: Timeline) -> None:
        """Drop a key."""
        del self.timelines[timeline.key]
        self._below.get(timeline.key[1], {}).pop(timeline.key, None)
        for minute in timeline.minutes:
            self._by_minute[minute].pop(timeline.key, None)
        for hour in timeline.hours:
            self._by_hour[hour].pop(timeline.key, None)
        self.forgotten += 1

    def state(self) -> StoreState:
        """What a snapshot needs."""
        return StoreState(self.minute, self.first_hour, self._sequence, list(self.timelines.values()))

    def restore(self, state: StoreState) -> None:
        """Continue from a state; the store must be new."""
        self.minute, self.first_hour, self._sequence = state.minute, state.first_hour, state.sequence
        for timeline in state.timelines:
            self._add(timeline)
            for minute in timeline.minutes:
                self._by_minute.setdefault(minute, {})[timeline.key] = timeline
            for hour in timeline.hours:
                self._by_hour.setdefault(hour, {})[timeline.key] = timeline


class StoreState(msgspec.Struct):
    """A store as it is kept in a snapshot."""

    minute: int
    first_hour: int | None
    sequence: int
    timelines: list[Timeline]
