"""Who reads text says why, and the auditor sees it afterwards: by our command or past it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from typer.testing import CliRunner

from infra.embedded import EmbeddedServers, Endpoints, read_secret
from pipeline.cli import main
from pipeline.storage.client import connect
from pipeline.storage.migrate import migrate
from tests.system.storage_support import settings_for

pytestmark = pytest.mark.system
WHY = "ticket 4711, a wrong answer"


@pytest.fixture(scope="module")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    with EmbeddedServers(tmp_path_factory.mktemp("reads") / "data", kafka=False) as servers:
        settings = settings_for(servers.endpoints)
        client = connect(settings, purpose="test")
        migrate(settings, client=client)
        client.command(
            "INSERT INTO tokentrail.call_content (offset, tenant, received_at, retention_days, id, input) "
            "VALUES (7, 'acme', now64(3), 30, 'a', 'redacted words')"
        )
        client.close()
        yield servers.endpoints


def login(endpoints: Endpoints, user: str) -> Client:
    return clickhouse_connect.get_client(
        host=endpoints.clickhouse_host,
        port=endpoints.clickhouse_port,
        username=user,
        password=read_secret(endpoints.data_dir, user),
        database="tokentrail",
    )


def query(endpoints: Endpoints, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main.app, ["query", *arguments, "--data", str(endpoints.data_dir)])
    return done.exit_code, done.output + str(done.exception or "")


def reads(endpoints: Endpoints) -> list[dict[str, object]]:
    """What the auditor is shown."""
    login(endpoints, "pipeline").command("SYSTEM FLUSH LOGS")
    shown = CliRunner().invoke(main.app, ["access", "reads", "--json", "--data", str(endpoints.data_dir)])
    assert shown.exit_code == 0, shown.output
    return [json.loads(line) for line in shown.output.splitlines()]


def test_our_command_is_refused_text_without_a_reason_and_with_one_that_says_nothing(endpoints: Endpoints) -> None:
    text = "SELECT input FROM call_content"
    for reason in ((), ("--reason", "why not")):
        code, said = query(endpoints, text, "--user", "investigator", *reason)
        assert code != 0
        assert "reason" in said and "redacted words" not in said
    code, said = query(endpoints, text, "--user", "investigator", "--reason", WHY)
    assert code == 0 and "redacted words" in said


def test_a_read_is_kept_with_who_when_why_and_what(endpoints: Endpoints) -> None:
    query(endpoints, "SELECT input FROM call_content WHERE id = 'a'", "--user", "investigator", "--reason", WHY)
    past = login(endpoints, "investigator")
    past.query("SELECT * FROM call_content", settings={"log_comment": "reason=past the command"})
    with pytest.raises(Exception, match="needs a reason"):
        past.query("SELECT mapKeys(other) FROM call_content")
    found = {(one["user"], one["reason"], one["purpose"], one["outcome"]) for one in reads(endpoints)}
    for outcome in ("begun", "done"):
        assert ("investigator", WHY, "query", outcome) in found
        assert ("investigator", "past the command", "", outcome) in found
    # A read that was refused is kept as well.
    assert ("investigator", "", "", "failed") in found
    begun = [one for one in reads(endpoints) if one["reason"] == "past the command" and one["outcome"] == "done"]
    assert begun[0]["columns"] == [
        f"tokentrail.call_content.{name}" for name in ("input", "other", "output", "tool_calls")
    ]
    assert begun[0]["rows"] == 1


@pytest.mark.parametrize(
    "what", ["other['error.message']", "length(input)", "input.size", "mapKeys(other)", "position(output, 'x')"]
)
def test_a_read_of_a_part_of_a_text_is_kept_too(endpoints: Endpoints, what: str) -> None:
    reason = f"reason=a part: {what}"
    login(endpoints, "investigator").query(f"SELECT {what} FROM call_content", settings={"log_comment": reason})
    assert f"a part: {what}" in {one["reason"] for one in reads(endpoints)}


def test_reading_everything_but_text_is_kept_nowhere(endpoints: Endpoints) -> None:
    before = len(reads(endpoints))
    login(endpoints, "auditor").query("SELECT * FROM calls")
    login(endpoints, "ingest").query("SELECT count(), max(offset) FROM call_content")
    assert len(reads(endpoints)) == before


def test_the_owner_cannot_read_unseen_without_leaving_a_row(endpoints: Endpoints) -> None:
    login(endpoints, "pipeline").query("SELECT input FROM call_content")
    assert ("pipeline", "begun") in {(one["user"], one["outcome"]) for one in reads(endpoints)}


def test_the_list_holds_no_query_and_the_investigator_cannot_change_it(endpoints: Endpoints, tmp_path: Path) -> None:
    assert not any("SELECT" in json.dumps(one) for one in reads(endpoints))
    for statement in ("ALTER TABLE text_reads DELETE WHERE 1", "TRUNCATE TABLE text_reads"):
        with pytest.raises(Exception, match=r"ACCESS_DENIED|READONLY"):
            login(endpoints, "investigator").command(statement)
