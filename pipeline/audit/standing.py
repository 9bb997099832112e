"""What stands in a table of consecutive ranges: each row as its leaf, by range and cell, and whether its seal is true.

Memory: a leaf for each row of the ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.audit.lawful import Lawful
from pipeline.audit.leaves import commitment, leaf, seal
from pipeline.audit.parts import is_whole
from pipeline.audit.report import ProblemKind
from pipeline.audit.rows import DAY_MS, Row, week
from pipeline.audit.tables import OFFSET, RECEIVED_AT, RETENTION_DAYS, Table
from schemas.ledger import Cell, Intent

Tell = Callable[[ProblemKind, str, int], None]  # kind, why, source offset


@dataclass(slots=True)
class Standing:
    """What stands of one part: the leaf of each row by offset, and which of them have a false seal."""

    leaves: dict[int, bytes] = field(default_factory=dict)
    unsealed: set[int] = field(default_factory=set)


def sort(table: Table, rows: Iterable[Row], ends: Sequence[int], key: bytes, tell: Tell) -> list[dict[Cell, Standing]]:
    """Rows in the order of their offsets, sorted into ranges, each given by the offset after its last, and into cells.

    Args:
        table: Of the rows.
        rows: None of them is beyond the last range.
        ends: Of the ranges, rising.
        key: Of the seals.
        tell: Called for a position that stands twice, and for a text that is not the one that its row is bound to.
    """
    found: list[dict[Cell, Standing]] = [{} for _ in ends]
    cells: dict[tuple[int, int], Cell] = {}
    has_text, width = table.has_text, table.leaf_width
    number, end = 0, ends[0]
    for row in rows:
        offset = row[OFFSET]
        while offset >= end:
            number += 1
            end = ends[number]
        life = (row[RETENTION_DAYS], row[RECEIVED_AT] // DAY_MS)
        cell = cells.get(life)
        if cell is None:
            cell = cells[life] = Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
        standing = found[number].get(cell)
        if standing is None:
            standing = found[number][cell] = Standing()
        mark = leaf(table, row)
        is_sealed = seal(key, mark) == row[-1]
        if offset in standing.leaves:
            tell("row_twice", "the position stands more than once", offset)
            if not is_sealed:
                continue  # the other one is judged
        standing.leaves[offset] = mark
        (standing.unsealed.discard if is_sealed else standing.unsealed.add)(offset)
        if has_text and commitment(*row[width:-1]) != row[width - 1]:
            tell("text_changed", "text or salt do not fit the commitment", offset)
    return found


def is_as_announced(
    table: Table, finished_at: int, intent: Intent, found: Mapping[Cell, Standing], lawful: Lawful
) -> bool:
    """Whether all rows of a range stand as they were put there. The way of almost all ranges."""
    parts = [part for part in intent.parts if part.cell.table == table.name]
    return len(parts) == len(found) and all(
        (standing := found.get(part.cell)) is not None
        and is_whole(part, standing.leaves, standing.unsealed)
        and not lawful.concerns(part.cell, finished_at)
        for part in parts
    )
