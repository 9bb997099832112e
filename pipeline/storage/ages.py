"""How old what is stored is, from the rows themselves, and what of it should be gone. Reads only. Blocking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.audit.retention import ends_at_ms
from pipeline.control.holds import Holds
from pipeline.control.overdue import Group, due_ms
from pipeline.control.policy import Policy
from pipeline.keys import Keys
from pipeline.storage.client import Client
from pipeline.storage.covered import ORDER, TIME, resolve
from pipeline.storage.overdue import count_due, groups, held_uncovered

# Days by which the engine's own expiry stands behind ours.
TTL_MARGIN_DAYS: Final = 14

# too_old_by_stamp   rows whose stamped life is over
# too_old_by_policy  rows that the policy now in force keeps no longer, and no hold either
# released_but_held  held rows that no hold covers any more
# no_engine_ttl      a table behind which no engine TTL with the margin stands
Kind = Literal["too_old_by_stamp", "too_old_by_policy", "released_but_held", "no_engine_ttl"]


@dataclass(frozen=True, slots=True)
class Overdue:
    """Something that should not be. `since_ms` is since when, milliseconds since 1970; 0: there is no such time."""

    kind: Kind
    table: str
    tenant: str = ""
    rows: int = 0
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Ages:
    """What is stored and what of it should be gone."""

    groups: tuple[Group, ...]
    overdue: tuple[Overdue, ...]


def ages(client: Client, keys: Keys, policy: Policy, holds: Holds, now_ms: int, grace_ms: int) -> Ages:
    """Look at every table.

    Args:
        client: A connection that may read everything.
        keys: The key store.
        policy: In force now.
        holds: All of them.
        now_ms: The time to go by.
        grace_ms: What is due for less than this is left to the next run of expiry.
    """
    found = groups(client)
    wrong = [*_too_old(client, keys, policy, holds, found, now_ms - grace_ms)]
    for table, rows in held_uncovered(client, keys, holds).items():
        wrong.append(Overdue("released_but_held", table, rows=rows))
    wrong += [Overdue("no_engine_ttl", table) for table in _without_ttl(client)]
    return Ages(tuple(found), tuple(wrong))


def _too_old(
    client: Client, keys: Keys, policy: Policy, holds: Holds, found: Iterable[Group], due_before_ms: int
) -> Iterable[Overdue]:
    for group in found:
        table, end_ms = group.cell.table, ends_at_ms(group.cell)
        if end_ms <= due_before_ms:
            yield Overdue("too_old_by_stamp", table, group.tenant, group.rows, end_ms)
        elif (since_ms := due_ms(policy, group)) <= due_before_ms:
            rows = count_due(client, group, resolve(client, keys, holds.in_force, group.cell.week))
            if rows:
                yield Overdue("too_old_by_policy", table, group.tenant, rows, since_ms)


def _without_ttl(client: Client) -> list[str]:
    """Tables whose engine TTL is not the stamped life and the margin."""
    stated = dict(
        client.rows(
            "SELECT name, engine_full FROM system.tables WHERE database = {database:String}",
            {"database": client.database},
        )
    )
    return [
        table
        for table in ORDER
        if f"TTL toDateTime({TIME[table]}) + toIntervalDay(retention_days + {TTL_MARGIN_DAYS})" not in stated[table]
    ]
