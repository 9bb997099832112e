"""Hold the rows of `repricings` to what the ledger says of them, and name every one that is not as it must be. Pure.

Unlike the other tables a position may stand here more than once, told apart by the repricing's number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.audit.lawful import Lawful
from pipeline.audit.leaves import leaf, seal
from pipeline.audit.parts import Announced, Finding, Held, is_whole, judge
from pipeline.audit.repricing import NUMBER, Landed
from pipeline.audit.rows import Row, week
from pipeline.audit.tables import OFFSET, RECEIVED_AT, REPRICINGS, RETENTION_DAYS
from schemas.ledger import Cell, Repricing

Read = Callable[[int, int, int], Iterable[Row]]  # epoch, first, next: rows in the order of their offsets


@dataclass(slots=True)
class Told:
    """What was found, epoch by epoch.

    Attributes:
        rows: Rows that stand and that a repricing put there, by epoch.
        held: Counts of what lawfully differs.
        findings: (epoch, finding); of a part as a whole the offset is None.
    """

    rows: Counter[int] = field(default_factory=Counter)
    held: Held = field(default_factory=Held)
    findings: list[tuple[int, Finding]] = field(default_factory=list)


def check(read: Read, key: bytes, lawful: Lawful, repricings: Iterable[Landed], ask_again: Callable[[], None]) -> Told:
    """Check every repricing that stands.

    Args:
        read: Rows of the partition that is checked.
        key: Of the seals.
        lawful: What may have become of rows since.
        repricings: Those that the ledger says stand, in their order.
        ask_again: Takes what the ledger says by now into `lawful`; called after rows were read that differ.
    """
    told = Told()
    for one in repricings:
        _check(read, key, lawful, one, ask_again, told)
    return told


def _check(read: Read, key: bytes, lawful: Lawful, one: Landed, ask_again: Callable[[], None], told: Told) -> None:
    repricing = one.repricing
    part, cell = repricing.part, repricing.part.cell
    leaves: dict[int, bytes] = {}
    unsealed: set[int] = set()
    for row in read(repricing.epoch, repricing.first, repricing.next):
        if row[NUMBER] != repricing.number:
            continue
        offset = row[OFFSET]
        told.rows[repricing.epoch] += 1
        if Cell(REPRICINGS.name, row[RETENTION_DAYS], week(row[RECEIVED_AT])) != cell:
            why = f"repricing {repricing.number} goes into {cell}"
            told.findings.append((repricing.epoch, Finding("row_unexpected", offset, why)))
            continue
        mark = leaf(REPRICINGS, row)
        is_sealed = seal(key, mark) == row[-1]
        if offset in leaves:
            why = f"the position stands more than once in repricing {repricing.number}"
            told.findings.append((repricing.epoch, Finding("row_twice", offset, why)))
            if not is_sealed:
                continue  # the other one is judged
        leaves[offset] = mark
        (unsealed.discard if is_sealed else unsealed.add)(offset)
    if is_whole(part, leaves, unsealed) and not lawful.concerns(cell, one.finished_at):
        return
    ask_again()
    announced = Announced(part, f"repricing {repricing.number}", repricing.epoch, repricing.first, one.finished_at)
    for finding in judge(announced, leaves, unsealed, lawful, told.held):
        told.findings.append((repricing.epoch, finding))


def strangers(
    epoch: int, rows: Iterable[Row], known: Mapping[int, Repricing], since: int = 0
) -> Iterator[tuple[int, int]]:
    """(number, offset) of the rows of one epoch that no repricing put there.

    Args:
        epoch: Which.
        rows: All of them.
        known: By number, those that stand or may.
        since: Numbers up to this one were looked at before.
    """
    for row in rows:
        of = known.get(row[NUMBER])
        if row[NUMBER] <= since:
            continue
        if of is None or of.epoch != epoch or not of.first <= row[OFFSET] < of.next:
            yield row[NUMBER], row[OFFSET]
