"""A tenant's reader sees its own rows and no text, by whatever way it tries to see more.

Two tenants write into every table; the other one's values are words and numbers that stand nowhere else. An attempt is
either refused with the error that is named, or answers with the reader's own rows: nothing of the other tenant is in
what comes back, neither in the answer, nor in the error, nor in the headers.
"""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest

from infra.access.matrix import TABLES, TENANT_READS
from infra.access.readers import FILE_NAME
from infra.embedded import EmbeddedServers, Endpoints, read_secret
from pipeline.storage.client import connect
from pipeline.storage.migrate import migrate
from tests.system.storage_support import settings_for

pytestmark = pytest.mark.system

OWN, OTHERS = 3, 20_001
GRANULE_ROWS = 8192
OTHER_WORDS = ("otherco", "secret", "8675309")
DENIED = "ACCESS_DENIED"
FIXED = "SETTING_CONSTRAINT_VIOLATION"

Ask = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    """What came back over HTTP."""

    status: int
    body: str
    headers: str

    def is_refused(self, error: str) -> bool:
        return self.status >= 400 and error in self.body


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    folder = tmp_path_factory.mktemp("attempts") / "data"
    folder.mkdir()
    (folder / FILE_NAME).write_text('acme_reader = "acme"\nother_reader = "otherco"\n')
    (folder / "plain.txt").write_text("secret of the machine")
    with EmbeddedServers(folder, kafka=False) as servers:
        settings = settings_for(servers.endpoints)
        client = connect(settings, purpose="test")
        migrate(settings, client=client)
        for table in TABLES:
            if table.is_view or table.holds == "machinery":
                continue
            found = client.rows(
                "SELECT name, type FROM system.columns WHERE database = 'tokentrail' AND default_kind = '' "
                "AND table = {table:String}",
                {"table": table.name},
            )
            columns = {str(name): str(kind) for name, kind in found}
            if "tenant" not in columns:
                continue
            for tenant, rows in (("acme", OWN), ("otherco", OTHERS)):
                client.command(_insert(table.name, columns, tenant, rows))
            # One part: the rows of both stand side by side, in the same granule.
            client.command(f"OPTIMIZE TABLE tokentrail.{table.name} FINAL")
        client.command("SYSTEM FLUSH LOGS")
        client.close()
        yield servers.endpoints


def _insert(table: str, columns: dict[str, str], tenant: str, rows: int) -> str:
    """Rows of a tenant, with words of its own in every text column and a number of its own."""
    theirs = tenant == "otherco"
    values = []
    for name, kind in columns.items():
        if name == "tenant":
            values.append(f"'{tenant}'")
        elif name in ("epoch", "partition"):
            values.append("1")
        elif name == "offset":
            values.append("number")
        elif name in ("received_at", "start", "opened_at"):
            values.append("now64(3)")
        elif name == "retention_days":
            values.append("400")
        elif name == "kind":
            values.append("'call'")
        elif kind in ("String", "LowCardinality(String)"):
            words = "secret" if theirs else "own"
            values.append(f"concat('{words}-', toString(number))")
        elif kind in ("Nullable(UInt64)", "UInt64", "Nullable(Float64)"):
            values.append("8675309" if theirs else "1")
        else:
            values.append(f"defaultValueOfTypeName('{kind.replace(chr(39), chr(92) + chr(39))}')")
    names = ", ".join(f"`{name}`" for name in columns)
    return f"INSERT INTO tokentrail.{table} ({names}) SELECT {', '.join(values)} FROM numbers({rows})"


