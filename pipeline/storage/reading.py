"""Read chained rows back as the very tuples they were made of, in position order, for counting and verifying.

Memory is bounded by the caller's span of positions. Must not judge what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pipeline.audit.tables import TABLES, Column, Kind, Table
from pipeline.storage.client import Client

_READ: Final[dict[Kind, str]] = {
    "ms": "toUnixTimestamp64Milli({0})",
    # Through 128 bits, because the product does not fit 64.
    "money": "toInt64(toDecimal128({0}, 9) * toDecimal128(1000000000, 0))",
}


@dataclass(frozen=True, slots=True)
class Span:
    """Source positions `first` to `next - 1` of one partition."""

    epoch: int
    partition: int
    first: int
    next: int


def rows(client: Client, table: Table, span: Span) -> Iterator[tuple[Any, ...]]:
    """All rows of a span in position order; a position that stands there twice comes twice."""
    sql = f"SELECT {selection(table)} FROM {client.database}.{table.name} WHERE {_WHERE} ORDER BY offset"
    for block in client.stream(sql, _parameters(span)):
        yield from block


def selection(table: Table, width: int | None = None) -> str:
    """What to select so that rows come back as the tuples they were made of, or the first `width` values of them."""
    return ", ".join(_expression(column) for column in table.columns[:width])


def offsets(client: Client, table: Table, retention_days: int, week: str, span: Span) -> list[int]:
    """Offsets of the rows that stand in one ClickHouse partition, rising; twice where a row stands twice."""
    found = client.rows(
        f"SELECT offset FROM {client.database}.{table.name} WHERE {_WHERE} "
        "AND retention_days = {days:UInt16} AND toMonday(received_at) = {week:Date} ORDER BY offset",
        {**_parameters(span), "days": retention_days, "week": week},
    )
    return [offset for (offset,) in found]


@dataclass(frozen=True, slots=True)
class Origin:
    """All rows of one table that stem from one partition of one incarnation of the raw topic."""

    epoch: int
    partition: int
    rows: int
    highest: int
    false_dates: int


def origins(client: Client, table: Table) -> list[Origin]:
    """What a table holds, by where it came from; `false_dates` are rows whose retention date is not what it must be."""
    found = client.rows(
        "SELECT epoch, partition, count(), max(offset), "
        "countIf(retention_date != toDate32(received_at) + retention_days) "
        f"FROM {client.database}.{table.name} GROUP BY epoch, partition ORDER BY epoch, partition"
    )
    return [Origin(*map(int, row)) for row in found]


def highest(client: Client, partition: int, epoch: int, offset: int) -> tuple[int, int] | None:
    """The highest (epoch, offset) of any chained row of a source partition, at or beyond this one; None without one."""
    union = " UNION ALL ".join(
        f"SELECT epoch, offset FROM {client.database}.{name} WHERE partition = {{partition:UInt32}} "
        "AND (epoch > {epoch:UInt32} OR (epoch = {epoch:UInt32} AND offset >= {offset:UInt64}))"
        for name in TABLES
    )
    parameters = {"epoch": epoch, "partition": partition, "offset": offset}
    ((count, found),) = client.rows(f"SELECT count(), max((epoch, offset)) FROM ({union})", parameters)
    return (int(found[0]), int(found[1])) if count else None


_WHERE: Final = (
    "epoch = {epoch:UInt32} AND partition = {partition:UInt32} AND offset >= {first:UInt64} AND offset < {next:UInt64}"
)


def _parameters(span: Span) -> dict[str, Any]:
    return {"epoch": span.epoch, "partition": span.partition, "first": span.first, "next": span.next}


def _expression(column: Column) -> str:
    return _READ.get(column.kind, "{0}").format(f"`{column.name}`")
