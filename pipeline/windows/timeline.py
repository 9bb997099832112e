"""What is known of one key: minutes by source partition, hours, and numbers of the past. Pure.

Cells are absolute: `put_minute` and `put_hour` may be given them in any order and as often as they come; what was
applied is remembered by source partition, epoch and first offset. Rolling sums are moved by the difference, so that an
update costs the same however long the history is. How long what is kept is decided by `rolling.Store`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from pipeline.windows import bucket as buckets
from pipeline.windows import sketch
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Bucket, Cell, Key
from schemas.position import Position

RING_MINUTES: Final = 150
# Lengths of the rolling sums, in minutes.
LENGTHS: Final = (5, 20, 60, 120)

# Further back, minutes that have to be taken out of a sum may have left the ring.
_STEP_BY_STEP: Final = RING_MINUTES - LENGTHS[-1] - 5

# Source partition, epoch, `since`: who made a cell.
Origin = tuple[int, int, int]


class Slot(msgspec.Struct, gc=False):
    """One minute or hour of a key: the newest cell of every origin, and the sums of what rules look at most."""

    parts: dict[Origin, Cell] = {}
    calls: int = 0
    cost: int = 0
    unpriced: int = 0

    def put(self, origin: Origin, cell: Cell) -> tuple[int, int] | None:
        """Apply a cell; the change in calls and cost, or None when it was known already."""
        old = self.parts.get(origin)
        if old is not None and old.upto >= cell.upto:
            return None
        self.parts[origin] = cell
        before = (self.calls, self.cost)
        new, gone = cell.bucket, old.bucket if old is not None else _NOTHING
        self.calls += new.calls - gone.calls
        self.cost += new.cost_nano_usd - gone.cost_nano_usd
        self.unpriced += new.unpriced - gone.unpriced
        return self.calls - before[0], self.cost - before[1]

    def squares(self) -> int:
        """Sum of squared costs, in squared micro-dollars."""
        return sum(cell.bucket.cost_squares for cell in self.parts.values())

    def buckets(self) -> Iterator[Bucket]:
        """The buckets of all origins."""
        return (cell.bucket for cell in self.parts.values())


_NOTHING: Final = Bucket()


class Hour(msgspec.Struct, gc=False):
    """What is remembered of a past hour.

    Attributes:
        calls: Calls.
        cost: Nano-dollars.
        spread: Sum of squared deviations of its twelve five-minute costs from their mean (nano-dollars squared): how
            unevenly cost comes. None where only the hour as a whole is known.
        quarters: Cost of each quarter of it; empty where only the whole is known.
        squares: Sum of squared costs of its calls, in squared micro-dollars.
    """

    calls: int
    cost: int
    spread: float | None = None
    quarters: tuple[int, ...] = ()
    squares: int = 0

    def between(self, start: float, end: float) -> float:
        """Cost from `start` to `end`, parts of the hour between 0 and 1, spread evenly within a quarter."""
        if not self.quarters:
            return self.cost * (end - start)
        total = 0.0
        for place, cost in enumerate(self.quarters):
            covered = min(end, (place + 1) / 4) - max(start, place / 4)
            if covered > 0:
                total += cost * covered * 4
        # What came too late for its quarter to be known is spread evenly.
        return total + (self.cost - sum(self.quarters)) * (end - start)


class HourLatency(msgspec.Struct, gc=False):
    """Latencies of one whole hour: how many, their p95 in ms, and the sketch."""

    calls: int
    p95: float | None
    counts: dict[int, int]


_EMPTY: Final = Hour(0, 0)


class Timeline(msgspec.Struct, gc=False):
    """All that is known of one key.

    Attributes:
        key: The key.
        minutes: Minutes in the ring.
        hours: Whole hours.
        past: Numbers of past hours; a gap is an hour without calls.
        slow: Latencies of whole hours, kept from when a rule first asked until the hour changes.
        flagged: Hours that a finding covered; they are no baseline.
        touched: Sequence number of the last update.
        cursor: Minute that the rolling sums end with (inclusive).
        calls: Rolling calls for each of LENGTHS.
        cost: Rolling cost for each of LENGTHS.
    """

    key: Key
    minutes: dict[int, Slot] = {}
    hours: dict[int, Slot] = {}
    past: dict[int, Hour] = {}
    slow: dict[int, HourLatency] = {}
    flagged: dict[int, bool] = {}
    touched: int = 0
    cursor: int = -1
    calls: list[int] = msgspec.field(default_factory=lambda: [0] * len(LENGTHS))
    cost: list[int] = msgspec.field(default_factory=lambda: [0] * len(LENGTHS))

    def seek(self, minute: int) -> None:
        """Move the rolling sums so that they end with `minute`, included."""
        behind = minute - self.cursor
        if behind == 0:
            return
        if not 0 < behind <= _STEP_BY_STEP:
            self._sum_again(minute)
            return
        at, calls, cost = self.minutes.get, self.calls, self.cost
        for now in range(self.cursor + 1, minute + 1):
            new = at(now)
            for place, length in enumerate(LENGTHS):
                if new is not None:
                    calls[place] += new.calls
                    cost[place] += new.cost
                old = at(now - length)
                if old is not None:
                    calls[place] -= old.calls
                    cost[place] -= old.cost
        self.cursor = minute

    def _sum_again(self, minute: int) -> None:
        self.cursor = minute
        for place, length in enumerate(LENGTHS):
            slots = [self.minutes[m] for m in range(minute - length + 1, minute + 1) if m in self.minutes]
            self.calls[place] = sum(slot.calls for slot in slots)
            self.cost[place] = sum(slot.cost for slot in slots)

    def put_minute(self, origin: Origin, cell: Cell, ring_start: int) -> bool:
        """Apply a minute's cell; False when it was known."""
        slot = self.minutes.get(cell.start)
        if slot is None:
            slot = self.minutes[cell.start] = Slot()
        change = slot.put(origin, cell)
        if change is None:
            return False
        behind = self.cursor - cell.start
        if 0 <= behind < LENGTHS[-1]:
            for place, length in enumerate(LENGTHS):
                if behind < length:
                    self.calls[place] += change[0]
                    self.cost[place] += change[1]
        hour = cell.start // HOUR_MINUTES
        self.slow.pop(hour, None)
        if hour * HOUR_MINUTES >= ring_start:
            self.past.pop(hour, None)
        elif hour in self.past:
            # Some of its minutes have left the ring: it can be corrected, but not be numbered again.
            self.past[hour].calls += change[0]
            self.past[hour].cost += change[1]
        return True

    def put_hour(self, origin: Origin, cell: Cell) -> bool:
        """Apply an hour's cell; False when it was known."""
        slot = self.hours.get(cell.start)
        if slot is None:
            slot = self.hours[cell.start] = Slot()
        if slot.put(origin, cell) is None:
            return False
        self.slow.pop(cell.start, None)
        known = self.past.get(cell.start)
        if known is not None:
            # Cells only grow: of two values for the same hour the higher one knows more.
            known.calls = max(known.calls, slot.calls)
            known.cost = max(known.cost, slot.cost)
            known.squares = max(known.squares, slot.squares())
        return True

    def hour(self, hour: int, ring_start: int) -> Hour:
        """Numbers of one hour that is over, zero for an hour without calls."""
        known = self.past.get(hour)
        if known is not None:
            return known
        if (hour + 1) * HOUR_MINUTES > ring_start:
            known = self.past[hour] = self._number(hour)
            return known
        slot = self.hours.get(hour)
        return _EMPTY if slot is None else Hour(slot.calls, slot.cost, squares=slot.squares())

    def settle(self, hour: int) -> None:
        """Number an hour for good, before its first minute leaves the ring."""
        if hour not in self.past:
            self.past[hour] = self._number(hour)

    def _number(self, hour: int) -> Hour:
        first = hour * HOUR_MINUTES
        calls, squares, blocks = 0, 0, [0] * 12
        for minute in range(first, first + HOUR_MINUTES):
            slot = self.minutes.get(minute)
            if slot is not None:
                calls += slot.calls
                squares += slot.squares()
                blocks[(minute - first) // 5] += slot.cost
        cost = sum(blocks)
        spread = float(sum(block * block for block in blocks) - cost * cost / 12) if calls else None
        whole = self.hours.get(hour)
        if whole is not None:
            calls, cost, squares = max(calls, whole.calls), max(cost, whole.cost), max(squares, whole.squares())
        quarters = tuple(sum(blocks[place : place + 3]) for place in range(0, 12, 3)) if calls else ()
        return Hour(calls, cost, spread, quarters, squares)

    def total(self, first: int, length: int) -> Bucket:
        """The sum of the minutes `first` to `first + length - 1`, which must be in the ring."""
        total = Bucket()
        for minute in range(first, first + length):
            slot = self.minutes.get(minute)
            if slot is not None:
                for bucket in slot.buckets():
                    buckets.merge(total, bucket)
        return total

    def whole_hour(self, hour: int, ring_start: int) -> Bucket:
        """The sum of an hour: from its minutes while all of them are in the ring, else from its hour cells."""
        if hour * HOUR_MINUTES >= ring_start:
            return self.total(hour * HOUR_MINUTES, HOUR_MINUTES)
        slot = self.hours.get(hour)
        return buckets.merged(slot.buckets()) if slot is not None else Bucket()

    def hour_latency(self, hour: int, ring_start: int) -> HourLatency:
        """Latencies of an hour that is over."""
        known = self.slow.get(hour)
        if known is None:
            counts = self.whole_hour(hour, ring_start).latency
            known = HourLatency(sum(counts.values()), sketch.quantile(counts, 0.95), counts)
            self.slow[hour] = known
        return known

    def dearest_call(self, last: int, length: int) -> int:
        """Cost of the most expensive call of the `length` minutes that end with `last`, in nano-dollars."""
        cells = self._cells(last - length + 1, length)
        return max((cell.bucket.max_cost_nano_usd for _, cell in cells), default=0)

    def dearest(self, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of expensive calls, the most expensive of each minute and origin, dearest first."""
        cells = self._cells(first, length)
        found = [(-cell.bucket.max_cost_nano_usd, _position(origin, cell.bucket.max_cost_at)) for origin, cell in cells]
        return tuple(position for cost, position in sorted(found)[:most] if cost)

    def slowest(self, first: int, length: int, most: int = 5) -> tuple[str, ...]:
        """Positions of slow calls, the slowest of each minute and origin, slowest first."""
        cells = self._cells(first, length)
        found = [(-cell.bucket.slowest_ms, _position(origin, cell.bucket.slowest_at)) for origin, cell in cells]
        return tuple(position for slow, position in sorted(found)[:most] if slow)

    def _cells(self, first: int, length: int) -> Iterator[tuple[Origin, Cell]]:
        for minute in range(first, first + length):
            slot = self.minutes.get(minute)
            if slot is not None:
                yield from slot.parts.items()

    def latencies(self, first: int, length: int) -> sketch.Sketch:
        """Latency sketch of the minutes `first` to `first + length - 1`."""
        total: sketch.Sketch = {}
        for minute in range(first, first + length):
            slot = self.minutes.get(minute)
            if slot is not None:
                for bucket in slot.buckets():
                    sketch.merge(total, bucket.latency)
        return total


def _position(origin: Origin, offset: int) -> str:
    partition, epoch, _ = origin
    return str(Position(epoch, partition, offset))
