"""Find the rows of somebody who is known by keyed hashes of pseudonyms only, and what they are to become.

Distinct values are read and hashed here, so that no pseudonym has to be kept anywhere to be found again. None enters a
text that the server keeps: these queries are not logged. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from pipeline.audit.erasing import bare_row, mark
from pipeline.audit.leaves import leaf
from pipeline.audit.rows import Row, week
from pipeline.audit.tables import CALL_CONTENT, OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES, Table
from pipeline.control.holds import Holds
from pipeline.keys import Keys
from pipeline.storage.change import Place, Wanted, at
from pipeline.storage.client import Client
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
UNLOGGED: Final = " SETTINGS log_queries = 0, max_query_size = 16000000"


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
        self.tenant = tenant
        self.kind = kind
        self._marks = frozenset(marks)
        self._related = set(related)

    # ---- chained rows

    def places(self) -> list[tuple[str, Place]]:
        """Table and position of every row that says it is the subject's, or about a call of the subject's."""
        found: dict[tuple[str, Place], None] = {}
        for table in reversed(RECORDS):
            ties = self._ties(table)
            for column, kind in self._columns(table):
                is_hit = self.is_tied if kind == "id" else self.is_named
                hits = [value for value in self._distinct(table, column) if is_hit(kind, value)]
                for row in self._having(table, column, hits, ties):
                    found[table, (int(row[0]), int(row[1]), int(row[2]))] = None
                    self._related.update(
                        self._mark(tie, value) for tie, value in zip(ties, row[3:], strict=True) if value
                    )
        order = {table: number for number, table in enumerate(RECORDS)}
        # Source partitions take turns, so that a statement names rows of all of them.
        return sorted(found, key=lambda each: (order[each[0]], each[1][0], each[1][2], each[1][1]))

    @property
    def related(self) -> list[str]:
        """Marks of what the records found until now are tied to."""
        return sorted(self._related)

    def wanted(self, places: Sequence[tuple[str, Place]], holds: Holds) -> Iterator[Wanted | None]:
        """What the rows at these places become, each record's text before its row; None for a row under a hold.

        What is said of a call under a hold is held with it.
        """
        held_ids = self._held_ids(places, holds)
        for chunk in parts(places, PLACES_AT_ONCE):
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
        for chunk in parts([place for name, place in places if name == table.name], PLACES_AT_ONCE):
            for row in self._rows(table, chunk):
                values = dict(zip(table.names, row, strict=True))
                if values["id"] and holds.covers(values):
                    found.add(values["id"])
        return found

    def _columns(self, table: str) -> list[tuple[str, str]]:
        """Columns to look at, and what kind of value they hold."""
        own = (self.kind, self.kind)
        # The ids of a person's or a run's calls are known once those are found; what is said of them goes too.
        return [own] if table == "calls" else [own, ("about", "id")]

    def _ties(self, table: str) -> list[str]:
        if table != "calls":
            return []
        return ["id"] if self.kind == "id" else list(TIES)

    def _distinct(self, table: str, column: str) -> Iterator[str]:
        sql = (
            f"SELECT DISTINCT `{column}` FROM {self._client.database}.{table} "
            f"WHERE tenant = {{tenant:String}} AND `{column}` != ''{UNLOGGED}"
        )
        for block in self._client.stream(sql, {"tenant": self.tenant}):
            for (value,) in block:
                yield value

    def _having(self, table: str, column: str, values: Sequence[str], more: Sequence[str]) -> Iterator[Sequence[Any]]:
        columns = ", ".join(["epoch", "partition", "offset", *(f"`{name}`" for name in more)])
        sql = (
            f"SELECT {columns} FROM {self._client.database}.{table} "
            f"WHERE tenant = {{tenant:String}} AND `{column}` IN {{values:Array(String)}}{UNLOGGED}"
        )
        for some in parts(values, VALUES_AT_ONCE):
            for block in self._client.stream(sql, {"tenant": self.tenant, "values": list(some)}):
                yield from block

    def _rows(self, table: Table, places: Sequence[Place], width: int | None = None) -> Iterator[Row]:
        if not places:
            return
        sql = (
            f"SELECT {selection(table, width)} FROM {self._client.database}.{table.name} "
            f"WHERE tenant = {{tenant:String}} AND ({at(places)}){UNLOGGED}"
        )
        for block in self._client.stream(sql, {"tenant": self.tenant}):
            yield from block

    def _mark(self, kind: str, value: str) -> str:
        return mark(self._keys, self.tenant, kind, value)

    def is_named(self, kind: str, value: str) -> bool:
        """Whether it is one of the selected pseudonyms."""
        return bool(value) and self._mark(kind, value) in self._marks

    def is_tied(self, kind: str, value: str) -> bool:
        """Whether it is one of them, or ties one of the records found until now."""
        return bool(value) and ((mark := self._mark(kind, value)) in self._marks or mark in self._related)

    def count(self, table: str) -> int:
        """Rows of a table, which may be a copy of one of ours, that say they are the subject's."""
        column = self.kind
        sql = (
            f"SELECT `{column}`, count() FROM {self._client.database}.{table} WHERE tenant = {{tenant:String}} "
            f"AND `{column}` != '' GROUP BY 1{UNLOGGED}"
        )
        found = self._client.rows(sql, {"tenant": self.tenant})
        return sum(int(count) for value, count in found if self.is_named(column, value))


def _wanted(table: Table, row: Row) -> Wanted:
    left = bare_row(table, row)
    was, now = leaf(table, row), "" if left is None else leaf(table, left).hex()
    cell = Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
    return Wanted(row[1], Change(cell, row[0], row[OFFSET], was.hex(), now))


def _place(row: Row) -> Place:
    return row[0], row[1], row[OFFSET]


def parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """A list in pieces of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
