"""Partials of all source partitions, merged by key: the pure store behind `judge`.

`upsert` takes absolute cells in any order and as often as they come: what may still change is held by who said it, so a
repeated or older cell changes nothing; what is final is added up, and a repeat of it is known by its position. Sums
that rules ask for all the time are moved by the difference, so an update costs the same however long the history is.
Must not know a rule, a clock or Kafka.

What is kept of a key: blocks of five minutes until 90 minutes after their hour, hours for HOURS_WHOLE, days for
DAYS_WHOLE (all with sketches, packed, blocks from _RESTS_AFTER on), and numbers of every hour for eight days, of
tenants, providers and features for four weeks. Memory: a usual key takes 4 to 15 kB with all of it, one that is active
in every minute on four partitions up to 60 kB (`bench meter`). `max_keys` bounds their number; the least recently
updated ones are forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

import msgspec

from pipeline.windows import bucket as buckets
from pipeline.windows.keys import keys_of
from pipeline.windows.packing import pack, unpack
from pipeline.windows.progress import Progress
from pipeline.windows.ring import MINUTES
from pipeline.windows.timeline import BLOCK_MINUTES, BLOCKS_AN_HOUR, WITH_HABIT, WITH_MINUTES, Timeline, place_of
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES
from schemas.partial import Bucket, Cell, Failure, Glimpse, Key, Partials, Source

# Blocks are put together into their hour so long after its end, minutes.
ROLLED_AFTER: Final = 90
HOURS_WHOLE: Final = 26
DAYS_WHOLE: Final = 8
# A block is packed so long after its end, minutes: what comes later is late, and dear, but rare.
_RESTS_AFTER: Final = 2
# Time that passes at once is gone through so many blocks back; others are added up before long.
_STEPS: Final = 2 * BLOCKS_AN_HOUR
# When time jumps by more than this, minutes, nobody watched meanwhile: what was not seen is unknown, not zero.
DARK_AFTER: Final = 15

# Keys of so many sources are remembered.
_SOURCES: Final = 50_000
# Dimensions whose minutes are looked at while they go on.
AT_ONCE: Final = frozenset(("tenant", "feature"))

# Maker and source partition.
Owner = tuple[str, int]
# Whose cells, whether of an hour, and of which.
Place = tuple[str, int, bool, int]
# Epoch, source and `since`: what tells apart two cells of one place.
Origin = tuple[int, Source, int]


class Part(msgspec.Struct, array_like=True, gc=False):
    """The newest value of a cell that may still change, so that a later one can take its place in the sums.

    Attributes:
        upto: The position it reached.
        seen: The position that it or a glimpse of it reached.
        value: The aggregate, packed; empty while there were only glimpses of it.
        failures: Failed calls by the hash of their words, which is not kept in sums; None where there are none.
        calls: Calls that the rings of the keys in AT_ONCE know of.
        cost: Nano-dollars likewise.
    """

    upto: int = -1
    seen: int = -1
    value: bytes = b""
    failures: dict[str, int] | None = None
    calls: int = 0
    cost: int = 0


class Change(msgspec.Struct, gc=False):
    """What a cell changed.

    Attributes:
        timelines: Of the keys that its source is added up under.
        failures: Failed calls with what is new of them.
        cost: Nano-dollars that are new.
    """

    timelines: list[Timeline]
    failures: dict[str, Failure] = {}
    cost: int = 0


class Store:
    """Timelines by key, added up as the watermark moves.

    Args:
        max_keys: Most keys held.
    """

    def __init__(self, max_keys: int = 50_000) -> None:
        self.timelines: dict[Key, Timeline] = {}
        self.minute = -1
        self.first_hour: int | None = None
        self.dark: dict[int, bool] = {}
        self.forgotten = 0
        self.too_old = 0
        # Whether all partitions are heard of; set by the judge before rules are asked about silence.
        self.complete = True
        # What rules remember of a key's past, with the minute and revision it holds for; never in a snapshot.
        self.memos: dict[Key, tuple[tuple[int, int], dict[str, Any]]] = {}
        # The same by hour.
        self.hourly: dict[Key, tuple[tuple[int, int], dict[str, Any]]] = {}
        # By hour, too: dear to make and large, so only of so many keys.
        self.references: dict[tuple[Key, int, int], tuple[tuple[int, int], Any]] = {}
        self._max_keys = max_keys
        self._sequence = 0
        # Hours before it are put together.
        self._rolled = -1
        self._progress: dict[Owner, Progress] = {}
        self._parts: dict[Place, dict[Origin, Part]] = {}
        self._keys: dict[Source, tuple[Key, ...]] = {}
        # Minutes that were heard of, with the keys of the dimensions in WITH_MINUTES.
        self._by_minute: dict[int, dict[Key, Timeline]] = {}
        self._by_block: dict[int, dict[Key, Timeline]] = {}
        # Hours that are not put together yet; who has others is seen in its timeline.
        self._by_hour: dict[int, dict[Key, Timeline]] = {}
        self._below: dict[tuple[str, str], dict[Key, Timeline]] = {}
        # Who asks which provider's model.
        self._asking: dict[tuple[str, ...], dict[Key, Timeline]] = {}

    # -- cells in

    def upsert(self, record: Partials, cell: Cell) -> Change | None:
        """Apply one cell, whose bucket is taken over; None when it was known or is too old to matter."""
        part = self._part(record, cell.hour, cell.start, cell.source, cell.since, cell.upto)
        if part is None or cell.upto <= part.upto:
            return None
        new = cell.bucket
        _place(new, record.epoch, record.partition)
        failures = dict[str, Failure]()
        if new.quality is not None and new.quality.failures:
            failures, new.quality.failures = new.quality.failures, {}
            counted = {name: one.count for name, one in failures.items()}
            failures = _newer(failures, part.failures or {})
            part.failures = {**(part.failures or {}), **counted}
        before = unpack(part.value) if part.value else None
        added = new if before is None else buckets.difference(new, before)
        failed = buckets.failed(added.errors)
        # What a glimpse has shown already is not taken back by an older value.
        seen = (new.calls - part.calls, new.cost_nano_usd - part.cost) if cell.upto >= part.seen else (0, 0)
        timelines = [self._timeline(key) for key in self._keys_of(cell.source)]
        hour = cell.start if cell.hour else cell.start // HOUR_MINUTES
        self._hear_of(hour)
        whole_from = self.minute // HOUR_MINUTES - HOURS_WHOLE
        for timeline in timelines:
            timeline.add(cell.hour, cell.start, added, self._rolled, whole_from)
            if not cell.hour:
                calls, cost = seen if timeline.key[0] in AT_ONCE else (added.calls, added.cost_nano_usd)
                timeline.count(cell.start, calls, cost, failed, self.minute)
            self._index(timeline, hour, None if cell.hour else cell.start)
        part.upto, part.value = cell.upto, pack(new)
        if cell.upto >= part.seen:
            part.seen, part.calls, part.cost = cell.upto, new.calls, new.cost_nano_usd
        return Change(timelines, failures, added.cost_nano_usd)

    def glimpse(self, record: Partials, seen: Glimpse) -> Change | None:
        """Take what a minute that goes on has come to; None when that was known."""
        part = self._part(record, False, seen.start, seen.source, seen.since, seen.upto)
        if part is None or seen.upto <= part.seen:
            return None
        keys = (key for key in self._keys_of(seen.source) if key[0] in AT_ONCE)
        timelines = [self._timeline(key) for key in keys]
        self._hear_of(seen.start // HOUR_MINUTES)
        for timeline in timelines:
            timeline.count(seen.start, seen.calls - part.calls, seen.cost_nano_usd - part.cost, 0, self.minute)
            timeline.glimpse(seen.start, seen.max_cost_nano_usd)
            self._index(timeline, seen.start // HOUR_MINUTES, seen.start)
        part.seen, part.calls, part.cost = seen.upto, seen.calls, seen.cost_nano_usd
        return Change(timelines)

    def _hear_of(self, hour: int) -> None:
        if self.first_hour is None or hour < self.first_hour:
            self.first_hour = hour

    def _part(self, record: Partials, hour: bool, start: int, source: Source, since: int, upto: int) -> Part | None:
        """What is known of a cell; None when it is final, or too old to matter."""
        progress = self._progress.get((record.maker, record.partition))
        if progress is not None and progress.settles(record.epoch, hour, start, upto):
            return None
        if self.minute >= 0 and (start if hour else start // HOUR_MINUTES) < self.minute // HOUR_MINUTES - HOURS_WHOLE:
            self.too_old += 1
            return None
        parts = self._parts.setdefault((record.maker, record.partition, hour, start), {})
        part = parts.get((record.epoch, source, since))
        if part is None:
            part = parts[record.epoch, source, since] = Part()
        return part

    def _keys_of(self, source: Source) -> tuple[Key, ...]:
        keys = self._keys.get(source)
        if keys is None:
            if len(self._keys) >= _SOURCES:
                self._keys.clear()
            keys = self._keys[source] = keys_of(source)
        return keys

    def _timeline(self, key: Key) -> Timeline:
        timeline = self.timelines.get(key)
        if timeline is None:
            if len(self.timelines) >= self._max_keys:
                self._forget_least_recent()
            timeline = self._add(Timeline(key))
        self._sequence += 1
        timeline.touched = self._sequence
        return timeline

    def _index(self, timeline: Timeline, hour: int, minute: int | None) -> None:
        key = timeline.key
        if minute is not None:
            keys = self._by_minute.get(minute)
            if keys is None:
                keys = self._by_minute[minute] = {}
            if key[0] in WITH_MINUTES:
                keys[key] = timeline
            keys = self._by_block.get(minute // BLOCK_MINUTES)
            if keys is None:
                keys = self._by_block[minute // BLOCK_MINUTES] = {}
            keys[key] = timeline
        if hour < self._rolled:
            return
        keys = self._by_hour.get(hour)
        if keys is None:
            keys = self._by_hour[hour] = {}
        keys[key] = timeline

    def flushed(self, record: Partials) -> None:
        """Take the end of a flush: what has become final by it can change no more and is forgotten as a part."""
        if record.watermark is None:
            return
        owner = (record.maker, record.partition)
        progress = self._progress.get(owner)
        if progress is None:
            progress = self._progress[owner] = Progress()
        progress.kept_minutes = record.kept_minutes
        if not progress.note(record.epoch, record.watermark // 60_000, record.next_offset):
            return
        for place in [place for place in self._parts if place[:2] == owner]:
            _, _, hour, start = place
            if progress.final and not progress.is_over(hour, start):
                continue
            parts = self._parts[place]
            for origin in [
                origin for origin, part in parts.items() if progress.settles(origin[0], hour, start, part.seen)
            ]:
                del parts[origin]
            if not parts:
                del self._parts[place]

    # -- time

    def advance(self, minute: int) -> None:
        """Move to the minute that the watermark is in, and add up what is over."""
        if minute <= self.minute:
            return
        before, self.minute = self.minute, minute
        if before >= 0 and minute - before > DARK_AFTER:
            # Whoever catches up jumps, too, but finds calls on the way.
            heard = sorted(m for m in self._by_minute if before < m < minute)
            for first, last in pairwise((before, *heard, minute)):
                if last - first > DARK_AFTER:
                    self.dark |= dict.fromkeys(range(first // HOUR_MINUTES, last // HOUR_MINUTES + 1), True)
        resting = (minute - _RESTS_AFTER) // BLOCK_MINUTES
        for block in range(max((before - _RESTS_AFTER) // BLOCK_MINUTES, resting - _STEPS), resting):
            for timeline in self.keys_in_block(block).values():
                timeline.rest(block)
        self._roll(before, minute)
        oldest = minute - ROLLED_AFTER - HOUR_MINUTES
        for old in [m for m in self._by_minute if m < oldest]:
            del self._by_minute[old]
        for old in [block for block in self._by_block if block < oldest // BLOCK_MINUTES]:
            del self._by_block[old]
        if minute // DAY_MINUTES != before // DAY_MINUTES:
            self._sweep(minute // HOUR_MINUTES)

    def _roll(self, before: int, minute: int) -> None:
        rolled = self.rolled_at(minute)
        for hour in sorted(h for h in self._by_hour if self._rolled <= h < rolled):
            for timeline in self._by_hour.pop(hour).values():
                timeline.roll_hour(hour)
        self._rolled = max(self._rolled, rolled)
        if minute // HOUR_MINUTES == before // HOUR_MINUTES:
            return
        whole = minute // HOUR_MINUTES - HOURS_WHOLE
        for timeline in self.timelines.values():
            for hour in sorted(h for h in timeline.hours if h < whole):
                timeline.roll_day(hour)
            if minute - timeline.last_minute > MINUTES:
                timeline.ring = None
        # What was remembered of an hour or a minute that has passed is of no use any more.
        self.hourly.clear()
        self.memos.clear()

    def _sweep(self, hour: int) -> None:
        """Once a day: forget what is older than is kept, and keys of which nothing is left."""
        day = hour // 24
        for timeline in list(self.timelines.values()):
            timeline.book.trim(hour, far=timeline.key[0] in WITH_HABIT)
            timeline.days = {d: known for d, known in timeline.days.items() if d >= day - DAYS_WHOLE}
            timeline.usual = {d: known for d, known in timeline.usual.items() if d >= day - DAYS_WHOLE}
            oldest = timeline.book.first()
            timeline.tainted = {h: kind for h, kind in timeline.tainted.items() if oldest is not None and h >= oldest}
            if timeline.ring is not None:
                timeline.ring.rest()
            if oldest is None and not (timeline.blocks or timeline.hours or timeline.days):
                self.forget(timeline)
        self.dark = {h: True for h in self.dark if h >= hour - 35 * 24}

    # -- keys

    def _add(self, timeline: Timeline) -> Timeline:
        key = timeline.key
        self.timelines[key] = timeline
        self._below.setdefault(_group(key), {})[key] = timeline
        if key[0] == "model":
            self._asking.setdefault(key[3:], {})[key] = timeline
        return timeline

    def asking(self, provider: Key) -> list[Timeline]:
        """Timelines of `model` of all tenants that ask a provider's model."""
        return list(self._asking.get(provider[1:], {}).values())

    def below(self, tenant: str, dimension: str) -> list[Timeline]:
        """A tenant's timelines of a dimension; all of `provider` with an empty tenant."""
        return list(self._below.get((tenant, dimension), {}).values())

    def keys_in_minute(self, minute: int) -> Mapping[Key, Timeline]:
        """Keys of the dimensions in WITH_MINUTES that were counted in a minute."""
        return self._by_minute.get(minute, {})

    def keys_in_block(self, block: int) -> Mapping[Key, Timeline]:
        """Keys that were counted in a block of five minutes."""
        return self._by_block.get(block, {})

    def keys_in_hours(self, first: int, length: int) -> Mapping[Key, Timeline]:
        """Keys that were counted in the hours `first` to `first + length - 1`, as far as those are held."""
        found: dict[Key, Timeline] = {}
        for hour in range(max(first, self._rolled), first + length):
            found.update(self._by_hour.get(hour, {}))
        past = range(first, min(first + length, self._rolled))
        if past:
            found |= {key: one for key, one in self.timelines.items() if any(hour in one.hours for hour in past)}
        return found

    @staticmethod
    def rolled_at(minute: int) -> int:
        """The first hour that is not put together at a minute."""
        return (minute - ROLLED_AFTER) // HOUR_MINUTES

    def holds_blocks(self, minute: int) -> bool:
        """Whether blocks and single minutes of a minute are still held; before it only hours are."""
        return minute // HOUR_MINUTES >= self._rolled

    def _forget_least_recent(self) -> None:
        oldest = sorted(self.timelines.values(), key=lambda one: one.touched)
        for timeline in oldest[: max(1, len(oldest) // 20)]:
            self.forget(timeline)

    def forget(self, timeline: Timeline) -> None:
        """Drop a key."""
        key = timeline.key
        del self.timelines[key]
        self.memos.pop(key, None)
        self.hourly.pop(key, None)
        self._below[_group(key)].pop(key, None)
        if key[0] == "model":
            self._asking[key[3:]].pop(key, None)
        for index in (self._by_minute, self._by_block, self._by_hour):
            for keys in index.values():
                keys.pop(key, None)
        self.forgotten += 1

    # -- snapshots

    def state(self) -> StoreState:
        """What a snapshot needs."""
        return StoreState(
            self.minute,
            self.first_hour,
            self.dark,
            self._rolled,
            self._sequence,
            list(self._progress.items()),
            list(self.timelines.values()),
            [(place, list(parts.items())) for place, parts in self._parts.items()],
        )

    def restore(self, state: StoreState) -> None:
        """Continue from a state; the store must be new."""
        self.minute, self.first_hour, self.dark = state.minute, state.first_hour, state.dark
        self._rolled, self._sequence = state.rolled, state.sequence
        self._progress = dict(state.progress)
        for timeline in state.timelines:
            self._add(timeline)
            for block in timeline.blocks:
                self._index(timeline, block * BLOCK_MINUTES // HOUR_MINUTES, block * BLOCK_MINUTES)
            for minute in timeline.minutes:
                self._index(timeline, minute // HOUR_MINUTES, minute)
            for hour in timeline.hours:
                self._index(timeline, hour, None)
        self._parts = {place: dict(parts) for place, parts in state.parts}
        for (_, _, is_hour, start), parts in self._parts.items():
            for _, source, _ in parts:
                for key in self._keys_of(source):
                    known = self.timelines.get(key)
                    if known is not None and not is_hour:
                        self._index(known, start // HOUR_MINUTES, start)


class StoreState(msgspec.Struct):
    """A store as it is kept in a snapshot."""

    minute: int
    first_hour: int | None
    dark: dict[int, bool]
    rolled: int
    sequence: int
    progress: list[tuple[Owner, Progress]]
    timelines: list[Timeline]
    parts: list[tuple[Place, list[tuple[Origin, Part]]]]


def _group(key: Key) -> tuple[str, str]:
    return ("" if key[0] == "provider" else key[1], key[0])


def _place(bucket: Bucket, epoch: int, partition: int) -> None:
    """Turn the source offsets of a cell into places that mean something among all partitions."""
    if bucket.max_cost_at >= 0:
        bucket.max_cost_at = place_of(epoch, partition, bucket.max_cost_at)
    if bucket.slowest_at >= 0:
        bucket.slowest_at = place_of(epoch, partition, bucket.slowest_at)
    if bucket.failed_at >= 0:
        bucket.failed_at = place_of(epoch, partition, bucket.failed_at)
    if bucket.quality is not None:
        for kind, at in bucket.quality.samples.items():
            bucket.quality.samples[kind] = place_of(epoch, partition, at)
        for failure in bucket.quality.failures.values():
            failure.at = place_of(epoch, partition, failure.at)


def _newer(failures: dict[str, Failure], known: dict[str, int]) -> dict[str, Failure]:
    """Failures with how many of them were not known before."""
    return {
        name: msgspec.structs.replace(one, count=one.count - known.get(name, 0))
        for name, one in failures.items()
        if one.count > known.get(name, 0)
    }
