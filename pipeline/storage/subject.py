"""Find what ClickHouse holds of somebody known by keyed hashes of pseudonyms only, and clear what is not chained.

Distinct values are read and hashed here, so that no pseudonym has to be kept anywhere to be found again. None enters a
text that the server keeps: these queries are not logged, and mutations name positions, ids, or hashes under a key that
is thrown away. Blocking.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pipeline.audit.erasing import bare_row, mark
from pipeline.audit.leaves import leaf
from pipeline.audit.rows import Row, week
from pipeline.audit.tables import CALL_CONTENT, OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES, Table
from pipeline.control.holds import Holds
from pipeline.keys import Keys
from pipeline.storage.change import Place, Wanted, at
from pipeline.storage.client import ClickHouseError, Client
from pipeline.storage.reading import selection
from schemas.ledger import Cell, Change

T = TypeVar("T")

# Tables whose rows say whose they are, what judges others first: its `about` names the call that is still to be found.
RECORDS: Final = ("evaluations", "feedback", "calls")
# Values, and positions, in one query.
VALUES_AT_ONCE: Final = 2_000
PLACES_AT_ONCE: Final = 4_000
# What else ties a person's or a run's records; of a single call only its id does.
TIES: Final = ("id", "run", "session", "trace")
# Keyed hashes and ids of events, as they stand in a query's text.
_TOKEN: Final = "[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_UNLOGGED: Final = " SETTINGS log_queries = 0, max_query_size = 16000000"
_ACCESS_DENIED: Final = 497


class Subject:
    """Somebody, by marks.

    Args:
        client: Where to look.
        keys: The key store.
        tenant: Whose records.
        kind: `user`, `run` or `id`: what the request selects by.
        marks: Of the selected pseudonyms.
        related: Marks of runs, sessions, traces and ids of records that were found before.
    """

    def __init__(
        self, client: Client, keys: Keys, tenant: str, kind: str, marks: Iterable[str], related: Iterable[str] = ()
    ) -> None:
        self._client = client
        self._keys = keys
        self._tenant = tenant
        self._kind = kind
        self._marks = frozenset(marks)
        self._related = set(related)

    # ---- chained rows

    def places(self) -> list[tuple[str, Place]]:
        """Table and position of every row that says it is the subject's, or about a call of the subject's."""
        found: dict[tuple[str, Place], None] = {}
        for table in reversed(RECORDS):
            ties = self._ties(table)
            for column, kind in self._columns(table):
                known = self._marks | self._related if kind == "id" else self._marks
                hits = [value for value in self._distinct(table, column) if self._mark(kind, value) in known]
                for row in self._having(table, column, hits, ties):
                    found[table, (int(row[0]), int(row[1]), int(row[2]))] = None
                    self._related.update(
                        self._mark(tie, value) for tie, value in zip(ties, row[3:], strict=True) if value
                    )
        order = {table: number for number, table in enumerate(RECORDS)}
        return sorted(found, key=lambda each: (order[each[0]], each[1]))

    @property
    def related(self) -> list[str]:
        """Marks of what the records found until now are tied to."""
        return sorted(self._related)

    def wanted(self, places: Sequence[tuple[str, Place]], holds: Holds) -> Iterator[Wanted | None]:
        """What the rows at these places become, each record's text before its row; None for a row under a hold.

        What is said of a call under a hold is held with it.
        """
        held_ids = self._held_ids(places, holds)
        for chunk in _parts(places, PLACES_AT_ONCE):
            texts: dict[Place, list[Row]] = {}
            for row in self._rows(CALL_CONTENT, [place for _, place in chunk], CALL_CONTENT.leaf_width):
                texts.setdefault(_place(row), []).append(row)
            for name in RECORDS:
                table = TABLES[name]
                for row in self._rows(table, [place for each, place in chunk if each == name]):
                    values = dict(zip(table.names, row, strict=True))
                    is_held = holds.covers(values) or values.get("about") in held_ids
                    for kind, one in [*((CALL_CONTENT, text) for text in texts.get(_place(row), ())), (table, row)]:
                        yield None if is_held else _wanted(kind, one)

    def _held_ids(self, places: Sequence[tuple[str, Place]], holds: Holds) -> set[str]:
        """Ids of the subject's calls that a hold covers."""
        found: set[str] = set()
        if not holds.in_force:
            return found
        table = TABLES["calls"]
        for chunk in _parts([place for name, place in places if name == table.name], PLACES_AT_ONCE):
            for row in self._rows(table, chunk):
                values = dict(zip(table.names, row, strict=True))
                if values["id"] and holds.covers(values):
                    found.add(values["id"])
        return found

    def _columns(self, table: str) -> list[tuple[str, str]]:
        """Columns to look at, and what kind of value they hold."""
        own = (self._kind, self._kind)
        # The ids of a person's or a run's calls are known once those are found; what is said of them goes too.
        return [own] if table == "calls" else [own, ("about", "id")]

    def _ties(self, table: str) -> list[str]:
        if table != "calls":
            return []
        return ["id"] if self._kind == "id" else list(TIES)

    def _distinct(self, table: str, column: str) -> Iterator[str]:
        sql = (
            f"SELECT DISTINCT `{column}` FROM {self._client.database}.{table} "
            f"WHERE tenant = {{tenant:String}} AND `{column}` != ''{_UNLOGGED}"
        )
        for block in self._client.stream(sql, {"tenant": self._tenant}):
            for (value,) in block:
                yield value

    def _having(self, table: str, column: str, values: Sequence[str], more: Sequence[str]) -> Iterator[Sequence[Any]]:
        columns = ", ".join(["epoch", "partition", "offset", *(f"`{name}`" for name in more)])
        sql = (
            f"SELECT {columns} FROM {self._client.database}.{table} "
            f"WHERE tenant = {{tenant:String}} AND `{column}` IN {{values:Array(String)}}{_UNLOGGED}"
        )
        for some in _parts(values, VALUES_AT_ONCE):
            for block in self._client.stream(sql, {"tenant": self._tenant, "values": list(some)}):
                yield from block

    def _rows(self, table: Table, places: Sequence[Place], width: int | None = None) -> Iterator[Row]:
        if not places:
            return
        sql = (
            f"SELECT {selection(table, width)} FROM {self._client.database}.{table.name} "
            f"WHERE tenant = {{tenant:String}} AND ({at(places)}){_UNLOGGED}"
        )
        for block in self._client.stream(sql, {"tenant": self._tenant}):
            yield from block

    def _mark(self, kind: str, value: str) -> str:
        return mark(self._keys, self._tenant, kind, value)

    def count(self, table: str) -> int:
        """Rows of a table, which may be a copy of one of ours, that say they are the subject's."""
        column = self._kind
        sql = (
            f"SELECT `{column}`, count() FROM {self._client.database}.{table} WHERE tenant = {{tenant:String}} "
            f"AND `{column}` != '' GROUP BY 1{_UNLOGGED}"
        )
        return sum(int(count) for value, count in self._ask(sql) if self._mark(column, value) in self._marks)

    # ---- what is not chained

    def clear_findings(self) -> dict[str, int]:
        """Remove windows and anomalies that name the subject, or a run of the subject's; rows by table."""
        done = {}
        database = self._client.database
        if self._kind == "user":
            sql = (
                f"SELECT subject['user'], count() FROM {database}.windows WHERE tenant = {{tenant:String}} "
                f"AND dimension = 'user' GROUP BY 1{_UNLOGGED}"
            )
            hits = {value: int(count) for value, count in self._ask(sql) if self._mark("user", value) in self._marks}
            if hits:
                # A finding can be computed again, so it is just removed; its pseudonym must not stand in the text.
                key = f"({secrets.randbits(64)}, {secrets.randbits(64)})"
                hashed = self._client.rows(
                    f"SELECT sipHash64Keyed({key}, arrayJoin({{values:Array(String)}})){_UNLOGGED}",
                    {"values": list(hits)},
                )
                names = ", ".join(str(value) for (value,) in hashed)
                where = f"dimension = 'user' AND sipHash64Keyed({key}, subject['user']) IN ({names})"
                self._delete(f"{database}.windows", where)
                done["windows"] = sum(hits.values())
        sql = (
            "SELECT id, any(subject['user']), any(subject['run']), any(subject['session']), count() "
            f"FROM {database}.anomalies WHERE tenant = {{tenant:String}} GROUP BY id{_UNLOGGED}"
        )
        found = {}
        known = self._marks | self._related
        for id, user, run, session, count in self._ask(sql):
            named = (("user", user), ("run", run), ("session", session))
            if any(value and self._mark(kind, value) in known for kind, value in named):
                found[id] = int(count)
        if found:
            ids = ", ".join(f"'{id}'" for id in found)
            self._delete(f"{database}.anomalies", f"id IN ({ids})")
            done["anomalies"] = sum(found.values())
        return done

    def clear_logs(self) -> tuple[dict[str, int], list[str]]:
        """Remove from the server's own logs what names the subject: rows by log, and logs that it did not let us clear.

        A log's entries of one query go together.
        """
        self._client.command("SYSTEM FLUSH LOGS")
        done: dict[str, int] = {}
        refused = []
        for name, columns in self._logs():
            values = ", ".join(f"`{column}`" for column in columns)
            sql = (
                f"SELECT query_id, arrayDistinct(extractAll(concatWithSeparator(' ', {values}), '{_TOKEN}')) AS tokens,"
                f" count() FROM system.{name} WHERE notEmpty(tokens) GROUP BY query_id, tokens{_UNLOGGED}"
            )
            try:
                hits: dict[str, int] = {}
                for query_id, tokens, count in self._client.rows(sql):
                    if self._is_named(tokens):
                        hits[query_id] = hits.get(query_id, 0) + int(count)
                for ids in _parts(list(hits), VALUES_AT_ONCE):
                    named = ", ".join("'" + id.replace("\\", "\\\\").replace("'", "\\'") + "'" for id in ids)
                    self._delete(f"system.{name}", f"query_id IN ({named})", by_tenant=False)
            except ClickHouseError as error:
                if error.code != _ACCESS_DENIED:
                    raise
                refused.append(name)
                continue
            if hits:
                done[name] = sum(hits.values())
        return done, refused

    def _is_named(self, tokens: Collection[str]) -> bool:
        known = self._marks | self._related
        kinds = {self._kind, *TIES}
        return any(self._mark(kind, token) in known for token in tokens for kind in kinds)

    def _logs(self) -> list[tuple[str, list[str]]]:
        """The server's own logs that know which query an entry is of, with their columns of text."""
        found = self._client.rows(
            "SELECT table, groupArray(name) FROM system.columns WHERE database = 'system' AND table IN (SELECT name "
            "FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log' AND engine LIKE '%MergeTree') "
            "AND type IN ('String', 'LowCardinality(String)') GROUP BY table HAVING has(groupArray(name), 'query_id')"
        )
        return [(name, list(columns)) for name, columns in sorted(found)]

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._client.rows(sql, {"tenant": self._tenant})

    def _delete(self, table: str, where: str, *, by_tenant: bool = True) -> None:
        # A parameter would be kept as its value; the tenant's name is in every row that stays, too.
        whose = "tenant = {tenant:String} AND " if by_tenant else ""
        parameters = {"tenant": self._tenant} if by_tenant else {}
        settings = {"mutations_sync": 2, "log_queries_cut_to_length": 500, "max_query_size": 16_000_000}
        self._client.command(f"ALTER TABLE {table} DELETE WHERE {whose}{where}", parameters, settings)


def _wanted(table: Table, row: Row) -> Wanted:
    left = bare_row(table, row)
    was, now = leaf(table, row), "" if left is None else leaf(table, left).hex()
    cell = Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
    return Wanted(row[1], Change(cell, row[0], row[OFFSET], was.hex(), now))


def _place(row: Row) -> Place:
    return row[0], row[1], row[OFFSET]


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
