"""A range of clean records as what will be inserted: rows and roots for each cell, and the accounts for the ledger.

Pure: the same records give the same batch, at every repeat and at every owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from pipeline.audit import spans
from pipeline.audit.columns import Columns, columns
from pipeline.audit.erasing import Subjects, bare
from pipeline.audit.leaves import LEAF_VERSION, leaves, root, seal_key, seals
from pipeline.audit.rows import COMMITMENT, DAY_MS, Row, dead_letter, life, tables, week
from pipeline.audit.tables import OFFSET, TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Dead, Stamp
from schemas.ledger import Cell, Intent, Part

Refused = tuple[tuple[int, str], ...]

_ORDER: Final = {name: place for place, name in enumerate(TABLES)}


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One record of `llm.calls`: its offset there, its content, its size in bytes."""

    input_offset: int
    clean: Clean
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BatchPart:
    """The rows of a batch that go into one cell, in position order.

    Attributes:
        cell: Which.
        columns: One sequence of values for each column of its table, the seals last.
        root: Over the leaves, hexadecimal.
    """

    cell: Cell
    columns: Columns
    root: str

    def __len__(self) -> int:
        return len(self.columns[0])

    @property
    def rows(self) -> list[Row]:
        """The rows as tuples, made anew at every call."""
        return list(zip(*self.columns, strict=True))

    @property
    def offsets(self) -> list[int]:
        """Source offsets of the rows, rising."""
        return list(self.columns[OFFSET])

    def of(self, offsets: Collection[int]) -> BatchPart:
        """Only the rows at some offsets, with their own root."""
        kept = [index for index, offset in enumerate(self.columns[OFFSET]) if offset in offsets]
        columns: Columns = [[column[index] for index in kept] for column in self.columns]
        return BatchPart(self.cell, columns, root(_leaves(self.cell, columns)).hex())


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
        return sorted({offset for part in self.parts for offset in part.columns[OFFSET]})

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
            Part(part.cell, len(part), part.root, spans.write(self.first, part.offsets)) for part in self.parts
        )


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
    # By day rather than by week: cheaper for each record, and a few days are joined to a week below.
    by_day: dict[tuple[str, int, int], list[Clean]] = {}
    # What records that are alike go into, because most are alike.
    alike: dict[tuple[str, bool, bool, Stamp, int], list[list[Clean]]] = {}
    bound: dict[int, bytes] = {}
    next_offset = first
    lost = set(refused)
    for slot in slots:
        clean = slot.clean
        fact = clean.fact
        end = (fact.position.offset if fact.gap_last is None else fact.gap_last) + 1
        counts[fact.type] += end - next_offset
        if fact.type == "gap":
            gaps.append((next_offset, end - 1))
        next_offset = end
        if erased is not None and erased.names(fact):
            clean = bare(clean)
        day = fact.received_at // DAY_MS
        if lost and (gone := [table for table in tables(clean) if (fact.position.offset, table) in lost]):
            if "call_content" in gone:  # the text cannot be stored; the other row still says that there was one
                (commitment,) = columns("call_content", 1, [clean], keys, {})[COMMITMENT]
                bound[fact.position.offset] = commitment
            kept = [table for table in tables(clean) if table not in (*gone, "dead_letters")]
            clean = dead_letter(clean, Dead("row_refused", ",".join(gone), slot.size_bytes))
            for table in (*kept, "dead_letters"):
                by_day.setdefault((table, life(table, clean), day), []).append(clean)
            continue
        kind = (fact.type, clean.content is None, clean.replay is None, clean.stamp, day)
        if (found := alike.get(kind)) is None:
            found = alike[kind] = [by_day.setdefault((table, life(table, clean), day), []) for table in tables(clean)]
        for held in found:
            held.append(clean)
    cells: dict[Cell, list[Clean]] = {}
    for (table, days, day), held in by_day.items():
        cell = Cell(table, days, week(day * DAY_MS))
        cells[cell] = sorted(cells[cell] + held, key=_offset) if cell in cells else held
    sealing = seal_key(keys)
    parts = []
    for cell in sorted(cells, key=lambda cell: (_ORDER[cell.table], cell.retention_days, cell.week)):
        made = columns(cell.table, cell.retention_days, cells[cell], keys, bound)
        hashed = _leaves(cell, made)
        if cell.table == "call_content":
            bound.update(zip(made[OFFSET], made[COMMITMENT], strict=True))
        parts.append(BatchPart(cell, [*made, seals(sealing, hashed)], root(hashed).hex()))
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


def _leaves(cell: Cell, columns: Columns) -> list[bytes]:
    table = TABLES[cell.table]
    return leaves(table, zip(*columns[: table.leaf_width], strict=True))


def _offset(clean: Clean) -> int:
    return clean.fact.position.offset
