"""What is stored by cell, tenant and environment, and the removal of what a shorter policy keeps no longer.

Chained rows go as lawful changes of the ledger, text before the row that says whose it is; rows under a hold stay.
Whole cells are the business of `pipeline.storage.expire`. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from pipeline.audit.leaves import leaf
from pipeline.audit.tables import CHAINED, OFFSET
from pipeline.control.holds import Holds
from pipeline.control.overdue import Group
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.storage import held
from pipeline.storage.change import Wanted, change
from pipeline.storage.client import Client
from pipeline.storage.covered import NAMED, ORDER, PREFIX, TIME, UNLOGGED, Condition, Resolved, resolve
from pipeline.storage.reading import selection
from schemas.ledger import Cell, Change

Progress = Callable[[int, int, str], None]

# Rows that are made ready together, so that memory stays flat; a few records of the ledger.
ROWS_AT_ONCE: Final = 16_000
_WITH_ENVIRONMENT: Final = (*NAMED, "heartbeats")
_BY_POSITION: Final = ("call_content", "replays", "repricings")


def groups(client: Client) -> list[Group]:
    """What every table holds, from the rows themselves."""
    return [group for table in ORDER for group in _groups(client, table)]


def _groups(client: Client, table: str) -> Iterator[Group]:
    time = TIME[table]
    found = client.rows(
        f"SELECT retention_days, toString(toMonday({time})) AS week, tenant, {_environment(client, table)} AS env, "
        f"count(), toUnixTimestamp64Milli(min({time})) FROM {_source(client, table)} "
        "GROUP BY retention_days, week, tenant, env ORDER BY retention_days, week, tenant, env"
    )
    for days, week, tenant, environment, rows, oldest_ms in found:
        cell = Cell(table, int(days), str(week))
        yield Group(cell, tenant, environment, int(rows), int(oldest_ms))


def _environment(client: Client, table: str) -> str:
    """An expression for the environment of a row; NULL where nothing says it."""
    if table in _WITH_ENVIRONMENT:
        return "toNullable(toString(environment))"
    return "said.environment" if table in _BY_POSITION else "CAST(NULL AS Nullable(String))"


def _source(client: Client, table: str) -> str:
    """The table, joined with the rows that know the environment where it does not."""
    name = f"{client.database}.{table}"
    if table not in _BY_POSITION:
        return name
    union = " UNION ALL ".join(
        f"SELECT epoch, partition, offset, toNullable(toString(environment)) AS environment "
        f"FROM {client.database}.{each}"
        for each in NAMED
    )
    return f"{name} AS t LEFT ANY JOIN ({union}) AS said USING (epoch, partition, offset)"


def remove(
    settings: Settings,
    client: Client,
    keys: Keys,
    partitions: int,
    request: str,
    overdue: Sequence[Group],
    holds: Holds,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Remove rows that the policy keeps no longer; how many, by table.

    Args:
        settings: The installation.
        client: A connection that may change rows.
        keys: The key store.
        partitions: How many partitions the ledger has.
        request: What the ledger calls it.
        overdue: Of cells of which something stays.
        holds: What stays all the same.
        progress: Called with (groups done, groups in all, the cell).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer; what was begun is finished when it is called again.
    """
    done: dict[str, int] = {}
    for number, group in enumerate(sorted(overdue, key=lambda group: ORDER[group.cell.table])):
        if progress is not None:
            progress(number, len(overdue), str(group.cell))
        cell = group.cell
        covered = resolve(client, keys, holds.in_force, cell.week)
        if cell.table not in CHAINED:
            where, due = _due(client, group, covered)
            rows = held.delete_hashed(client, cell.table, cell.table, due, where)
        else:
            rows = 0
            for wanted in _wanted(client, group, covered):
                rows += sum(change(settings, client, keys, partitions, request, "policy", wanted).rows.values())
        done[cell.table] = done.get(cell.table, 0) + rows
    return {table: rows for table, rows in done.items() if rows}


def count_due(client: Client, group: Group, holds: Resolved) -> int:
    """How many rows of a group no hold covers."""
    where, due = _due(client, group, holds)
    sql = f"SELECT count() FROM {_source(client, group.cell.table)} WHERE {due}{UNLOGGED}"
    ((count,),) = client.rows(sql, where.parameters)
    return int(count)


def _due(client: Client, group: Group, holds: Resolved) -> tuple[Condition, str]:
    table, where = group.cell.table, Condition(client.database)
    said = [where.cell(group.cell), f"tenant = {where.value(group.tenant, 'String')}"]
    if table in _WITH_ENVIRONMENT or table in _BY_POSITION:
        environment = _environment(client, table)
        known = group.environment
        said.append(f"{environment} IS NULL" if known is None else f"{environment} = {where.value(known, 'String')}")
    said.append(f"NOT {where.covered(table, [scope for _, scope in holds])}")
    return where, " AND ".join(said)


def _wanted(client: Client, group: Group, holds: Resolved) -> Iterator[list[Wanted]]:
    """The rows with what the ledger has to know of them, some at a time."""
    table = CHAINED[group.cell.table]
    where, due = _due(client, group, holds)
    columns = selection(table, table.leaf_width)
    sql = f"SELECT {columns} FROM {_source(client, table.name)} WHERE {due} ORDER BY partition, offset{UNLOGGED}"
    wanted: list[Wanted] = []
    for block in client.stream(sql, where.parameters):
        for row in block:
            wanted.append(_gone(group.cell, row, leaf(table, row)))
            if len(wanted) >= ROWS_AT_ONCE:
                yield wanted
                wanted = []
    if wanted:
        yield wanted


def _gone(cell: Cell, row: Sequence[Any], was: bytes) -> Wanted:
    return Wanted(row[1], Change(cell, row[0], row[OFFSET], was.hex()))


def held_uncovered(client: Client, keys: Keys, holds: Holds) -> dict[str, int]:
    """Held rows that no hold in force covers, by table."""
    found: dict[str, int] = {}
    for table in ORDER:
        for week in held.weeks(client, table):
            count = held.count_uncovered(client, table, week, resolve(client, keys, holds.in_force, week))
            if count:
                found[PREFIX + table] = found.get(PREFIX + table, 0) + count
    return found
