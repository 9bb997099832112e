"""Which rows in ClickHouse a legal hold covers, as conditions of SQL.

Scopes are compared with what rows show, so marked ones are resolved first. Queries that name somebody are not logged by
the server. Must not change anything, and must not decide what holds (`pipeline.control.holds`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from pipeline.audit.tables import CHAINED
from pipeline.control.holds import Hold, Scope
from pipeline.keys import Keys
from pipeline.storage.client import Client
from schemas.ledger import Cell

PREFIX: Final = "held_"
# Tables that are no part of the chain: they can be made again from the logs, and their end needs no record.
UNCHAINED: Final = ("windows", "anomalies", "late_events", "controls_log")
POSITION: Final = ("epoch", "partition", "offset")
# What makes a row the same row, and the time that its week is of.
IDENTITY: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys((*CHAINED, "late_events"), POSITION),
    "repricings": (*POSITION, "repricing"),
    "windows": ("tenant", "window_ms", "dimension", "subject_key", "start", "revision"),
    "anomalies": ("tenant", "rule", "id", "revision"),
    "controls_log": ("kind", "appended_at", "offset"),
}
TIME: Final[Mapping[str, str]] = {
    **dict.fromkeys((*CHAINED, "late_events"), "received_at"),
    "windows": "start",
    "anomalies": "opened_at",
    "controls_log": "appended_at",
}
# Where a row says whose it is. Other chained rows are asked by the position of such a row.
_WHO: Final[Mapping[str, tuple[str, str]]] = {
    **dict.fromkeys(("calls", "evaluations", "feedback"), ("`user`", "run")),
    **dict.fromkeys(("windows", "anomalies"), ("subject['user']", "subject['run']")),
}
_IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": ("id",),
    "evaluations": ("id", "about"),
    "feedback": ("id", "about"),
}
NAMED: Final = tuple(_IDS)
# Whose rows say whose they are goes last: other rows are asked by its positions.
ORDER: Final = {name: place for place, name in enumerate(sorted((*CHAINED, *UNCHAINED), key=NAMED.__contains__))}
UNLOGGED: Final = " SETTINGS log_queries = 0"


@dataclass
class Condition:
    """A condition of ClickHouse with its parameters; built up text by text.

    Attributes:
        database: Where the tables are.
        secret: Names persons, runs and calls by hashes with it, for statements that the server keeps; empty: plainly.
        parameters: By name.
    """

    database: str
    secret: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def value(self, value: Any, type: str) -> str:
        """A placeholder for a value."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return f"{{{name}:{type}}}"

    def cell(self, cell: Cell) -> str:
        """The rows of one ClickHouse partition."""
        days, week = self.value(cell.retention_days, "UInt16"), self.value(cell.week, "Date")
        return f"(retention_days = {days} AND toMonday({TIME[cell.table]}) = {week})"

    def covered(self, table: str, scopes: Sequence[Scope]) -> str:
        """The rows of a table that one of the scopes covers."""
        return f"({' OR '.join(self._scope(table, scope) for scope in scopes) or '0'})"

    def _scope(self, table: str, scope: Scope) -> str:
        said = [f"tenant = {self.value(scope.tenant, 'String')}"]
        time = f"toUnixTimestamp64Milli({TIME[table]})"
        if scope.from_ms is not None:
            said.append(f"{time} >= {self.value(scope.from_ms, 'Int64')}")
        if scope.to_ms is not None:
            said.append(f"{time} < {self.value(scope.to_ms, 'Int64')}")
        if not scope.names_calls:
            pass
        elif table in CHAINED and table not in NAMED:
            said.append(self._by_position(scope))
        else:
            user, run = _WHO.get(table, ("''", "''"))
            for values, expressions in (
                (scope.users, (user,)),
                (scope.runs, (run,)),
                (scope.ids, _IDS.get(table, ("''",))),
            ):
                if values is not None:
                    wanted = self.value([self._named(value) for value in values], "Array(String)")
                    said.append(f"({' OR '.join(f'{self._shown(each)} IN {wanted}' for each in expressions)})")
        return f"({' AND '.join(said)})"

    def _named(self, value: str) -> str:
        return sha256((self.secret + value).encode()).hexdigest().upper() if self.secret else value

    def _shown(self, expression: str) -> str:
        return f"hex(SHA256(concat('{self.secret}', {expression})))" if self.secret else expression

    def _by_position(self, scope: Scope) -> str:
        """A row is covered where the row that says whose it is is covered, wherever that stands by now."""
        found = " UNION ALL ".join(
            f"SELECT epoch, partition, offset FROM {self.database}.{where} WHERE {self._scope(table, scope)}"
            for table in NAMED
            for where in (table, PREFIX + table)
        )
        return f"(epoch, partition, offset) IN (SELECT epoch, partition, offset FROM ({found}))"


Resolved = Sequence[tuple[str, Scope]]  # id of the hold, and its scope as rows show it


def resolve(client: Client, keys: Keys, holds: Sequence[Hold], week: str) -> Resolved:
    """Holds with what the rows of one week show instead of marks."""
    return [(hold.id, hold.scope.resolved(keys, _shown(client, hold.scope, week))) for hold in holds]


def _shown(client: Client, scope: Scope, week: str) -> dict[str, set[str]]:
    """What rows of a tenant and week show of the kinds that a scope names."""
    found: dict[str, set[str]] = {}
    for place, (kind, named) in enumerate((("user", scope.users), ("run", scope.runs))):
        if named is not None:
            found[kind] = _distinct(client, scope.tenant, week, {table: (who[place],) for table, who in _WHO.items()})
    if scope.ids is not None:
        found["id"] = _distinct(client, scope.tenant, week, _IDS)
    return found


def _distinct(client: Client, tenant: str, week: str, expressions: Mapping[str, tuple[str, ...]]) -> set[str]:
    where = Condition(client.database)
    said = f"tenant = {where.value(tenant, 'String')} AND toMonday"
    monday = where.value(week, "Date")
    union = " UNION ALL ".join(
        f"SELECT {expression} AS shown FROM {client.database}.{name} WHERE {said}({TIME[table]}) = {monday}"
        for table, columns in expressions.items()
        for name in (table, PREFIX + table)
        for expression in columns
    )
    return {
        str(value)
        for block in client.stream(f"SELECT DISTINCT shown FROM ({union}){UNLOGGED}", where.parameters)
        for (value,) in block
    }


def counts(client: Client, scope: Scope) -> dict[str, int]:
    """How many rows a scope (not marked) covers now, by table and held table; without those of which none is."""
    found = {}
    for table in (*CHAINED, *UNCHAINED):
        for name in (table, PREFIX + table):
            where = Condition(client.database)
            sql = f"SELECT count() FROM {client.database}.{name} WHERE {where.covered(table, [scope])}{UNLOGGED}"
            ((count,),) = client.rows(sql, where.parameters)
            if count:
                found[name] = int(count)
    return found
