"""Who may do what in the embedded ClickHouse: the auditor reads records and never text, nobody escapes their grants."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from infra.embedded import EmbeddedServers, Endpoints, read_secret
from infra.embedded.clickhouse_users import AUDITOR_TABLES, AUDITOR_VIEWS, TEXT_TABLES, USERS

pytestmark = pytest.mark.system
READERS = ("auditor", "investigator", "oncall", "finops")
DENIED = "ACCESS_DENIED"


def login(endpoints: Endpoints, user: str, password: str | None = None) -> Client:
    return clickhouse_connect.get_client(
        host=endpoints.clickhouse_host,
        port=endpoints.clickhouse_port,
        username=user,
        password=password if password is not None else read_secret(endpoints.data_dir, user),
    )


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with EmbeddedServers(tmp_path_factory.mktemp("access") / "data", kafka=False) as servers:
        yield servers.endpoints


@pytest.fixture(scope="module")
def clients(endpoints: Endpoints) -> Iterator[dict[str, Client]]:
    clients = {user: login(endpoints, user) for user in USERS}
    owner = clients["pipeline"]
    owner.command("CREATE DATABASE tokentrail")
    for table in (*AUDITOR_TABLES, *TEXT_TABLES):
        owner.command(f"CREATE TABLE tokentrail.{table} (id UInt32, text String) ENGINE = MergeTree ORDER BY id")
        owner.command(f"INSERT INTO tokentrail.{table} VALUES (1, 'x')")
    for view in AUDITOR_VIEWS:
        owner.command(f"CREATE VIEW tokentrail.{view} AS SELECT id FROM tokentrail.calls")
    owner.command("SYSTEM FLUSH LOGS")  # the query log's table appears with its first rows
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("user", READERS)
def test_a_reader_reads_the_records_and_the_views(clients: dict[str, Client], user: str) -> None:
    for name in (*AUDITOR_TABLES, *AUDITOR_VIEWS):
        assert clients[user].query(f"SELECT count() FROM tokentrail.{name}").result_rows == [(1,)], name


@pytest.mark.parametrize("user", [user for user in READERS if user != "investigator"])
@pytest.mark.parametrize(
    "query",
    [
        "SELECT text FROM tokentrail.call_content",
        "SELECT count() FROM tokentrail.call_content",
        "SELECT id FROM tokentrail.call_content LIMIT 0",
        "SELECT c.id FROM tokentrail.calls c JOIN tokentrail.call_content t ON c.id = t.id",
        "SELECT * FROM mergeTreeIndex('tokentrail', 'call_content')",
        "SELECT query FROM system.query_log",
        "SELECT query FROM system.processes",
    ],
)
def test_a_reader_is_refused_the_text_by_every_way(clients: dict[str, Client], user: str, query: str) -> None:
    with pytest.raises(DatabaseError, match=DENIED):
        clients[user].query(query)


def test_the_investigator_reads_the_text(clients: dict[str, Client]) -> None:
    assert clients["investigator"].query("SELECT text FROM tokentrail.call_content").result_rows == [("x",)]


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tokentrail.calls VALUES (2, 'y')",
        "ALTER TABLE tokentrail.calls DROP PARTITION tuple()",
        "ALTER TABLE tokentrail.calls DELETE WHERE 1",
        "DROP TABLE tokentrail.calls",
        "CREATE TABLE tokentrail.copy (id UInt32) ENGINE = MergeTree ORDER BY id",
        "TRUNCATE TABLE tokentrail.calls",
    ],
)
def test_a_reader_changes_nothing(clients: dict[str, Client], user: str, statement: str) -> None:
    with pytest.raises(DatabaseError, match=rf"{DENIED}|READONLY"):
        clients[user].command(statement)
    assert clients["pipeline"].query("SELECT count() FROM tokentrail.calls").result_rows == [(1,)]


@pytest.mark.parametrize(
    "statement", ["DROP TABLE tokentrail.feedback", "TRUNCATE TABLE tokentrail.feedback", "KILL QUERY WHERE 1"]
)
def test_ingest_adds_rows_and_removes_none(clients: dict[str, Client], statement: str) -> None:
    before = clients["ingest"].query("SELECT count() FROM tokentrail.feedback").result_rows[0][0]
    clients["ingest"].insert("tokentrail.feedback", [[before + 1, "y"]], column_names=["id", "text"])
    with pytest.raises(DatabaseError, match=DENIED):
        clients["ingest"].command(statement)
    assert clients["ingest"].query("SELECT count() FROM tokentrail.feedback").result_rows == [(before + 1,)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "CREATE USER mallory",
        "GRANT SELECT ON *.* TO auditor",
        "CREATE DATABASE other",
        "CREATE TABLE tokentrail.leak (line String) ENGINE = File(LineAsString)",
        "SYSTEM STOP LISTEN HTTP",
        "SYSTEM SHUTDOWN",
    ],
)
def test_nobody_leaves_the_database(clients: dict[str, Client], user: str, query: str) -> None:
    with pytest.raises(DatabaseError, match=rf"{DENIED}|READONLY"):
        clients[user].command(query)


def test_the_owner_does_what_migrations_and_retention_need(clients: dict[str, Client]) -> None:
    owner = clients["pipeline"]
    for statement in (
        "CREATE TABLE tokentrail.aged (day Date, n UInt32) ENGINE = MergeTree PARTITION BY day ORDER BY n "
        "SETTINGS non_replicated_deduplication_window = 100, fsync_after_insert = 1, fsync_part_directory = 1",
        "INSERT INTO tokentrail.aged VALUES ('2026-01-01', 1), ('2026-01-02', 2)",
        "ALTER TABLE tokentrail.aged ADD COLUMN note String DEFAULT ''",
        "ALTER TABLE tokentrail.aged DROP PARTITION '2026-01-01'",
        "CREATE OR REPLACE VIEW tokentrail.aged_view AS SELECT n FROM tokentrail.aged",
        "SYSTEM FLUSH LOGS",
    ):
        owner.command(statement)
    assert owner.query("SELECT n FROM tokentrail.aged_view").result_rows == [(2,)]
    parts = owner.query("SELECT partition FROM system.parts WHERE active AND table = 'aged'").result_rows
    assert parts == [("2026-01-02",)]
    owner.command("DROP TABLE tokentrail.aged_view")
    owner.command("DROP TABLE tokentrail.aged")


def test_who_read_what_and_why_is_in_the_query_log(clients: dict[str, Client]) -> None:
    clients["auditor"].query("SELECT max(id) FROM tokentrail.ledger", settings={"log_comment": "case 17"})
    clients["pipeline"].command("SYSTEM FLUSH LOGS")
    found = clients["pipeline"].query(
        "SELECT user, log_comment, tables FROM system.query_log "
        "WHERE type = 'QueryFinish' AND query LIKE 'SELECT max(id) FROM tokentrail.ledger%'"
    )
    assert found.result_rows == [("auditor", "case 17", ["tokentrail.ledger"])]


def test_inserts_are_not_asynchronous_unless_asked(clients: dict[str, Client]) -> None:
    for user in USERS:
        assert clients[user].query("SELECT toUInt8(getSetting('async_insert'))").result_rows == [(0,)], user


def test_a_query_that_wants_too_much_memory_is_refused_and_the_server_goes_on(clients: dict[str, Client]) -> None:
    with pytest.raises(DatabaseError, match="MEMORY_LIMIT_EXCEEDED"):
        clients["pipeline"].query("SELECT length(groupArray(repeat('x', 1000))) FROM numbers(10000000)")
    assert clients["pipeline"].query("SELECT 1").result_rows == [(1,)]


def test_a_wrong_password_is_refused(endpoints: Endpoints) -> None:
    for password in ("", "wrong", read_secret(endpoints.data_dir, "finops")):
        with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
            login(endpoints, "auditor", password)


def test_without_a_name_nothing_is_read_and_nothing_is_stopped(
    endpoints: Endpoints, clients: dict[str, Client]
) -> None:
    address = f"http://{endpoints.clickhouse_host}:{endpoints.clickhouse_port}/"
    for query in ("SELECT * FROM tokentrail.calls", "SELECT * FROM numbers(3)", "SYSTEM STOP LISTEN HTTP"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address, data=query.encode(), timeout=5)
        with caught.value:
            assert "DB::Exception" in caught.value.read().decode()
    assert clients["auditor"].query("SELECT count() FROM tokentrail.calls").result_rows == [(1,)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's table of sockets")
def test_the_server_listens_on_loopback_only(endpoints: Endpoints) -> None:
    port = f"{endpoints.clickhouse_port:04X}"
    sockets = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()]
    listening = [fields[1] for fields in sockets if fields[1].endswith(f":{port}") and fields[3] == "0A"]
    assert listening == [f"0100007F:{port}"]
