"""Stored calls with what counts as their price now, and the rows of a repricing. Reads only; blocking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipeline.audit.repricing import Call
from pipeline.storage.client import Client
from schemas.ledger import Cell

# Of one query; what needs more is sorted on disk.
SORT_BYTES: Final = 200_000_000


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls; times are of receipt, milliseconds since 1970. An empty tenant is every tenant."""

    since_ms: int = 0
    until_ms: int = 2**53
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of one partition of one incarnation of the raw topic in one ClickHouse partition."""

    epoch: int
    partition: int
    retention_days: int
    week: str
    calls: int

    @property
    def cell(self) -> Cell:
        """Where their repricings stand, so that both end together."""
        return Cell("repricings", self.retention_days, self.week)


def groups(client: Client, scope: Scope) -> list[Group]:
    """Every group that holds calls of a scope."""
    found = client.rows(
        "SELECT epoch, partition, retention_days, toString(toMonday(received_at)) AS week, count() "
        f"FROM {client.database}.calls WHERE {_IN_SCOPE} GROUP BY epoch, partition, retention_days, week "
        "ORDER BY epoch, partition, retention_days, week",
        _scope(scope),
    )
    return [Group(*row) for row in found]


def calls(client: Client, group: Group, scope: Scope, next_offset: int = 2**63) -> Iterator[Call]:
    """Calls of a group below an offset, in the order of their offsets."""
    nano = "toInt64(toDecimal128({0}, 9) * toDecimal128(1000000000, 0))"

    def now(column: str, plain: str = "{0}") -> str:
        later, first = plain.format(f"later.{column}"), plain.format(f"calls.{column}")
        return f"if(later.repricing > 0, {later}, {first})"

    cell = (
        "epoch = {epoch:UInt32} AND partition = {partition:UInt32} AND retention_days = {days:UInt16} "
        "AND toMonday(received_at) = {week:Date}"
    )
    sql = (
        "SELECT calls.offset, calls.tenant, toUnixTimestamp64Milli(calls.received_at), "
        "toUnixTimestamp64Milli(calls.ts), calls.provider, calls.model, calls.response_model, calls.input_tokens, "
        "calls.cached_tokens, calls.cache_write_tokens, calls.output_tokens, "
        f"{now('cost_usd', nano)}, {now('list_cost_usd', nano)}, {now('cost_source')} "
        f"FROM (SELECT * FROM {client.database}.calls WHERE {cell} AND {_IN_SCOPE} "
        "AND offset < {next:UInt64}) AS calls "
        "LEFT JOIN (SELECT offset, repricing, cost_usd, list_cost_usd, cost_source "
        f"FROM {client.database}.repricings WHERE {cell} "
        "ORDER BY repricing DESC LIMIT 1 BY offset) AS later ON calls.offset = later.offset ORDER BY calls.offset "
        f"SETTINGS max_bytes_before_external_sort = {SORT_BYTES}"
    )
    where = {"epoch": group.epoch, "partition": group.partition, "days": group.retention_days, "week": group.week}
    for block in client.stream(sql, {**_scope(scope), **where, "next": next_offset}):
        for row in block:
            yield Call(*row)


def count(client: Client, partition: int, number: int) -> int:
    """How many rows of a repricing stand."""
    found = client.rows(
        f"SELECT count() FROM {client.database}.repricings WHERE partition = {{partition:UInt32}} "
        "AND repricing = {number:UInt64}",
        {"partition": partition, "number": number},
    )
    return int(found[0][0])


_IN_SCOPE: Final = (
    "kind = 'call' AND received_at >= fromUnixTimestamp64Milli({since:Int64}) "
    "AND received_at < fromUnixTimestamp64Milli({until:Int64}) AND ({tenant:String} = '' OR tenant = {tenant:String})"
)


def _scope(scope: Scope) -> Mapping[str, Any]:
    return {"since": scope.since_ms, "until": scope.until_ms, "tenant": scope.tenant}
