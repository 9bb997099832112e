"""The last minutes of one key as plain numbers: calls, cost and failed calls, and their sums over rolling windows.

Rules ask for these sums with every update, so they are moved by the difference and cost the same however long the
windows are. Memory: 16 bytes a minute for MINUTES minutes, whether there were calls or not, and only while there are
some. Must not know where the numbers come from.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

# More than the longest window, because partitions are not equally far.
MINUTES: Final = 192
# Lengths of the rolling sums, in minutes.
LENGTHS: Final = (5, 10, 20, 60, 120)
# Further than this it is cheaper to sum again than to go step by step.
_STEP_BY_STEP: Final = 12

_CALLS: Final = slice(0, 4 * MINUTES)
_COST: Final = slice(4 * MINUTES, 12 * MINUTES)
_FAILED: Final = slice(12 * MINUTES, 16 * MINUTES)
BYTES: Final = 16 * MINUTES
_ADD_CALLS: Final = struct.Struct("=I")
_ADD_COST: Final = struct.Struct("=q")
# For each number of minutes behind, the first length that reaches back so far.
_FIRST_LENGTH: Final = [next(p for p, length in enumerate(LENGTHS) if n < length) for n in range(LENGTHS[-1])]


class Ring(msgspec.Struct, gc=False):
    """Minutes `newest - MINUTES + 1` to `newest`, and sums that end with the minute `cursor`, included.

    Attributes:
        newest: Newest minute that was counted in.
        cursor: Last minute of the sums.
        data: Calls (u32), cost in nano-dollars (i64) and failed calls (u32) of each minute, at its number modulo
            MINUTES.
        calls: Calls for each of LENGTHS.
        cost: Nano-dollars for each of LENGTHS.
        failed: Failed calls for each of LENGTHS.
    """

    newest: int
    cursor: int
    data: bytearray
    calls: list[int]
    cost: list[int]
    failed: list[int]

    def add(self, minute: int, calls: int, cost: int, failed: int) -> bool:
        """Count into a minute; False when it has left the ring."""
        behind = self.newest - minute
        if behind >= MINUTES:
            return False
        if behind < 0:
            self._clear(minute)
        at, data = minute % MINUTES, self.data
        _ADD_CALLS.pack_into(data, 4 * at, _ADD_CALLS.unpack_from(data, 4 * at)[0] + calls)
        if cost:
            place = 4 * MINUTES + 8 * at
            _ADD_COST.pack_into(data, place, _ADD_COST.unpack_from(data, place)[0] + cost)
        if failed:
            place = 12 * MINUTES + 4 * at
            _ADD_CALLS.pack_into(data, place, _ADD_CALLS.unpack_from(data, place)[0] + failed)
        behind = self.cursor - minute
        if 0 <= behind < LENGTHS[-1]:
            for place in range(_FIRST_LENGTH[behind], len(LENGTHS)):
                self.calls[place] += calls
                self.cost[place] += cost
                self.failed[place] += failed
        return True

    def _clear(self, minute: int) -> None:
        """Make `minute` the newest: what stood in the places of the minutes up to it is too old."""
        view = memoryview(self.data)
        numbers, money, failed = view[_CALLS].cast("I"), view[_COST].cast("q"), view[_FAILED].cast("I")
        for old in range(max(self.newest + 1, minute - MINUTES + 1), minute + 1):
            at = old % MINUTES
            numbers[at] = money[at] = failed[at] = 0
        self.newest = minute

    def seek(self, minute: int) -> None:
        """Move the sums so that they end with `minute`, included; it may lie beyond the newest minute."""
        behind = minute - self.cursor
        if behind == 0:
            return
        self.cursor = minute
        if not 0 < behind <= _STEP_BY_STEP:
            self._sum_again()
            return
        view = memoryview(self.data)
        numbers, money, failed = view[_CALLS].cast("I"), view[_COST].cast("q"), view[_FAILED].cast("I")
        oldest, newest = self.newest - MINUTES, self.newest
        for now in range(minute - behind + 1, minute + 1):
            if now <= newest:
                at = now % MINUTES
                if numbers[at] or money[at]:
                    for place in range(len(LENGTHS)):
                        self.calls[place] += numbers[at]
                        self.cost[place] += money[at]
                        self.failed[place] += failed[at]
            for place, length in enumerate(LENGTHS):
                left = now - length
                if oldest < left <= newest:
                    at = left % MINUTES
                    if numbers[at] or money[at]:
                        self.calls[place] -= numbers[at]
                        self.cost[place] -= money[at]
                        self.failed[place] -= failed[at]

    def _sum_again(self) -> None:
        for place, length in enumerate(LENGTHS):
            first = self.cursor - length + 1
            self.calls[place] = sum(self.calls_of(first, length))
            self.cost[place] = sum(self.cost_of(first, length))
            self.failed[place] = sum(self._slice(_FAILED, "I", first, length))

    def calls_of(self, first: int, length: int) -> list[int]:
        """Calls of the minutes `first` to `first + length - 1`; 0 for those outside the ring."""
        return self._slice(_CALLS, "I", first, length)

    def cost_of(self, first: int, length: int) -> list[int]:
        """Nano-dollars of these minutes."""
        return self._slice(_COST, "q", first, length)

    def _slice(self, column: slice, code: str, first: int, length: int) -> list[int]:
        numbers: memoryview[int] = memoryview(self.data)[column].cast(code)  # type: ignore[call-overload]
        last, oldest = min(first + length - 1, self.newest), max(first, self.newest - MINUTES + 1)
        if last < oldest:
            return [0] * length
        begin, end = oldest % MINUTES, last % MINUTES + 1
        held = numbers[begin:end].tolist() if begin < end else numbers[begin:].tolist() + numbers[:end].tolist()
        return [0] * (oldest - first) + held + [0] * (first + length - 1 - last)


def ring(minute: int) -> Ring:
    """An empty ring whose newest minute is `minute`."""
    zero = [0] * len(LENGTHS)
    return Ring(minute, minute, bytearray(BYTES), zero[:], zero[:], zero[:])
