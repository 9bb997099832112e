"""Clear what ClickHouse holds of a subject beside chained rows: findings, the server's own logs, old parts on disk.

Nothing of it needs a record in the ledger: findings can be computed again, logs are the server's. The server keeps the
text of a mutation for a while, so it names ids of findings, or hashes under a key that is thrown away. Blocking.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, Final

from pipeline.audit.tables import CALL_CONTENT
from pipeline.storage.client import ClickHouseError, Client
from pipeline.storage.subject import RECORDS, TIES, UNLOGGED, VALUES_AT_ONCE, Subject, parts

# Keyed hashes and ids of events, as they stand in a query's text.
_TOKEN: Final = "[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_ACCESS_DENIED: Final = 497


class Leftovers:
    """What is left of a subject when its rows are changed.

    Args:
        client: A connection that may remove it.
        subject: Whose; what its rows were tied to is known.
    """

    def __init__(self, client: Client, subject: Subject) -> None:
        self._client = client
        self._subject = subject

    def clear_findings(self) -> dict[str, int]:
        """Remove windows and anomalies that name the subject, or a run of the subject's; rows by table."""
        done = {}
        database = self._client.database
        if self._subject.kind == "user":
            sql = (
                f"SELECT subject['user'], count() FROM {database}.windows WHERE tenant = {{tenant:String}} "
                f"AND dimension = 'user' GROUP BY 1{UNLOGGED}"
            )
            hits = {value: int(count) for value, count in self._ask(sql) if self._subject.is_named("user", value)}
            if hits:
                among = self._among("subject['user']", list(hits))
                self._delete(f"{database}.windows", f"dimension = 'user' AND {among}")
                done["windows"] = sum(hits.values())
        sql = (
            "SELECT id, any(subject['user']), any(subject['run']), any(subject['session']), count() "
            f"FROM {database}.anomalies WHERE tenant = {{tenant:String}} GROUP BY id{UNLOGGED}"
        )
        found = {}
        for id, user, run, session, count in self._ask(sql):
            named = (("user", user), ("run", run), ("session", session))
            if any(self._subject.is_tied(kind, value) for kind, value in named):
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
                f" count() FROM system.{name} WHERE notEmpty(tokens) GROUP BY query_id, tokens{UNLOGGED}"
            )
            try:
                hits: dict[str, int] = {}
                for query_id, tokens, count in self._client.rows(sql):
                    if self._is_tied(tokens):
                        hits[query_id] = hits.get(query_id, 0) + int(count)
                for ids in parts(list(hits), VALUES_AT_ONCE):
                    self._delete(f"system.{name}", self._among("query_id", ids), by_tenant=False)
            except ClickHouseError as error:
                if error.code != _ACCESS_DENIED:
                    raise
                refused.append(name)
                continue
            if hits:
                done[name] = sum(hits.values())
        return done, refused

    def old_parts(self) -> int:
        """Have the server take parts that nothing uses any more off the disk now; how many of before it still keeps.

        By itself it does so within minutes, or when `old_parts_lifetime` says.
        """
        database = self._client.database
        tables = [f"{database}.{name}" for name in (*RECORDS, CALL_CONTENT.name, "windows", "anomalies")]
        tables += [f"system.{name}" for name, _ in self._logs()]
        ((now,),) = self._client.rows("SELECT toUnixTimestamp(now())")
        for table in tables:
            # There is no such partition; whoever drops one cleans up behind it.
            with suppress(ClickHouseError):
                self._client.command(f"ALTER TABLE {table} DROP PARTITION ID 'none'")
        sql = (
            "SELECT count() FROM system.parts WHERE NOT active AND concat(database, '.', table) IN "
            "{tables:Array(String)} AND toUnixTimestamp(remove_time) <= {now:UInt32}"
        )
        return int(self._client.rows(sql, {"tables": tables, "now": now})[0][0])

    def _is_tied(self, tokens: Collection[str]) -> bool:
        return any(self._subject.is_tied(kind, token) for token in tokens for kind in {self._subject.kind, *TIES})

    def _logs(self) -> list[tuple[str, list[str]]]:
        """The server's own logs that know which query an entry is of, with their columns of text."""
        found = self._client.rows(
            "SELECT table, groupArray(name) FROM system.columns WHERE database = 'system' AND table IN (SELECT name "
            "FROM system.tables WHERE database = 'system' AND name LIKE '%\\_log' AND engine LIKE '%MergeTree') "
            "AND type IN ('String', 'LowCardinality(String)') GROUP BY table HAVING has(groupArray(name), 'query_id')"
        )
        return [(name, list(columns)) for name, columns in sorted(found)]

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._client.rows(sql, {"tenant": self._subject.tenant})

    def _among(self, expression: str, values: Sequence[str]) -> str:
        """A condition that holds for these values and does not say them."""
        key = f"({secrets.randbits(64)}, {secrets.randbits(64)})"
        sql = f"SELECT sipHash64Keyed({key}, arrayJoin({{values:Array(String)}})){UNLOGGED}"
        hashes = ", ".join(str(value) for (value,) in self._client.rows(sql, {"values": list(values)}))
        return f"sipHash64Keyed({key}, {expression}) IN ({hashes})"

    def _delete(self, table: str, where: str, *, by_tenant: bool = True) -> None:
        # A parameter would be kept as its value; the tenant's name is in every row that stays, too.
        whose = "tenant = {tenant:String} AND " if by_tenant else ""
        parameters = {"tenant": self._subject.tenant} if by_tenant else {}
        settings = {"mutations_sync": 2, "log_queries_cut_to_length": 500, "max_query_size": 16_000_000}
        self._client.command(f"ALTER TABLE {table} DELETE WHERE {whose}{where}", parameters, settings)
