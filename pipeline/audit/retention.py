"""When a cell's life is over, and what its end says in the ledger. Pure; by the clock it is given.

A row is kept for `retention_days` from the day it was received. A cell holds a week, so it is dropped when its
last day's rows have had their full life; no row goes before its time, and none stays a week longer.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from pipeline.audit import spans
from pipeline.audit.ledger import Follower, Verdict
from pipeline.audit.rows import DAY_MS
from schemas.ledger import Cell, Expiry, Part

WEEK_DAYS: Final = 7
_LABEL: Final = b"tokentrail.expiry.v1\0"


def ends_at_ms(cell: Cell) -> int:
    """When the last row that the cell can hold has had its life, milliseconds since 1970."""
    monday = datetime.fromisoformat(cell.week).replace(tzinfo=UTC)
    return int(monday.timestamp() * 1000) + (WEEK_DAYS + cell.retention_days) * DAY_MS


def is_over(cell: Cell, now_ms: int) -> bool:
    """Whether the cell is to be dropped."""
    return ends_at_ms(cell) <= now_ms


class Holdings:
    """What the ledger of one partition says stands in each cell, and what of it legal holds keep beyond its end.

    Memory: one number for each row that is held.

    Attributes:
        follower: The fold it is based on.
    """

    def __init__(self, partition: int) -> None:
        self.follower = Follower(partition)
        self._roots: dict[Cell, list[str]] = {}
        self._rows: Counter[Cell] = Counter()
        self._held: dict[tuple[Cell, int], set[int]] = {}

    def fold(self, offset: int, value: bytes) -> Verdict:
        """Fold the next record."""
        open_, repricing = self.follower.state.open, self.follower.state.repricing
        verdict = self.follower.fold(offset, value)
        entry = verdict.entry
        if verdict.accepted and entry is not None:
            if entry.done is not None and open_ is not None:
                for part in open_.parts:
                    self._add(part)
            if entry.repriced is not None and entry.repriced.landed and repricing is not None:
                self._add(repricing.part)
            if entry.expired is not None:
                self._rows.pop(entry.expired.cell, None)
                self._roots.pop(entry.expired.cell, None)
            if (kept := entry.held) is not None:
                self._held.setdefault((kept.cell, kept.epoch), set()).update(spans.read(kept.first, kept.offsets))
            if (freed := entry.released) is not None:
                held = self._held.get((freed.cell, freed.epoch), set())
                held.difference_update(spans.read(freed.first, freed.offsets))
        return verdict

    def held(self, cell: Cell, epoch: int) -> frozenset[int]:
        """Source offsets of the rows of a cell that must stand in its held table."""
        return frozenset(self._held.get((cell, epoch), ()))

    def _add(self, part: Part) -> None:
        self._rows[part.cell] += part.rows
        self._roots.setdefault(part.cell, []).append(part.root)

    def expiry(self, cell: Cell) -> Expiry:
        """How a cell ends: its rows, and SHA-256 over its parts' roots in the order in which they were finished."""
        roots = b"".join(map(bytes.fromhex, self._roots.get(cell, ())))
        return Expiry(cell, self._rows[cell], sha256(_LABEL + roots).hexdigest())
