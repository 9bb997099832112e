"""The numbers of past hours and days of one key, packed: what baselines are made of.

Three lists of records in order of time, one for each hour or day in which something happened. An hour without a record
had no calls. Memory: 40 bytes an hour for NEAR_HOURS, 12 bytes an hour from there to FAR_HOURS (of dimensions that keep
so much, see `far`), 20 bytes a day for DAYS: 14 kB for a key that was never silent in four weeks.

Numbers are single precision: seven digits, of what is compared with and never of what is paid.
"""

from __future__ import annotations

import struct
import sys
from typing import Final

import msgspec

NEAR_HOURS: Final = 8 * 24
FAR_HOURS: Final = 28 * 24 + 26
DAYS: Final = 35

_HOUR: Final = struct.Struct("=I8f4B")
_FAR: Final = struct.Struct("=Iff")
_DAY: Final = struct.Struct("=Iffff")
_NAN: Final = float("nan")


class Hour(msgspec.Struct, gc=False):
    """What is remembered of a past hour.

    Attributes:
        calls: Calls.
        cost: Nano-dollars.
        squares: Sum of squared costs of its calls, in squared micro-dollars.
        spread: Sum of squared deviations of its twelve five-minute costs from their mean (nano-dollars squared): how
            unevenly cost comes. Not a number where only the hour as a whole is known.
        dearest: Cost of its most expensive call, in nano-dollars.
        failed: Calls that did not work.
        slow: Calls that were slower than the key's objective, where it has one.
        p95_ms: 95th percentile of the latency; not a number where none was measured.
        quarters: Share of the cost that came in each quarter of it, 0 to 255; all 0 where that is not known.
    """

    calls: float
    cost: float
    squares: float = 0.0
    spread: float = _NAN
    dearest: float = 0.0
    failed: float = 0.0
    slow: float = 0.0
    p95_ms: float = _NAN
    quarters: tuple[int, int, int, int] = (0, 0, 0, 0)

    def between(self, start: float, end: float) -> float:
        """Cost from `start` to `end`, parts of the hour between 0 and 1, spread evenly within a quarter."""
        total = sum(self.quarters)
        if not total:
            return self.cost * (end - start)
        share = 0.0
        for place, part in enumerate(self.quarters):
            covered = min(end, (place + 1) / 4) - max(start, place / 4)
            if covered > 0:
                share += part * covered * 4
        return self.cost * share / total


class Day(msgspec.Struct, gc=False):
    """What is remembered of a past day: calls, nano-dollars, failed calls, calls slower than the objective."""

    calls: float = 0.0
    cost: float = 0.0
    failed: float = 0.0
    slow: float = 0.0


class Book(msgspec.Struct, gc=False):
    """The records.

    Attributes:
        near: Hours of the last days, `_HOUR` each.
        far: Hours before them, `_FAR` each.
        days: Days, `_DAY` each.
    """

    near: bytearray = msgspec.field(default_factory=bytearray)
    far: bytearray = msgspec.field(default_factory=bytearray)
    days: bytearray = msgspec.field(default_factory=bytearray)

    def put(self, hour: int, known: Hour) -> None:
        """Write an hour, in place of what was known of it."""
        record = _HOUR.pack(
            hour, known.calls, known.cost, known.squares, known.spread, known.dearest, known.failed, known.slow,
            known.p95_ms, *known.quarters,
        )  # fmt: skip
        place, found = _find(self.near, _HOUR.size, hour)
        before = self.hour(hour) if found else None
        self.near[place : place + (_HOUR.size if found else 0)] = record
        gone = (before.calls, before.cost, before.failed, before.slow) if before is not None else (0.0, 0.0, 0.0, 0.0)
        self._count_day(
            hour // 24, known.calls - gone[0], known.cost - gone[1], known.failed - gone[2], known.slow - gone[3]
        )

    def add(self, hour: int, more: Hour) -> bool:
        """Correct an hour by late calls; False when there is no record of it."""
        place, found = _find(self.near, _HOUR.size, hour)
        if not found:
            return False
        values = list(_HOUR.unpack_from(self.near, place))
        values[1] += more.calls
        values[2] += more.cost
        values[3] += more.squares
        values[5] = max(values[5], more.dearest)
        values[6] += more.failed
        _HOUR.pack_into(self.near, place, *values)
        self._count_day(hour // 24, more.calls, more.cost, more.failed, 0.0)
        return True

    def hour(self, hour: int) -> Hour | None:
        """What is known of an hour; None where it had no calls, or is too long ago."""
        place, found = _find(self.near, _HOUR.size, hour)
        if found:
            values = _HOUR.unpack_from(self.near, place)
            return Hour(*values[1:9], values[9:13])  # type: ignore[call-arg]
        place, found = _find(self.far, _FAR.size, hour)
        return Hour(*_FAR.unpack_from(self.far, place)[1:]) if found else None

    def day(self, day: int) -> Day:
        """What is known of a day; hours that are not written yet are missing in it."""
        place, found = _find(self.days, _DAY.size, day)
        return Day(*_DAY.unpack_from(self.days, place)[1:]) if found else Day()

    def _count_day(self, day: int, calls: float, cost: float, failed: float, slow: float) -> None:
        place, found = _find(self.days, _DAY.size, day)
        old = _DAY.unpack_from(self.days, place)[1:] if found else (0.0, 0.0, 0.0, 0.0)
        new = (old[0] + calls, old[1] + cost, old[2] + failed, old[3] + slow)
        self.days[place : place + (_DAY.size if found else 0)] = _DAY.pack(day, *new)

    def trim(self, hour: int, *, far: bool) -> None:
        """Drop what is older than is kept, seen from `hour`; `far` keeps hours of four weeks."""
        while self.near and _first(self.near) < hour - NEAR_HOURS:
            if far:
                self.far += _FAR.pack(*_HOUR.unpack_from(self.near, 0)[:3])
            del self.near[: _HOUR.size]
        while self.far and _first(self.far) < hour - FAR_HOURS:
            del self.far[: _FAR.size]
        while self.days and _first(self.days) < hour // 24 - DAYS:
            del self.days[: _DAY.size]

    def day_numbers(self) -> list[int]:
        """The days that have a record."""
        return memoryview(self.days).cast("I")[:: _DAY.size // 4].tolist() if self.days else []

    def hours(self) -> int:
        """How many hours have a record."""
        return len(self.near) // _HOUR.size + len(self.far) // _FAR.size

    def first(self) -> int | None:
        """The first hour that has a record."""
        return _first(self.far) if self.far else _first(self.near) if self.near else None


def _first(records: bytearray) -> int:
    return int.from_bytes(records[:4], sys.byteorder)


def _find(records: bytearray, size: int, number: int) -> tuple[int, bool]:
    """Where the record of an hour or day begins or would begin, and whether it is there.

    Records are mostly without holes: where it would then be is tried first.
    """
    count = len(records) // size
    if not count:
        return 0, False
    numbers = memoryview(records).cast("I")
    step = size // 4
    last = numbers[(count - 1) * step]
    if number > last:
        return count * size, False
    guess = count - 1 - (last - number)
    if guess >= 0 and numbers[guess * step] == number:
        return guess * size, True
    low, high = max(0, guess), count
    while low < high:
        middle = (low + high) // 2
        if numbers[middle * step] < number:
            low = middle + 1
        else:
            high = middle
    return low * size, low < count and numbers[low * step] == number
