"""A range of clean records as what will be inserted: rows and roots for each cell, and the accounts for the ledger.

Pure: the same records give the same batch, at every repeat and at every owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter

from pipeline.audit import spans
from pipeline.audit.erasing import Subjects, bare
from pipeline.audit.leaves import LEAF_VERSION, leaf, root, seal, seal_key
from pipeline.audit.rows import DAY_MS, Row, dead_letter, rows, week
from pipeline.audit.tables import OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Dead
from schemas.ledger import Cell, Intent, Part

Refused = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """One record of `llm.calls`: its offset there, its content, its size in bytes."""

    input_offset: int
    clean: Clean
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BatchPart:
    """The rows of a batch that go into one cell, sealed and in position order."""

    cell: Cell
    rows: tuple[Row, ...]
    root: str

    @property
    def offsets(self) -> list[int]:
        """Source offsets of the rows, rising."""
        return [row[OFFSET] for row in self.rows]

    def of(self, offsets: Collection[int]) -> BatchPart:
        """Only the rows at some offsets, with their own root."""
        kept = tuple(row for row in self.rows if row[OFFSET] in offsets)
        return BatchPart(self.cell, kept, root(leaf(TABLES[self.cell.table], row) for row in kept).hex())


@dataclass(frozen=True, slots=True)
class Batch:
    """A range, ready to be announced and inserted; see `schemas.ledger.Intent` for what the fields mean."""

    slots: tuple[Slot, ...]
    epoch: int
    first: int
    next: int
    input_next: int
    counts: dict[str, int]
    gaps: tuple[tuple[int, int], ...]
    parts: tuple[BatchPart, ...]
    refused: Refused
    erasures: int = 0

    @property
    def with_rows(self) -> list[int]:
        """Source offsets that have a row, rising."""
        return sorted({row[OFFSET] for part in self.parts for row in part.rows})

    def intent(self, number: int, attempt: int, deadline_ms: int, input_epoch: int, input_first: int) -> Intent:
        """What the ledger is told."""
        return Intent(
            range=number,
            attempt=attempt,
            deadline_ms=deadline_ms,
            epoch=self.epoch,
            first=self.first,
            next=self.next,
            input_epoch=input_epoch,
            input_first=input_first,
            input_next=self.input_next,
            counts=self.counts,
            parts=self.ledger_parts(),
            gaps=self.gaps,
            refused=self.refused,
            leaf=LEAF_VERSION,
            erasures=self.erasures,
        )

    def ledger_parts(self) -> tuple[Part, ...]:
        """The parts as the ledger names them."""
        return tuple(
            Part(part.cell, len(part.rows), part.root, spans.write(self.first, part.offsets)) for part in self.parts
        )


def _sealed(cell: Cell, found: Sequence[Row], key: bytes) -> BatchPart:
    """Rows of one cell with their seals and root."""
    table = TABLES[cell.table]
    leaves = [leaf(table, row) for row in found]
    rows = tuple((*row, seal(key, each)) for row, each in zip(found, leaves, strict=True))
    return BatchPart(cell, rows, root(leaves).hex())


def build(
    slots: Sequence[Slot],
    first: int,
    input_next: int,
    keys: Keys,
    refused: Refused = (),
    erased: Subjects | None = None,
) -> Batch:
    """Make a batch of records that follow one another without a hole.

    Args:
        slots: At least one, all of one epoch; the first covers `first`.
        first: Source offset at which the range begins.
        input_next: Offset in `llm.calls` after the last record looked at.
        keys: For the salts of texts and the seals of rows.
        refused: (offset, table) of rows that cannot be stored; each such record gets a dead letter.
        erased: Whose records become bare rows; None: nobody's.
    """
    counts: Counter[str] = Counter()
    gaps = []
    # By day rather than by week: cheaper for each row, and a few days are joined to a week below.
    by_day: dict[tuple[str, int, int], list[Row]] = {}
    next_offset = first
    lost = set(refused)
    for slot in slots:
        fact = slot.clean.fact
        counts[fact.type] += fact.next_offset - next_offset
        if fact.type == "gap":
            gaps.append((next_offset, fact.next_offset - 1))
        next_offset = fact.next_offset
        clean = slot.clean if erased is None or not erased.names(fact) else bare(slot.clean)
        found = rows(clean, keys)
        if lost:
            found = _without(found, slot, lost)
        for table, row in found:
            key = (table, row[RETENTION_DAYS], row[RECEIVED_AT] // DAY_MS)
            if (held := by_day.get(key)) is None:
                held = by_day[key] = []
            held.append(row)
    cells: dict[Cell, list[Row]] = {}
    for (table, days, day), held in by_day.items():
        cell = Cell(table, days, week(day * DAY_MS))
        cells[cell] = sorted(cells[cell] + held, key=itemgetter(OFFSET)) if cell in cells else held
    order = list(TABLES)
    sealing = seal_key(keys)
    parts = [
        _sealed(cell, cells[cell], sealing)
        for cell in sorted(cells, key=lambda cell: (order.index(cell.table), *_life(cell)))
    ]
    return Batch(
        slots=tuple(slots),
        epoch=slots[0].clean.fact.position.epoch,
        first=first,
        next=next_offset,
        input_next=input_next,
        counts=dict(counts),
        gaps=tuple(gaps),
        parts=tuple(parts),
        refused=tuple(sorted(lost)),
        erasures=0 if erased is None else erased.count,
    )


def _life(cell: Cell) -> tuple[int, str]:
    return cell.retention_days, cell.week


def _without(found: list[tuple[str, Row]], slot: Slot, refused: set[tuple[int, str]]) -> list[tuple[str, Row]]:
    """The rows of a record but for the refused ones, and one dead letter for those together."""
    offset = slot.clean.fact.position.offset
    kept = [(table, row) for table, row in found if (offset, table) not in refused]
    gone = [table for table, _ in found if (offset, table) in refused]
    if gone:
        letter = dead_letter(slot.clean, Dead("row_refused", ",".join(gone), slot.size_bytes))
        kept.append(("dead_letters", letter))
    return kept