@pytest.fixture(scope="module")
def ask(endpoints: Endpoints) -> Ask:
    def asked(query: str, user: str = "acme_reader", database: str = "tokentrail", **settings: object) -> Said:
        login = b64encode(f"{user}:{read_secret(endpoints.data_dir, user)}".encode()).decode()
        connection = http.client.HTTPConnection(endpoints.clickhouse_host, endpoints.clickhouse_port, timeout=20)
        target = "/?" + urlencode({"database": database, "wait_end_of_query": 1, **settings})
        query = query.replace("DATA", str(endpoints.data_dir))
        try:
            connection.request("POST", target, query.encode(), {"Authorization": f"Basic {login}"})
            answer = connection.getresponse()
            return Said(answer.status, answer.read().decode(errors="replace"), str(answer.headers))
        finally:
            connection.close()

    return asked


@pytest.mark.parametrize(
    "name", [table.name for table in TABLES if table.is_by_tenant and not table.is_view and table.holds in TENANT_READS]
)
def test_a_tenants_reader_sees_its_own_rows_of_a_table(ask: Ask, name: str) -> None:
    assert ask(f"SELECT tenant, count() FROM {name} GROUP BY tenant").body == f"acme\t{OWN}\n"
    assert ask(f"SELECT tenant, count() FROM {name} GROUP BY tenant", "other_reader").body == f"otherco\t{OTHERS}\n"
    assert ask(f"SELECT count() FROM {name}", "auditor").body == f"{OWN + OTHERS}\n"
    everything = ask(f"SELECT * FROM {name}")
    assert everything.status == 200, everything.body
    assert len(everything.body.splitlines()) == OWN
    assert not any(word in everything.body for word in OTHER_WORDS)


@pytest.mark.parametrize(
    "name", [table.name for table in TABLES if table.is_by_tenant and table.is_view and table.holds in TENANT_READS]
)
def test_a_view_shows_a_tenants_reader_nothing_of_others(ask: Ask, name: str) -> None:
    said = ask(f"SELECT * FROM {name}")
    assert said.status == 200, said.body
    assert ask(f"SELECT countIf(tenant != 'acme') FROM {name}").body == "0\n"
    assert not any(word in said.body for word in OTHER_WORDS)
    theirs = ask(f"SELECT * FROM {name}", "auditor")
    assert "otherco" in theirs.body, "the attempt would show nothing if there were nothing to see"


