"""Which minutes that go on are shown first: those whose cost has changed most since they were last shown.

A change costs the same however many cells are open: changed cells go into a heap by what has not been shown of them,
and what a later change or a glimpse has overtaken is thrown away when it comes up.

Memory: one minute's changes, at most _STALE entries of about 0.1 kB for each open cell and what was shown of it; and a
pointer for each fact since the last flush. Pure; must not know what else becomes of cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
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
        heap, shown, number = self._heap, self._shown, self._number
        if len(heap) > _STALE * len(waiting):
            heap.clear()
            self._changed = [cell for cell in waiting.values() if cell.source[0] == "call"]
        for cell in self._changed:
            unseen = shown.get(cell.source, _NOTHING)[1] - cell.bucket.cost_nano_usd
            heappush(heap, (unseen, cell.since, next(number), cell))
        self._changed.clear()
        found: list[Glimpse] = []
        while heap and len(found) < most:
            unseen, _, _, cell = heappop(heap)
            source, bucket = cell.source, cell.bucket
            upto, cost = shown.get(source, _NOTHING)
            if upto >= cell.upto or unseen != cost - bucket.cost_nano_usd or waiting.get(source) is not cell:
                continue
            shown[source] = (cell.upto, bucket.cost_nano_usd)
            found.append(
                Glimpse(
                    source, cell.start, cell.since, cell.upto, bucket.calls, bucket.cost_nano_usd,
                    bucket.max_cost_nano_usd,
                )
            )  # fmt: skip
        return found


_NOTHING: Final = (-1, 0)
