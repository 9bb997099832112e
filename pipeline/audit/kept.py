"""Rows that a legal hold keeps beyond the end of their cell: what the ledger says of them, and whether they are so.

Pure but for reading through the ports. Memory: a number for each held row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.audit import spans
from pipeline.audit.lawful import GONE, Lawful
from pipeline.audit.leaves import leaf, seal
from pipeline.audit.report import ProblemKind
from pipeline.audit.rows import Row
from pipeline.audit.sources import Sources
from pipeline.audit.tables import OFFSET, TABLES
from schemas.ledger import Cell, Entry


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with one row of a held table."""

    kind: ProblemKind
    table: str
    epoch: int
    offset: int
    why: str


class Kept:
    """One partition.

    Attributes:
        rows: Rows under a hold that are as they must be, once they were checked.
    """

    def __init__(self, partition: int) -> None:
        self._partition = partition
        self._kept: dict[str, dict[tuple[int, int], Cell]] = {name: {} for name in TABLES}
        self._freed: dict[str, set[tuple[int, int]]] = {name: set() for name in TABLES}
        self.rows = 0

    def take(self, entry: Entry) -> None:
        """Take an accepted ledger record in."""
        if (said := entry.held) is not None and said.cell.table in TABLES:
            kept = self._kept[said.cell.table]
            kept.update({(said.epoch, each): said.cell for each in spans.read(said.first, said.offsets)})
        if (said := entry.released) is not None and said.cell.table in TABLES:
            for each in spans.read(said.first, said.offsets):
                self._kept[said.cell.table].pop((said.epoch, each), None)
                self._freed[said.cell.table].add((said.epoch, each))

    def check(self, sources: Sources, key: bytes, lawful: Lawful) -> Iterator[Found]:
        """Name what is wrong: each row that is kept stands and has a true seal, and no other does.

        What is released may stand until somebody has removed it.
        """
        for name, table in TABLES.items():
            found: dict[tuple[int, int], Row] = {}
            for row in sources.held(table, self._partition):
                at = (row[0], row[OFFSET])
                if at in found:
                    yield Found("row_twice", f"held_{name}", *at, "the position stands more than once")
                found[at] = row
            for at, cell in self._kept[name].items():
                held_row = found.pop(at, None)
                fate = lawful.fate(cell, *at)
                if held_row is None:
                    if lawful.is_dropped(cell, -1) and not (fate and GONE in fate.may_be):
                        yield Found("row_missing", f"held_{name}", *at, f"a legal hold keeps it beyond {cell}")
                elif seal(key, leaf(table, held_row)) != held_row[-1]:
                    yield Found("row_changed", f"held_{name}", *at, "its seal is not that of what stands in it")
                else:
                    self.rows += 1
            for at in found.keys() - self._freed[name]:
                yield Found("row_unexpected", f"held_{name}", *at, "no record of the ledger keeps it")