NO = {
    # text
    "the text": ("SELECT input FROM call_content", DENIED),
    "how much text": ("SELECT count() FROM call_content", DENIED),
    "text of its own calls": ("SELECT c.id, t.input FROM calls c JOIN call_content t USING (offset)", DENIED),
    "text in a subquery": ("SELECT id FROM calls WHERE id IN (SELECT id FROM call_content)", DENIED),
    "text by merge()": ("SELECT input FROM merge('tokentrail', '^call_content$')", "CANNOT_EXTRACT_TABLE_STRUCTURE"),
    "the plan of reading text": ("EXPLAIN SELECT input FROM call_content", DENIED),
    "the shape of the text table": ("DESCRIBE call_content", DENIED),
    "how the text table was made": ("SHOW CREATE TABLE call_content", DENIED),
    "whether there is text": ("EXISTS TABLE call_content", DENIED),
    # what is for the auditor
    "the ledger": ("SELECT * FROM ledger", DENIED),
    "positions of every id": ("SELECT * FROM calls_by_id WHERE id != ''", DENIED),
    # ways into the index, past the rows
    "the primary index": ("SELECT * FROM mergeTreeIndex('tokentrail', 'calls')", DENIED),
    "an index by question": ("SELECT * FROM mergeTreeAnalyzeIndexes('tokentrail', 'calls', tenant = 'x')", DENIED),
    "blocks of columns": ("SELECT * FROM mergeTreeCodecBlockCounts('tokentrail', 'calls')", DENIED),
    # out of the database
    "a file by function": ("SELECT file('DATA/plain.txt')", DENIED),
    "a file by a function in a lambda": ("SELECT arrayMap(x -> file(x), ['DATA/plain.txt'])", DENIED),
    "a file by a column transformer": ("SELECT * APPLY(file) FROM (SELECT 'DATA/plain.txt')", DENIED),
    "a file by table function": ("SELECT * FROM file('DATA/plain.txt', LineAsString)", DENIED),
    "a file as a table": ("SELECT * FROM default.`DATA/plain.txt`", DENIED),
    "a file as a template": ("SELECT 1 FORMAT Template SETTINGS format_template_row = 'DATA/plain.txt'", FIXED),
    "a file as a frame": ("SELECT 1 FORMAT Template SETTINGS format_template_resultset = 'DATA/plain.txt'", FIXED),
    "a file as a schema": ("SELECT 1 FORMAT Protobuf SETTINGS format_schema = 'DATA/plain.txt:M'", FIXED),
    "a schema into a file": ("SELECT 1 FORMAT ProtobufSingle SETTINGS output_format_schema = 'DATA/out'", FIXED),
    "errors into a file": ("SELECT 1 SETTINGS input_format_record_errors_file_path = 'DATA/out'", FIXED),
    "the folder": ("SELECT * FROM filesystem('DATA')", DENIED),
    "an address": ("SELECT * FROM url('http://127.0.0.1:1/', LineAsString)", DENIED),
    "an object store": ("SELECT * FROM s3('http://127.0.0.1:1/bucket/a', 'CSV', 'a String')", DENIED),
    "another server": ("SELECT * FROM remote('127.0.0.1', tokentrail.calls)", DENIED),
    "a MySQL server": ("SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')", DENIED),
    "a PostgreSQL server": ("SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')", DENIED),
    "a SQLite file": ("SELECT * FROM sqlite('DATA/plain.txt', 'a')", DENIED),
    "a program": ("SELECT * FROM executable('id', TSV, 'a String')", DENIED),
    "Python": ("SELECT * FROM python('x')", "FUNCTION_NOT_ALLOWED"),
    "a cluster": ("SELECT * FROM cluster('default', tokentrail.calls)", "CLUSTER_DOESNT_EXIST"),
    "all replicas": ("SELECT * FROM clusterAllReplicas('default', tokentrail.calls)", "CLUSTER_DOESNT_EXIST"),
    "a dictionary": ("SELECT * FROM dictionary('tokentrail.calls')", DENIED),
    "a dictionary's value": ("SELECT dictGet('tokentrail.calls', 'tenant', 1)", "BAD_ARGUMENTS"),
    "the input of nobody": ("SELECT * FROM input('a String')", "INVALID_USAGE_OF_INPUT"),
    "all tables as one": ("SELECT DISTINCT tenant FROM merge('tokentrail', '^calls$')", DENIED),
    "a loop over a table": ("SELECT * FROM loop(tokentrail.calls) LIMIT 9000", DENIED),
    "a plan as a table": ("SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM calls))", DENIED),
    "addresses of the server's code": ("SELECT addressToSymbol(1)", DENIED),
    "an answer into a file": ("SELECT * FROM calls INTO OUTFILE 'DATA/out'", "INTO_OUTFILE_NOT_ALLOWED"),
    # the server's own tables
    "queries that ran": ("SELECT query FROM system.query_log", DENIED),
    "queries that run": ("SELECT query FROM system.processes", DENIED),
    "queries that run, by command": ("SHOW PROCESSLIST", DENIED),
    "parts": ("SELECT partition, rows FROM system.parts", DENIED),
    "columns of parts": ("SELECT * FROM system.parts_columns", DENIED),
    "mutations": ("SELECT command FROM system.mutations", DENIED),
    "users": ("SELECT name FROM system.users", DENIED),
    "row policies": ("SHOW ROW POLICIES", DENIED),
    "grants of others": ("SHOW GRANTS FOR auditor", DENIED),
    "grants of everybody": ("SHOW ACCESS", DENIED),
    "settings of the server": ("SELECT * FROM system.server_settings", DENIED),
    "events of the server": ("SELECT * FROM system.events", DENIED),
    "information_schema": ("SELECT * FROM information_schema.tables", DENIED),
    "INFORMATION_SCHEMA": ("SELECT * FROM INFORMATION_SCHEMA.COLUMNS", DENIED),
    # changing
    "an insert": ("INSERT INTO calls (tenant) VALUES ('acme')", DENIED),
    "a table of its own": ("CREATE TABLE mine ENGINE = Memory AS SELECT * FROM calls", DENIED),
    "a temporary table": ("CREATE TEMPORARY TABLE mine AS SELECT * FROM calls", DENIED),
    "a view with another's rights": ("CREATE VIEW mine DEFINER = pipeline SQL SECURITY DEFINER AS SELECT 1", DENIED),
    "a change": ("ALTER TABLE calls DELETE WHERE 1", DENIED),
    "a drop": ("DROP TABLE calls", DENIED),
    "a function": ("CREATE FUNCTION f AS x -> x", DENIED),
    "another function file": ("DROP FUNCTION file", DENIED),
    "no row policy": ("DROP ROW POLICY x ON calls", DENIED),
    "more rights": ("GRANT SELECT ON *.* TO acme_reader", DENIED),
    "another's rights": ("EXECUTE AS auditor SELECT * FROM calls", "SUPPORT_IS_DISABLED"),
    "stopping others' queries": ("KILL QUERY WHERE 1", DENIED),
    "stopping the server": ("SYSTEM SHUTDOWN", DENIED),
    "closing the door": ("SYSTEM STOP LISTEN HTTP", DENIED),
    # settings
    "to write": ("SET readonly = 0", "READONLY"),
    "to write, in a query": ("SELECT 1 SETTINGS readonly = 0", "READONLY"),
    "to read unseen": ("SELECT * FROM calls SETTINGS log_queries = 0", FIXED),
    "to read unseen by chance": ("SELECT 1 SETTINGS log_queries_probability = 0", FIXED),
    "introspection": ("SELECT 1 SETTINGS allow_introspection_functions = 1", FIXED),
    "others' answers": ("SELECT 1 SETTINGS query_cache_share_between_users = 1", FIXED),
    "more memory": ("SELECT 1 SETTINGS max_memory_usage = 0", FIXED),
    "Python again": ("SELECT * FROM python('x') SETTINGS allow_python_table_function = 1", "QUERY_IS_PROHIBITED"),
}  # fmt: skip


