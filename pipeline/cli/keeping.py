"""What `tokentrail retention` does, apart from what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.control.overdue import Due
    from pipeline.control.policy import Policies, Policy
    from pipeline.settings import Settings
    from pipeline.storage.ages import Ages
    from schemas.ledger import Cell

# A held table may be large; a copy or a mutation of it is one statement.
ANSWER_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Held:
    """One ClickHouse partition: a week of rows that live equally long; times are milliseconds since 1970."""

    cell: Cell
    rows: int
    ends_at_ms: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did, or would do.

    Attributes:
        dropped: Weeks that went, or would go, whole.
        removed: Rows that a shorter policy keeps no longer, by table.
        released: Held rows that no hold covers any more, by table; unknown to a dry run.
        kept: Rows of the dropped weeks that a hold keeps; unknown to a dry run.
    """

    dropped: tuple[Held, ...]
    removed: Mapping[str, int]
    released: Mapping[str, int]
    kept: int


def run(settings: Settings, *, dry_run: bool = False, now_ms: int | None = None) -> Applied:
    """What was done, or would be.

    Args:
        settings: The installation; its ClickHouse user must be able to drop partitions.
        dry_run: Change nothing.
        now_ms: The time to go by, milliseconds since 1970; None is ClickHouse's clock.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or rows are being put into such a partition just now.
        UsageError: There is no policy, or the key root is not to be had.
    """
    from pipeline.audit.retention import ends_at_ms, is_over
    from pipeline.cli.progress import Progress
    from pipeline.control.overdue import due
    from pipeline.keys import load
    from pipeline.storage import overdue
    from pipeline.storage.check import partition_count
    from pipeline.storage.client import connect
    from pipeline.storage.expire import cells, drop_expired
    from pipeline.transport.policies import read_holds

    client = connect(settings, purpose="retention", timeout_s=ANSWER_S)
    try:
        now = client.now_ms() if now_ms is None else now_ms
        version, policy = policies_of(settings).at(now)
        early = due(policy, overdue.groups(client), now)
        keys, partitions = load(settings), partition_count(settings)
        if dry_run:
            goes = {cell: rows for cell, rows in cells(client).items() if is_over(cell, now) or cell in early.cells}
            would = _sums(early)
            return Applied(tuple(Held(cell, rows, ends_at_ms(cell)) for cell, rows in goes.items()), would, {}, 0)
        with Progress("retention") as progress:

            def told(done: int, total: int, what: str) -> None:
                progress.update(done, what, total)

            expired = drop_expired(settings, client, partitions, now_ms=now, also=early.cells, progress=told)
            removed: Mapping[str, int] = {}
            if early.groups:
                holds, request = read_holds(settings, keys), f"policy-{version}"
                removed = overdue.remove(settings, client, keys, partitions, request, early.groups, holds, told)
    finally:
        client.close()
    dropped = tuple(Held(each.cell, each.rows, ends_at_ms(each.cell)) for each in expired.dropped)
    return Applied(dropped, removed, expired.released, sum(each.held for each in expired.dropped))


def look(settings: Settings, *, grace_ms: int, now_ms: int | None = None) -> tuple[Ages, Policy]:
    """How old everything is, and the policy that it is compared with; see `run` for what is given and raised."""
    from pipeline.keys import load
    from pipeline.storage.ages import ages
    from pipeline.storage.client import connect
    from pipeline.transport.policies import read_holds

    client = connect(settings, purpose="retention", timeout_s=ANSWER_S)
    try:
        now = client.now_ms() if now_ms is None else now_ms
        policy, keys = policies_of(settings).at(now)[1], load(settings)
        return ages(client, keys, policy, read_holds(settings, keys), now, grace_ms), policy
    finally:
        client.close()


def held(settings: Settings) -> list[Held]:
    """Every stored partition, what goes first first.

    Raises:
        ClickHouseError: The server does not answer.
    """
    from pipeline.audit.retention import ends_at_ms
    from pipeline.storage.client import connect
    from pipeline.storage.expire import cells

    client = connect(settings, purpose="retention")
    try:
        found = cells(client)
    finally:
        client.close()
    return sorted((Held(cell, rows, ends_at_ms(cell)) for cell, rows in found.items()), key=_order)


def policies_of(settings: Settings) -> Policies:
    """Every version of the policy.

    Raises:
        UsageError: There is none.
    """
    from pipeline.transport.policies import read_policies

    policies = read_policies(settings)
    if not policies:
        raise UsageError(f"{settings.topic('controls')} holds no policy. Run `tokentrail migrate`.")
    return policies


def _sums(early: Due) -> dict[str, int]:
    found: dict[str, int] = {}
    for group in early.groups:
        found[group.cell.table] = found.get(group.cell.table, 0) + group.rows
    return found


def _order(each: Held) -> tuple[int, str]:
    return each.ends_at_ms, each.cell.table
