"""What the ledger says may have become of a row since its range was finished: changed, removed, dropped with its cell.

Pure. Whoever reads rows while things go on tells what was recorded before they were read and what after: what began
after may or may not show in them, and what was said to be done after need not.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.ledger import Cell, Change, Entry

Key = tuple[Cell, int, int]  # cell, epoch, offset
GONE = b""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row.

    Attributes:
        was: The leaf that its part's root is over.
        may_be: Leaves of which one stands; `GONE` where the row may be absent.
    """

    was: bytes
    may_be: frozenset[bytes]


@dataclass(slots=True)
class _Step:
    now: bytes
    is_done: bool = False


class Lawful:
    """Recorded changes and ends of one source partition. Memory: one entry for each changed row."""

    def __init__(self) -> None:
        self._was: dict[Key, bytes] = {}
        self._steps: dict[Key, list[_Step]] = {}
        self._changed: set[Cell] = set()
        self._under_way: dict[tuple[str, int], list[_Step]] = {}
        self._begun: dict[Cell, int] = {}
        self._gone: dict[Cell, int] = {}
        self._late: list[tuple[int, Entry]] = []

    def fold(self, offset: int, entry: Entry, *, rows_were_read: bool = False) -> None:
        """Take an accepted ledger record in.

        Args:
            offset: Where it stands in the ledger.
            entry: The record.
            rows_were_read: Rows read before may show what it begins, and need not show what it ends until `settle`.
        """
        if entry.erasing is not None:
            steps = [self._change(change) for change in entry.erasing.changes]
            self._under_way[entry.erasing.request, entry.erasing.batch] = steps
        if entry.expiring is not None:
            self._begun[entry.expiring.cell] = offset
        if rows_were_read:
            self._late.append((offset, entry))
        else:
            self._done(offset, entry)

    def settle(self) -> None:
        """From here on rows are read that show all that is said to be done."""
        for offset, entry in self._late:
            self._done(offset, entry)
        self._late.clear()

    def fate(self, cell: Cell, epoch: int, offset: int) -> Fate | None:
        """What became of a row; None when nothing is recorded."""
        key = (cell, epoch, offset)
        was = self._was.get(key)
        if was is None:
            return None
        may_be = {was}
        for step in self._steps[key]:
            if step.is_done:
                may_be.clear()
            may_be.add(step.now)
        return Fate(was, frozenset(may_be))

    def concerns(self, cell: Cell, finished_at: int) -> bool:
        """Whether anything is recorded that rows put into this cell until then may have to show."""
        return cell in self._changed or self.is_dropped(cell, finished_at)

    def may_be_dropped(self, cell: Cell, finished_at: int) -> bool:
        """Whether the end of a cell was begun after a range was finished, at this ledger offset."""
        return self._begun.get(cell, -1) > finished_at

    def is_dropped(self, cell: Cell, finished_at: int) -> bool:
        """Whether the cell is gone since."""
        return self._gone.get(cell, -1) > finished_at

    def _change(self, change: Change) -> _Step:
        key = (change.cell, change.epoch, change.offset)
        self._changed.add(change.cell)
        self._was.setdefault(key, bytes.fromhex(change.was))
        step = _Step(bytes.fromhex(change.now))
        self._steps.setdefault(key, []).append(step)
        return step

    def _done(self, offset: int, entry: Entry) -> None:
        if entry.erased is not None:
            for step in self._under_way.pop((entry.erased.request, entry.erased.batch), ()):
                step.is_done = True
        if entry.expired is not None:
            self._gone[entry.expired.cell] = offset