@pytest.mark.parametrize("attempt", NO)
def test_an_attempt_is_refused(ask: Ask, attempt: str) -> None:
    query, error = NO[attempt]
    said = ask(query)
    assert said.is_refused(error), said.body
    words = [word for word in OTHER_WORDS if word not in query]
    assert not any(word in said.body for word in words)


ONLY_OWN: dict[str, tuple[str, str, dict[str, object]]] = {
    "a subquery": ("SELECT count() FROM calls WHERE tenant IN (SELECT tenant FROM feedback)", f"{OWN}\n", {}),
    "a join": ("SELECT count() FROM calls a JOIN feedback b USING offset WHERE a.tenant != b.tenant", "0\n", {}),
    "a view of its own making": ("SELECT DISTINCT tenant FROM view(SELECT * FROM calls)", "acme\n", {}),
    "the other tenant by name": ("SELECT count() FROM calls WHERE tenant = 'otherco'", "0\n", {}),
    "the other tenant in PREWHERE": ("SELECT count() FROM calls PREWHERE tenant = 'otherco' OR 1", f"{OWN}\n", {}),
    "more filters": ("SELECT count() FROM calls", f"{OWN}\n",
                     {"additional_table_filters": "{'tokentrail.calls': 'tenant != ''acme'' OR 1'}"}),
    "an error for every row": ("SELECT count() FROM calls WHERE throwIf(tenant != 'acme') = 0", f"{OWN}\n", {}),
    "an error in PREWHERE": ("SELECT count() FROM calls PREWHERE throwIf(latency_ms = 8675309) = 0", f"{OWN}\n", {}),
    "a division by zero": ("SELECT count() FROM calls PREWHERE intDiv(1, 8675309 - latency_ms) = 0", f"{OWN}\n", {}),
    "a division, in its place": ("SELECT count() FROM calls WHERE intDiv(1, 8675309 - latency_ms) = 0", f"{OWN}\n",
                                         {"optimize_move_to_prewhere": 0, "query_plan_enable_optimizations": 0}),
    "a policy after the rest": ("SELECT DISTINCT tenant FROM anomalies FINAL", "acme\n",
                                {"apply_row_policy_after_final": 1}),
    "a count without reading": ("SELECT count() FROM calls", f"{OWN}\n", {"optimize_trivial_count_query": 1}),
    "the ends of the index": ("SELECT min(tenant), max(tenant) FROM calls", "acme\tacme\n",
                              {"optimize_use_implicit_projections": 1}),
    "parts": ("SELECT max(_part_offset) < 8192, uniq(_partition_id) FROM calls", "1\t1\n", {}),
    "lists of tables": ("SELECT countIf(total_rows > 0), sum(total_bytes) FROM system.tables", "0\t\\N\n", {}),
    "lists of tables by command": ("SHOW TABLES LIKE 'feedback%'", "", {}),
    "sizes of columns": ("SELECT sum(data_uncompressed_bytes) FROM system.columns", "0\n", {}),
    "who it is": ("SELECT DISTINCT tenant, currentUser() FROM calls", "acme\tacme_reader\n", {}),
    "its own row policy's name": ("SELECT count() FROM calls SETTINGS log_comment = 'reason=I may'", f"{OWN}\n", {}),
    "text, if permitted": ("SELECT * FROM viewIfPermitted(SELECT input FROM call_content ELSE null('input String'))",
                           "", {}),
    "repeated queries from a cache": ("SELECT DISTINCT tenant FROM calls", "acme\n",
                                      {"use_query_cache": 1, "use_query_condition_cache": 1}),
}  # fmt: skip


