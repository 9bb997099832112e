"""All that is known of one key: its sums by five minutes, hour and day, and the numbers behind.

Pure; what is added to it, and when minutes become hours and days, is decided by `rolling.Store`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pipeline.windows import bucket as buckets
from pipeline.windows import ring as rings
from pipeline.windows import sketch
from pipeline.windows.book import Book, Day, Hour
from pipeline.windows.keys import WITH_QUALITY
from pipeline.windows.packing import pack, unpack
from pipeline.windows.ring import LENGTHS, Ring
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Bucket, Key
from schemas.position import Position

BLOCK_MINUTES: Final = 5
BLOCKS_AN_HOUR: Final = HOUR_MINUTES // BLOCK_MINUTES
# Dimensions whose single minutes are published, and so are kept.
WITH_MINUTES: Final = frozenset(("tenant", "provider"))
# Dimensions that rules ask for rolling sums of.
WITH_RING: Final = frozenset(("tenant", "provider", "feature", "model", "user"))
# Dimensions with a habit of the hour and the weekday: their hours are remembered for four weeks.
WITH_HABIT: Final = frozenset(("tenant", "provider", "feature"))

# A bucket that is being added to, or one at rest.
Sum = Bucket | bytes


class Timeline(msgspec.Struct, gc=False):
    """One key.

    Attributes:
        key: The key.
        minutes: Sums of minutes, of the dimensions in WITH_MINUTES, until their hour is added up.
        blocks: Sums of blocks of five minutes, until their hour is added up.
        fresh: Hours of which there are blocks.
        hours: Sums of hours, until they go into their day.
        days: Sums of days.
        usual: Sums of days without the hours that a finding covered, where the two differ.
        book: Numbers of hours and days.
        ring: The last minutes as numbers; None where there was no call lately.
        tainted: Hours that findings covered, with what kind of finding (bits of `detection.rule.Taint`).
        since: By kind of finding, the first hour that counts: what was before is another normal.
        touched: Sequence number of the last change.
        last_minute: Newest minute with a call.
        newest_dearest: A minute that goes on, and its most expensive call so far in nano-dollars.
        recent: Numbers of hours that are not in the book yet, made when they were asked for.
        revised: Counts changes of the past, for whoever remembers what was made of it.
        ready: Rules that have enough to judge by, and since when, in ms.
        objective_ms: Latency that calls of this key should not exceed; 0: none is set.
    """

    key: Key
    minutes: dict[int, Sum] = {}
    blocks: dict[int, Sum] = {}
    fresh: tuple[int, ...] = ()
    hours: dict[int, bytes] = {}
    days: dict[int, bytes] = {}
    usual: dict[int, bytes] = {}
    book: Book = msgspec.field(default_factory=Book)
    ring: Ring | None = None
    tainted: dict[int, int] = {}
    since: dict[int, int] = {}
    touched: int = 0
    last_minute: int = -1
    newest_dearest: tuple[int, int] = (-1, 0)
    recent: dict[int, Hour] = {}
    revised: int = 0
    ready: dict[str, int] = {}
    objective_ms: float = 0.0

    # -- in

    def add(self, hour: bool, start: int, bucket: Bucket, rolled_before: int, whole_from: int) -> None:
        """Add a bucket, which stays the caller's, to the sums of a minute, or of an hour.

        Hours before `rolled_before` are added up and in the book already; those before `whole_from` are in their days.
        """
        at = start if hour else start // HOUR_MINUTES
        if at < self.last_minute // HOUR_MINUTES:
            self.revised += 1
        if at >= rolled_before:
            self.recent.pop(at, None)
        elif bucket.calls:
            more = Hour(
                calls=float(bucket.calls),
                cost=float(bucket.cost_nano_usd),
                squares=float(bucket.cost_squares),
                dearest=float(bucket.max_cost_nano_usd),
                failed=float(buckets.failed(bucket.errors)),
            )
            if not self.book.add(at, more):
                self.book.put(at, more)
        if hour or at < rolled_before:
            self._into_hour(at, bucket, whole_from)
            return
        if self.key[0] in WITH_MINUTES:
            self._into(self.minutes, start, bucket)
        self._into(self.blocks, start // BLOCK_MINUTES, bucket)
        if at not in self.fresh:
            self.fresh = (*self.fresh, at)

    def count(self, minute: int, calls: int, cost: int, failed: int, judged: int) -> None:
        """Count calls of a minute in the ring, where the dimension has one; `judged` as `Ring.add` has it."""
        if self.key[0] not in WITH_RING:
            return
        if self.ring is None:
            self.ring = rings.ring(minute)
        self.ring.add(minute, calls, cost, failed, judged)
        if calls and minute > self.last_minute:
            self.last_minute = minute

    def glimpse(self, minute: int, dearest: int) -> None:
        """Take note of the most expensive call of a minute that goes on."""
        known, cost = self.newest_dearest
        if minute >= known:
            self.newest_dearest = (minute, max(cost, dearest) if minute == known else dearest)

    @property
    def is_whole(self) -> bool:
        """Whether quality and shape are counted for this key."""
        return self.key[0] in WITH_QUALITY

    def _into(self, sums: dict[int, Sum], start: int, bucket: Bucket) -> None:
        known = sums.get(start)
        total = Bucket() if known is None else unpacked(known)
        buckets.merge(total, bucket, whole=self.is_whole)
        sums[start] = pack(total) if isinstance(known, bytes) else total

    def _into_hour(self, hour: int, bucket: Bucket, whole_from: int) -> None:
        sums = self.hours
        if hour < whole_from:
            hour, sums = hour // 24, self.days
        total = unpack(sums[hour]) if hour in sums else Bucket()
        buckets.merge(total, bucket, whole=self.is_whole)
        sums[hour] = pack(total)

    # -- what findings covered

    def cover(self, hour: int, taint: int) -> None:
        """A finding of a kind covers an hour: it is no baseline for findings of that kind."""
        known = self.tainted.get(hour, 0)
        if known | taint != known:
            self.tainted[hour] = known | taint
            self.revised += 1

    def accept(self, began: int, taint: int) -> None:
        """What a finding was about has become the normal: its hours count again, and what was before does not."""
        for hour in [hour for hour in self.tainted if hour >= began]:
            self.tainted[hour] &= ~taint
            if not self.tainted[hour]:
                del self.tainted[hour]
        self.since[taint] = began
        self.revised += 1

    # -- adding up what is over

    def rest(self, block: int) -> None:
        """Pack a block and its minutes: they change seldom now."""
        _pack_in(self.blocks, block)
        for minute in range(block * BLOCK_MINUTES, (block + 1) * BLOCK_MINUTES):
            _pack_in(self.minutes, minute)

    def roll_hour(self, hour: int) -> None:
        """Write an hour's numbers into the book, and put its blocks together."""
        numbers = self.hour(hour)
        if numbers.calls:
            self.book.put(hour, numbers)
        self.recent.pop(hour, None)
        first = hour * BLOCKS_AN_HOUR
        held = [self.blocks.pop(block) for block in range(first, first + BLOCKS_AN_HOUR) if block in self.blocks]
        self.fresh = tuple(one for one in self.fresh if one != hour)
        for minute in [m for m in self.minutes if m // HOUR_MINUTES <= hour]:
            del self.minutes[minute]
        if held:
            total = buckets.merged(map(unpacked, held))
            known = self.hours.get(hour)
            if known is not None:
                buckets.merge(total, unpack(known))
            self.hours[hour] = pack(total)

    def roll_day(self, hour: int) -> None:
        """Put an hour into its day."""
        known = self.hours.pop(hour, None)
        if known is None:
            return
        day = hour // 24
        bucket, tainted = unpack(known), hour in self.tainted
        before = self.days.get(day)
        if tainted or day in self.usual:
            clean = self.usual.get(day, before)
            if not tainted:
                total = Bucket() if clean is None else unpack(clean)
                buckets.merge(total, bucket)
                clean = pack(total)
            self.usual[day] = clean if clean is not None else pack(Bucket())
        total = Bucket() if before is None else unpack(before)
        buckets.merge(total, bucket)
        self.days[day] = pack(total)

    # -- out: totals

    def minute_total(self, minute: int) -> Bucket:
        """The sum of a minute of a dimension in WITH_MINUTES."""
        return buckets.merged([unpacked(self.minutes[minute])] if minute in self.minutes else [])

    def block_total(self, block: int) -> Bucket:
        """The sum of a block of five minutes whose hour is not added up yet."""
        return self.blocks_total(block, 1)

    def blocks_total(self, first: int, count: int) -> Bucket:
        """The sum of `count` blocks, a bucket of the caller's own."""
        held = (self.blocks[block] for block in range(first, first + count) if block in self.blocks)
        return buckets.merged(map(unpacked, held))

    def hour_total(self, hour: int) -> Bucket:
        """The sum of an hour."""
        total = self.blocks_total(hour * BLOCKS_AN_HOUR, BLOCKS_AN_HOUR)
        if hour in self.hours:
            buckets.merge(total, unpack(self.hours[hour]))
        return total

    def hour_sum(self, hour: int) -> Sum:
        """The sum of an hour, as it is kept where that is the whole of it."""
        return self.hours[hour] if hour in self.hours and hour not in self.fresh else self.hour_total(hour)

    def day_total(self, day: int) -> Bucket:
        """The sum of a day."""
        total = unpack(self.days[day]) if day in self.days else Bucket()
        for hour in range(day * 24, day * 24 + 24):
            if self.has_hour(hour):
                buckets.merge(total, self.hour_total(hour))
        return total

    def has_hour(self, hour: int) -> bool:
        """Whether something of an hour is held that is not in its day yet."""
        return hour in self.hours or self._has_blocks(hour)

    def _has_blocks(self, hour: int) -> bool:
        return hour in self.fresh

    # -- out: numbers

    def seek(self, minute: int) -> None:
        """Move the rolling sums so that they end with `minute`, included."""
        if self.ring is not None:
            self.ring.seek(minute)

    @property
    def calls(self) -> list[int]:
        """Rolling calls for each of LENGTHS."""
        return self.ring.calls if self.ring is not None else _ZEROS

    @property
    def cost(self) -> list[int]:
        """Rolling nano-dollars for each of LENGTHS."""
        return self.ring.cost if self.ring is not None else _ZEROS

    @property
    def failed(self) -> list[int]:
        """Rolling failed calls for each of LENGTHS."""
        return self.ring.failed if self.ring is not None else _ZEROS

    def cost_by_minute(self, first: int, length: int) -> list[int]:
        """Nano-dollars of each minute from `first` on."""
        return self.ring.cost_of(first, length) if self.ring is not None else [0] * length

    def hour(self, hour: int) -> Hour:
        """Numbers of an hour that is over; zeros for an hour without calls."""
        known = self.recent.get(hour)
        if known is not None:
            return known
        fresh = self._has_blocks(hour)
        booked = None if fresh else self.book.hour(hour)
        if booked is not None:
            return booked
        if not fresh and hour not in self.hours:
            return _EMPTY
        known = self.recent[hour] = self._number(hour)
        return known

    def day(self, day: int) -> Day:
        """Numbers of a day, as far as it has passed."""
        known = self.book.day(day)
        # Hours whose blocks are still held are not in the book yet.
        for hour in sorted(self.fresh):
            if hour // 24 == day and self.book.hour(hour) is None:
                fresh = self.hour(hour)
                known = Day(
                    known.calls + fresh.calls,
                    known.cost + fresh.cost,
                    known.failed + fresh.failed,
                    known.slow + fresh.slow,
                )
        return known

    def _number(self, hour: int) -> Hour:
        total, first = self.hour_total(hour), hour * HOUR_MINUTES
        cost = float(total.cost_nano_usd)
        money = self.cost_by_minute(first, HOUR_MINUTES)
        counted = sum(money)
        spread, quarters = float("nan"), (0, 0, 0, 0)
        if counted and counted >= 0.9 * cost:
            blocks = [sum(money[at : at + 5]) for at in range(0, HOUR_MINUTES, 5)]
            spread = float(sum(block * block for block in blocks) - counted * counted / 12)
            a, b, c, d = (round(255 * sum(money[at : at + 15]) / counted) for at in range(0, HOUR_MINUTES, 15))
            quarters = (a, b, c, d)
        p95 = sketch.quantile(total.latency, 0.95)
        return Hour(
            calls=float(total.calls),
            cost=cost,
            squares=float(total.cost_squares),
            spread=spread,
            dearest=float(total.max_cost_nano_usd),
            failed=float(buckets.failed(total.errors)),
            slow=float(sketch.above(total.latency, self.objective_ms)) if self.objective_ms else 0.0,
            p95_ms=float("nan") if p95 is None else p95,
            quarters=quarters,
        )

    # -- out: where to look

    def dearest_call(self, last: int, length: int) -> int:
        """Cost of the most expensive call of the blocks that the `length` minutes up to `last` touch, nano-dollars."""
        minute, dearest = self.newest_dearest
        most = dearest if last - length < minute <= last else 0
        return max([most, *(bucket.max_cost_nano_usd for bucket in self._pieces(last - length + 1, length))])

    def dearest(self, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of expensive calls, the most expensive of each block or minute, dearest first."""
        found = [(-b.max_cost_nano_usd, b.max_cost_at) for b in self._pieces(first, length) if b.max_cost_nano_usd]
        return tuple(position_of(at) for _, at in sorted(found)[:most])

    def slowest(self, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of slow calls, the slowest of each block or minute, slowest first."""
        found = [(-b.slowest_ms, b.slowest_at) for b in self._pieces(first, length) if b.slowest_at >= 0]
        return tuple(position_of(at) for _, at in sorted(found)[:most])

    def newest_failed(self, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of calls that did not end well, newest first."""
        found = sorted({b.failed_at for b in self._pieces(first, length) if b.failed_at >= 0}, reverse=True)
        return tuple(map(position_of, found[:most]))

    def samples(self, kind: str, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of calls of a kind of `Quality.samples`, newest first."""
        found = {
            b.quality.samples[kind]
            for b in self._pieces(first, length)
            if b.quality is not None and kind in b.quality.samples
        }
        return tuple(map(position_of, sorted(found, reverse=True)[:most]))

    def _pieces(self, first: int, length: int) -> Iterator[Bucket]:
        """Every sum that the minutes from `first` on touch: blocks, or hours where those are added up."""
        rolled = set()
        for block in range(first // BLOCK_MINUTES, (first + length - 1) // BLOCK_MINUTES + 1):
            if block in self.blocks:
                yield unpacked(self.blocks[block])
            elif block // BLOCKS_AN_HOUR in self.hours:
                rolled.add(block // BLOCKS_AN_HOUR)
        for hour in sorted(rolled):
            yield unpack(self.hours[hour])


_ZEROS: Final = [0] * len(LENGTHS)
_EMPTY: Final = Hour(0.0, 0.0)


def unpacked(known: Sum) -> Bucket:
    """A sum as a bucket; changes to it may change what is kept."""
    return known if isinstance(known, Bucket) else unpack(known)


def _pack_in(sums: dict[int, Sum], start: int) -> None:
    known = sums.get(start)
    if isinstance(known, Bucket):
        sums[start] = pack(known)


# -- places: a position as one number, so that sums over partitions can keep it

_OFFSET_BITS: Final = 44
_PARTITION_BITS: Final = 10


def place_of(epoch: int, partition: int, offset: int) -> int:
    """A position as one number, ordered as positions are; -1 for none."""
    return -1 if offset < 0 else ((epoch << _PARTITION_BITS | partition) << _OFFSET_BITS) | offset


def position_of(place: int) -> str:
    """The position that a number stands for, as findings name it."""
    partition = place >> _OFFSET_BITS & (1 << _PARTITION_BITS) - 1
    return str(Position(place >> _OFFSET_BITS + _PARTITION_BITS, partition, place & (1 << _OFFSET_BITS) - 1))
