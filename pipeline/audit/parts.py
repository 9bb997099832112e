"""Hold what stands of one part to what the ledger says of it, and name every row that is not as it must be. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pipeline.audit import spans
from pipeline.audit.lawful import GONE, Lawful
from pipeline.audit.leaves import root
from pipeline.audit.report import ProblemKind
from schemas.ledger import Part


@dataclass(frozen=True, slots=True)
class Announced:
    """A part that a finished step of the ledger put somewhere.

    Attributes:
        part: Cell, rows, root, offsets.
        by: Who put it there, for a sentence: `range 7`.
        epoch: Incarnation that its offsets are of.
        first: Offset that its `offsets` are told from.
        finished_at: Ledger offset at which it was finished.
    """

    part: Part
    by: str
    epoch: int
    first: int
    finished_at: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with one row, or with a part as a whole (`offset` is None)."""

    kind: ProblemKind
    offset: int | None
    why: str


@dataclass(slots=True)
class Held:
    """How many rows of a part are lawfully not what they were."""

    dropped: int = 0
    erased: int = 0
    changed: int = 0


def is_whole(part: Part, leaves: Mapping[int, bytes], unsealed: Collection[int]) -> bool:
    """Whether the rows that stand, in position order, are the part as it was announced. The way of almost all parts."""
    return not unsealed and len(leaves) == part.rows and root(leaves.values()).hex() == part.root


def judge(
    told: Announced, leaves: Mapping[int, bytes], unsealed: Collection[int], lawful: Lawful, held: Held
) -> Iterator[Finding]:
    """Name what is wrong with a part whose rows are not simply all there.

    Args:
        told: What the ledger says.
        leaves: Leaf of each row that stands, by source offset.
        unsealed: Offsets of rows whose seal is not that of their leaf.
        lawful: What may have become of rows since.
        held: Counts of what lawfully differs, added to.
    """
    part, cell = told.part, told.part.cell
    if not leaves and lawful.may_be_dropped(cell, told.finished_at):
        held.dropped += part.rows
        return
    if leaves and lawful.is_dropped(cell, told.finished_at):
        for offset in leaves:
            yield Finding("row_outlived", offset, f"the ledger says that {cell} was dropped")
        return
    try:
        expected = spans.read(told.first, part.offsets)
    except ValueError:
        expected = []
    if len(expected) != part.rows:
        yield Finding("part_differs", None, f"{told.by} put {part.rows} rows into {cell}, but does not say which")
        return
    originals: list[bytes] = []
    is_named = False
    for offset in expected:
        fate = lawful.fate(cell, told.epoch, offset)
        stands = leaves.get(offset, GONE)
        originals.append(stands if fate is None else fate.was)
        finding = None
        if stands == GONE:
            if fate is None or GONE not in fate.may_be:
                finding = Finding("row_missing", offset, f"{told.by} put it into {cell}")
            else:
                held.erased += 1
        elif offset in unsealed:
            finding = Finding("row_changed", offset, f"its seal is not that of what {told.by} put into {cell}")
        elif fate is not None:
            if stands not in fate.may_be:
                outlived = fate.may_be == {GONE}
                why = "it was removed, says the ledger" if outlived else "it is not what the ledger says it became"
                finding = Finding("row_outlived" if outlived else "row_changed", offset, why)
            elif stands != fate.was:
                held.changed += 1
        if finding is not None:
            is_named = True
            yield finding
    for offset in leaves.keys() - set(expected):
        yield Finding("row_unexpected", offset, f"{told.by} did not put it into {cell}")
    if not is_named and root(originals).hex() != part.root:
        why = f"the rows of {told.by} in {cell} have true seals, but are not those that it put there"
        yield Finding("part_differs", None, why)
