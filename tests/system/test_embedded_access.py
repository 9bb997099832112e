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

from infra.access import sql
from infra.access.matrix import BY_NAME, ROLES, TABLES, USERS, Role
from infra.embedded import EmbeddedServers, Endpoints, read_secret

pytestmark = pytest.mark.system
READERS = tuple(role.name for role in ROLES if role.is_reader)
REASON = {"log_comment": "reason=case 17 of the works council"}
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
    columns = "id UInt32, text String, tenant String, received_at DateTime, retention_days UInt16, epoch UInt32"
    columns += ", partition UInt32, offset UInt64, retention_date Date MATERIALIZED today()"
    for table in TABLES:
        if not table.is_view:
            owner.command(f"CREATE TABLE tokentrail.{table.name} ({columns}) ENGINE = MergeTree ORDER BY id")
            owner.command(f"INSERT INTO tokentrail.{table.name} (id, text, tenant) VALUES (1, 'x', 'acme')")
    for table in TABLES:
        if table.is_view:
            owner.command(f"CREATE VIEW tokentrail.{table.name} AS SELECT id FROM tokentrail.calls")
    owner.command("SYSTEM FLUSH LOGS")  # the query log's table appears with its first rows
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize("role", [role for role in ROLES if role.is_reader], ids=lambda role: role.name)
def test_a_reader_reads_what_the_matrix_says_and_nothing_else(clients: dict[str, Client], role: Role) -> None:
    for name, table in BY_NAME.items():
        query = f"SELECT count() FROM tokentrail.{name}"
        if table.holds in role.reads:
            assert clients[role.name].query(query, settings=REASON).result_rows == [(1,)], name
        else:
            with pytest.raises(DatabaseError, match=DENIED):
                clients[role.name].query(query, settings=REASON)


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


def test_the_investigator_reads_the_text_when_it_says_why(clients: dict[str, Client]) -> None:
    query = "SELECT text FROM tokentrail.call_content"
    assert clients["investigator"].query(query, settings=REASON).result_rows == [("x",)]
    for comment in ("", "reason=", "reason=        ", "reason=short", "because"):
        for what in ("text", "count()", "1"):
            with pytest.raises(DatabaseError, match="Reading text needs a reason"):
                clients["investigator"].query(
                    f"SELECT {what} FROM tokentrail.call_content", settings={"log_comment": comment}
                )


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize("setting", ["log_queries", "log_queries_probability", "log_queries_min_query_duration_ms"])
def test_nobody_reads_unseen(clients: dict[str, Client], user: str, setting: str) -> None:
    value = 1 if setting == "log_queries_min_query_duration_ms" else 0
    with pytest.raises(DatabaseError, match="should not be changed"):
        clients[user].query(f"SELECT 1 SETTINGS {setting} = {value}")


@pytest.mark.parametrize("user", READERS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tokentrail.calls (id) VALUES (2)",
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


CHANGES = (
    "DROP TABLE {}", "TRUNCATE TABLE {}", "ALTER TABLE {} DELETE WHERE 1", "ALTER TABLE {} DROP PARTITION tuple()",
    "ALTER TABLE {} UPDATE text = 'z' WHERE 1", "OPTIMIZE TABLE {} FINAL", "KILL QUERY WHERE 1",
)  # fmt: skip


@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize(("user", "table"), [("ingest", "feedback"), ("archive", "windows")])
def test_a_stage_adds_rows_to_its_tables_and_removes_and_changes_none(
    clients: dict[str, Client], user: str, table: str, statement: str
) -> None:
    owner, count = clients["pipeline"], f"SELECT count() FROM tokentrail.{table}"
    before = owner.query(count).result_rows[0][0]
    clients[user].command(f"INSERT INTO tokentrail.{table} (id, tenant) VALUES ({before + 1}, 'acme')")
    with pytest.raises(DatabaseError, match=DENIED):
        clients[user].command(statement.format(f"tokentrail.{table}"))
    assert owner.query(count).result_rows == [(before + 1,)]


@pytest.mark.parametrize(
    ("user", "query"),
    [
        ("ingest", "INSERT INTO tokentrail.windows (id) VALUES (9)"),
        ("ingest", "INSERT INTO tokentrail.ledger (id) VALUES (9)"),
        ("ingest", "SELECT text FROM tokentrail.calls"),
        ("ingest", "SELECT text FROM tokentrail.call_content"),
        ("ingest", "SELECT count() FROM tokentrail.windows"),
        ("ingest", "SELECT query FROM system.query_log"),
        ("archive", "INSERT INTO tokentrail.calls (id) VALUES (9)"),
        ("archive", "SELECT id FROM tokentrail.windows"),
        ("archive", "SELECT id FROM tokentrail.calls"),
        ("custodian", "DROP TABLE tokentrail.calls"),
        ("custodian", "CREATE TABLE tokentrail.copy (id UInt32) ENGINE = MergeTree ORDER BY id"),
        ("custodian", "ALTER TABLE tokentrail.calls DROP COLUMN text"),
        ("custodian", "GRANT SELECT ON tokentrail.calls TO ingest"),
    ],
)
def test_a_stage_is_refused_what_is_not_its_own(clients: dict[str, Client], user: str, query: str) -> None:
    with pytest.raises(DatabaseError, match=DENIED):
        clients[user].command(query)


def test_the_sink_counts_positions_and_the_custodian_drops_and_changes(clients: dict[str, Client]) -> None:
    ((count, *_),) = clients["ingest"].query("SELECT count(), max(offset) FROM tokentrail.call_content").result_rows
    assert count == 1
    for statement in (
        "INSERT INTO tokentrail.late_events (id, tenant) VALUES (7, 'acme')",
        "ALTER TABLE tokentrail.late_events UPDATE text = 'z' WHERE id = 7",
        "ALTER TABLE tokentrail.late_events DELETE WHERE id = 7",
        "ALTER TABLE tokentrail.late_events DROP PARTITION tuple()",
    ):
        clients["custodian"].command(statement)
    assert clients["custodian"].query("SELECT count() FROM tokentrail.late_events").result_rows == [(0,)]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
        "SELECT * FROM python('x')",
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
    with pytest.raises(DatabaseError, match=rf"{DENIED}|READONLY|FUNCTION_NOT_ALLOWED"):
        clients[user].command(query)


def test_the_sql_for_other_servers_is_sql(clients: dict[str, Client]) -> None:
    readers = {"acme_reader": "acme", "odd_reader": "it's \\ odd"}
    lines = sql.statements(readers=readers, password_hashes={"auditor": "ab" * 32}, user_prefix="staging_")
    assert len(lines) > 100
    escaped = [line.replace("\\", "\\\\").replace("'", "\\'") for line in lines]
    formatted = clients["auditor"].query(
        "SELECT formatQuerySingleLine(line) FROM (SELECT arrayJoin(['" + "', '".join(escaped) + "']) AS line)"
    )
    assert len(formatted.result_rows) == len(lines)


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
