"""Which stored rows are older than the policy now in force allows, whatever they were stamped with. Pure.

A shorter policy counts in weeks, as a stamp does: rows go when their week would have gone, had they been stored with
the shorter life. A longer one changes nothing for what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.audit.retention import ends_at_ms
from pipeline.control.policy import CLASS_OF, Policy
from schemas.ledger import Cell


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one cell that one rule is for.

    Attributes:
        cell: Where they stand.
        tenant: Whose they are.
        environment: Of which environment; None: the row does not know.
        rows: How many.
        oldest_ms: When the oldest was received (began, was opened), milliseconds since 1970.
    """

    cell: Cell
    tenant: str
    environment: str | None
    rows: int
    oldest_ms: int


def days(policy: Policy, group: Group) -> int:
    """The life that a policy gives rows; of rows that know no environment the longest that any gives the tenant."""
    name = CLASS_OF[group.cell.table]
    known = (group.environment,) if group.environment is not None else (None, *policy.environment)
    if name == "anomalies":
        known = (None,)
    lives = [
        0 if name == "text" and policy.life(group.tenant, each)[2] == "none" else policy.days(name, group.tenant, each)
        for each in known
    ]
    return max(lives)


def due_ms(policy: Policy, group: Group) -> int:
    """When rows have to be gone by a policy, or by their stamp where that is sooner; milliseconds since 1970."""
    life = days(policy, group)
    if not life:
        return 0  # none is kept at all
    cell = group.cell
    return min(ends_at_ms(cell), ends_at_ms(Cell(cell.table, life, cell.week)))


@dataclass(frozen=True, slots=True)
class Due:
    """What a policy ends before its stamp does.

    Attributes:
        cells: That go whole.
        groups: Of cells of which something stays.
    """

    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]


def due(policy: Policy, groups: Iterable[Group], now_ms: int) -> Due:
    """What has to go now although its stamp says later."""
    by_cell: dict[Cell, list[Group]] = {}
    for group in groups:
        by_cell.setdefault(group.cell, []).append(group)
    whole, parts = [], []
    for cell, found in by_cell.items():
        if ends_at_ms(cell) <= now_ms:
            continue
        over = [group for group in found if due_ms(policy, group) <= now_ms]
        if len(over) == len(found):
            whole.append(cell)
        else:
            parts += over
    return Due(tuple(whole), tuple(parts))


def oldest(groups: Iterable[Group]) -> Mapping[tuple[str, str], Group]:
    """The oldest group of each (table, tenant)."""
    found: dict[tuple[str, str], Group] = {}
    for group in groups:
        key = group.cell.table, group.tenant
        if key not in found or group.oldest_ms < found[key].oldest_ms:
            found[key] = group
    return found
