"""Which minutes that go on are shown first: those whose cost has changed most since they were last shown.

A change costs the same however many cells are open: changed cells go into a heap by what has not been shown of them,
and what a later change or a glimpse has overtaken is thrown away when it comes up.

Memory: one minute's changes, at most _STALE entries of about 0.1 kB for each open cell and what was shown of it; and a
pointer for each fact since the last flush. Pure; must not know what else becomes of cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from schemas.partial import Cell, Glimpse, Source

# Entries for each open cell before those that have been overtaken are thrown away all at once.
_STALE: Final = 4

# Cost that has not been shown, negative; where the cell began; a number that no other entry has; the cell.
_Entry = tuple[int, int, int, Cell]


class Glimpses:
    """The calls of the present minute, by what has not been shown of them yet."""

    def __init__(self) -> None:
        # What was last said: position and cost.
        self._shown: dict[Source, tuple[int, int]] = {}
        self._changed: list[Cell] = []
        self._heap: list[_Entry] = []
        self._number = count()

    def change(self, cell: Cell) -> None:
        """Take note of a cell of calls in the present minute that a fact is changing."""
        self._changed.append(cell)

    def forget(self) -> None:
        """A new minute begins, of which nothing has been shown."""
        self._shown.clear()
        self.settle()

    def settle(self) -> None:
        """All that has changed goes out as it is: there is nothing to show of it."""
        self._changed.clear()
        self._heap.clear()

    def take(self, most: int, waiting: Mapping[Source, Cell]) -> list[Glimpse]:
        """At most `most` glimpses, the greatest change first, of equals the cell that began first.

        Args:
            most: How many.
            waiting: The cells of the present minute that have not gone out as they are.
        """
        if len(self._heap) > _STALE * len(waiting):
            self._heap = [self._entry(cell) for cell in waiting.values() if self._is_behind(cell)]
            heapify(self._heap)
        else:
            for cell in self._changed:
                heappush(self._heap, self._entry(cell))
        self._changed.clear()
        found: list[Glimpse] = []
        while self._heap and len(found) < most:
            unseen, _, _, cell = heappop(self._heap)
            if self._is_behind(cell) and unseen == self._unseen(cell) and waiting.get(cell.source) is cell:
                found.append(self._show(cell))
        return found

    def _entry(self, cell: Cell) -> _Entry:
        return self._unseen(cell), cell.since, next(self._number), cell

    def _unseen(self, cell: Cell) -> int:
        return self._shown.get(cell.source, _NOTHING)[1] - cell.bucket.cost_nano_usd

    def _is_behind(self, cell: Cell) -> bool:
        return cell.source[0] == "call" and self._shown.get(cell.source, _NOTHING)[0] < cell.upto

    def _show(self, cell: Cell) -> Glimpse:
        bucket = cell.bucket
        self._shown[cell.source] = (cell.upto, bucket.cost_nano_usd)
        return Glimpse(
            cell.source, cell.start, cell.since, cell.upto, bucket.calls, bucket.cost_nano_usd, bucket.max_cost_nano_usd
        )


_NOTHING: Final = (-1, 0)
