"""The last minutes of one key as plain numbers: calls, cost and failed calls, and their sums over rolling windows.

Rules ask for these sums with every update, so they are moved by the difference and cost the same however long the
windows are. Memory: 16 bytes a minute for MINUTES minutes, whether there were calls or not, and only while there are
some. Where one partition is further ahead of the sums than that, the ring grows, up to LONGEST minutes (24 kB); beyond
that the oldest are lost. Must not know where the numbers come from.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

# More than the longest window, because partitions are not equally far.
MINUTES: Final = 192
LONGEST: Final = 8 * MINUTES
# Lengths of the rolling sums, in minutes.
LENGTHS: Final = (5, 10, 20, 60, 120)
# Further than this it is cheaper to sum again than to go step by step.
_STEP_BY_STEP: Final = 12

_A_MINUTE: Final = 16
_ADD_CALLS: Final = struct.Struct("=I")
_ADD_COST: Final = struct.Struct("=q")
# For each number of minutes behind, the first length that reaches back so far.
_FIRST_LENGTH: Final = [next(p for p, length in enumerate(LENGTHS) if n < length) for n in range(LENGTHS[-1])]


class Ring(msgspec.Struct, gc=False):
    """The last minutes up to `newest`, as many as `data` has room for, and sums that end with `cursor`, included.

    Attributes:
        newest: Newest minute that was counted in.
        cursor: Last minute of the sums.
        data: Calls (u32), then cost in nano-dollars (i64), then failed calls (u32) of each minute, at its number modulo
            the number of minutes that there is room for.
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

    @property
    def room(self) -> int:
        """Minutes that are held."""
        return len(self.data) // _A_MINUTE

    def add(self, minute: int, calls: int, cost: int, failed: int, judged: int = -1) -> bool:
        """Count into a minute; False when it has left the ring.

        `judged` is the minute up to which sums have been asked for: those of later ones still will be. -1: unknown.
        """
        room = len(self.data) // _A_MINUTE
        if minute > self.newest:
            needed = minute - (self.cursor if judged < 0 else judged) + LENGTHS[-1]
            if needed > room:
                room = self._fit(needed)
            self._clear(minute)
        elif self.newest - minute >= room:
            return False
        at, data = minute % room, self.data
        _ADD_CALLS.pack_into(data, 4 * at, _ADD_CALLS.unpack_from(data, 4 * at)[0] + calls)
        if cost:
            place = 4 * room + 8 * at
            _ADD_COST.pack_into(data, place, _ADD_COST.unpack_from(data, place)[0] + cost)
        if failed:
            place = 12 * room + 4 * at
            _ADD_CALLS.pack_into(data, place, _ADD_CALLS.unpack_from(data, place)[0] + failed)
        behind = self.cursor - minute
        if 0 <= behind < LENGTHS[-1]:
            for place in range(_FIRST_LENGTH[behind], len(LENGTHS)):
                self.calls[place] += calls
                self.cost[place] += cost
                self.failed[place] += failed
        return True

    def _columns(self) -> tuple[memoryview[int], memoryview[int], memoryview[int]]:
        view, room = memoryview(self.data), self.room
        return (
            view[: 4 * room].cast("I"),
            view[4 * room : 12 * room].cast("q"),
            view[12 * room :].cast("I"),
        )

    def rest(self) -> None:
        """Give back what was needed only while a partition was far ahead."""
        if self.room > MINUTES and self.newest - self.cursor + LENGTHS[-1] <= MINUTES:
            self._resize(MINUTES)

    def _fit(self, needed: int) -> int:
        """Make room for so many minutes, as far as LONGEST allows; returns the room."""
        room = self.room
        while room < min(needed, LONGEST):
            room *= 2
        if room > self.room:
            self._resize(room)
        return room

    def _resize(self, to: int) -> None:
        room = min(to, self.room)
        first = self.newest - room + 1
        held = [self._slice(column, first, room) for column in range(3)]
        self.data = bytearray(_A_MINUTE * to)
        for column, numbers in zip(self._columns(), held, strict=True):
            for place, number in enumerate(numbers):
                column[(first + place) % to] = number

    def _clear(self, minute: int) -> None:
        """Make `minute` the newest: what stood in the places of the minutes up to it is too old."""
        room = self.room
        numbers, money, failed = self._columns()
        for old in range(max(self.newest + 1, minute - room + 1), minute + 1):
            at = old % room
            numbers[at] = money[at] = failed[at] = 0
        self.newest = minute

    def seek(self, minute: int) -> None:
        """Move the sums so that they end with `minute`, included; it may lie beyond the newest minute."""
        behind = minute - self.cursor
        if behind == 0:
            return
        self.cursor = minute
        room = self.room
        oldest, newest = self.newest - room, self.newest
        # What has left the ring can be neither added nor taken off again.
        if not 0 < behind <= _STEP_BY_STEP or minute - behind - LENGTHS[-1] < oldest:
            self._sum_again()
            return
        numbers, money, failed = self._columns()
        for now in range(minute - behind + 1, minute + 1):
            if oldest < now <= newest:
                at = now % room
                if numbers[at] or money[at]:
                    for place in range(len(LENGTHS)):
                        self.calls[place] += numbers[at]
                        self.cost[place] += money[at]
                        self.failed[place] += failed[at]
            for place, length in enumerate(LENGTHS):
                left = now - length
                if oldest < left <= newest:
                    at = left % room
                    if numbers[at] or money[at]:
                        self.calls[place] -= numbers[at]
                        self.cost[place] -= money[at]
                        self.failed[place] -= failed[at]

    def _sum_again(self) -> None:
        for place, length in enumerate(LENGTHS):
            first = self.cursor - length + 1
            self.calls[place], self.cost[place], self.failed[place] = (
                sum(self._slice(column, first, length)) for column in range(3)
            )

    def calls_of(self, first: int, length: int) -> list[int]:
        """Calls of the minutes `first` to `first + length - 1`; 0 for those outside the ring."""
        return self._slice(0, first, length)

    def cost_of(self, first: int, length: int) -> list[int]:
        """Nano-dollars of these minutes."""
        return self._slice(1, first, length)

    def _slice(self, column: int, first: int, length: int) -> list[int]:
        numbers, room = self._columns()[column], self.room
        last, oldest = min(first + length - 1, self.newest), max(first, self.newest - room + 1)
        if last < oldest:
            return [0] * length
        begin, end = oldest % room, last % room + 1
        held = numbers[begin:end].tolist() if begin < end else numbers[begin:].tolist() + numbers[:end].tolist()
        return [0] * (oldest - first) + held + [0] * (first + length - 1 - last)


def ring(minute: int) -> Ring:
    """An empty ring whose newest minute is `minute`."""
    zero = [0] * len(LENGTHS)
    return Ring(minute, minute, bytearray(_A_MINUTE * MINUTES), zero[:], zero[:], zero[:])