@pytest.mark.parametrize("attempt", ONLY_OWN)
def test_an_attempt_answers_with_its_own_rows_alone(ask: Ask, attempt: str) -> None:
    query, answer, settings = ONLY_OWN[attempt]
    # The others' reader and the auditor ask first, so that caches are warm.
    for user in ("other_reader", "auditor"):
        ask(query, user, **settings)
    said = ask(query, **settings)
    assert (said.status, said.body) == (200, answer)


@pytest.mark.parametrize("explain", ["", "PLAN indexes = 1, actions = 1 ", "PIPELINE ", "QUERY TREE "])
def test_a_plan_tells_nothing_of_others(ask: Ask, explain: str) -> None:
    said = ask(f"EXPLAIN {explain}SELECT * FROM calls WHERE feature != ''")
    assert said.status == 200, said.body
    assert not any(word in said.body for word in (*OTHER_WORDS, str(OTHERS), str(OWN + OTHERS)))


def test_of_others_it_learns_at_most_how_full_the_granules_are_that_hold_rows_of_its_own(ask: Ask) -> None:
    estimate = ask("EXPLAIN ESTIMATE SELECT * FROM calls").body.split()
    assert int(estimate[3]) == GRANULE_ROWS
    headers = ask("SELECT sum(latency_ms) FROM calls").headers
    assert f'"read_rows":"{GRANULE_ROWS}"' in headers
    assert ask("EXPLAIN ESTIMATE SELECT * FROM calls WHERE tenant = 'otherco'").body.split()[2:] == ["0", "0", "0"]


def test_a_reader_that_nobody_gave_a_tenant_sees_nothing(endpoints: Endpoints, ask: Ask) -> None:
    assert ask("SELECT count() FROM calls", "finops").body == f"{OWN + OTHERS}\n"
    assert ask("SELECT count() FROM feedback", "finops").is_refused(DENIED)
    assert ask("SELECT count() FROM calls", "archive").is_refused(DENIED)


def test_these_are_more_than_thirty_attempts() -> None:
    assert len(NO) + len(ONLY_OWN) > 60
