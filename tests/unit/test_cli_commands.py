"""What holds for every command: help with an example, errors in one sentence, and filters without a server."""

import importlib.util
import json
import subprocess
import sys

import msgspec
import pytest
from typer.testing import CliRunner

from pipeline.cli import main as command
from pipeline.cli.listen import first_of_each
from pipeline.cli.query import _SQL, parameters
from pipeline.cli.reports import DIMENSIONS, REPORTS
from pipeline.cli.subscribe import line, wanted
from pipeline.errors import UsageError
from schemas.anomaly import Anomaly, Span

WRITTEN = [name for name, (module, _) in command.COMMANDS.items() if importlib.util.find_spec(module) is not None]


def anomaly(**changes):
    values = {
        "id": "a1", "rule": "cost.spike", "tier": 1, "severity": "SEV1", "state": "open", "revision": 1,
        "subject": {"tenant": "acme", "feature": "chat"}, "window": Span(0, 60_000), "observed": 2.0, "baseline": 1.0,
        "threshold": 2.0, "ratio": 2.0, "unit": "usd", "evidence": (), "why": "Cost of acme doubled.", "runbook": "",
        "opened_at": 0, "detected_at": 1_772_352_000_000,
    }  # fmt: skip
    return Anomaly(**(values | changes))


@pytest.mark.parametrize("name", WRITTEN)
def test_help_of_every_command_has_an_example(name):
    result = CliRunner().invoke(command.app, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"tokentrail {name}" in result.output.split("Options:")[1]


@pytest.mark.parametrize("name", WRITTEN)
def test_every_command_takes_data_and_those_that_answer_take_json(name):
    shown = CliRunner().invoke(command.app, [name, "--help"]).output
    if name in ("access", "retention", "raw"):
        shown = CliRunner().invoke(command.app, [name, "show", "--help"]).output
    for group, first in (("hold", "list"), ("evidence", "of"), ("budget", "list"), ("rules", "show")):
        if name == group:
            shown = CliRunner().invoke(command.app, [name, first, "--help"]).output
    assert name in ("bench", "redact") or "--data" in shown  # servers of its own, and none
    assert name == "worker" or "--json" in shown


def test_asking_for_help_imports_no_kafka_client_and_no_spacy():
    code = (
        "import sys\nfrom pipeline.cli.main import main\n"
        "try: main(['emit', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'confluent_kafka', 'clickhouse_connect', 'spacy', 'faust', 'rich.progress'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["emit", "x.jsonl"], ["subscribe"], ["query", "cost"]])
def test_without_an_installation_one_sentence_says_what_to_do(arguments, tmp_path, capsys, monkeypatch):
    for name in ("TOKENTRAIL_KAFKA_BOOTSTRAP", "TOKENTRAIL_CLICKHOUSE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended:
        command.main([*arguments, "--data", str(tmp_path)])
    said = capsys.readouterr().err.strip()
    assert ended.value.code == 2
    assert "tokentrail up" in said and len(said.splitlines()) == 1


def test_a_revision_is_told_once_and_a_foreign_record_is_told_apart():
    records = [msgspec.json.encode(anomaly(revision=n)) for n in (1, 1, 2, 1)] + [b"junk", b'{"schema":"other"}']
    told = [(item.revision if item else None) for _, item in first_of_each(records)]
    assert told == [1, 2, None, None]


def test_filters_of_subscribe():
    one = anomaly()
    assert wanted(one, None, None, None) and wanted(one, "acme", "cost.spike", 1) and wanted(one, None, "cost.", None)
    assert not wanted(one, "beta", None, None)
    assert not wanted(one, None, "cost", None)
    assert not wanted(one, None, None, 2)


def test_an_anomaly_is_one_plain_sentence():
    assert str(line(anomaly(why="Twice\nthe \x1bcost."))) == (
        "2026-03-01T08:00:00Z SEV1 page   cost.spike opened: Twice the  cost. [tenant acme, feature chat]"
    )
    assert "resolved (revision 3)" in str(line(anomaly(state="resolved", revision=3)))


def test_no_value_of_an_option_becomes_part_of_a_query():
    for name, report in REPORTS.items():
        found = parameters(name, report, None, "24h", "a' OR 1=1 --", 10)
        assert found["tenant"] == "a' OR 1=1 --"
        assert set(found) == {"since_ms", "tenant", "limit"} | ({"by"} if report.by else set())
        for placeholder in ("{since_ms:Int64}", "{tenant:String}", "{limit:UInt64}"):
            assert placeholder in report.sql, name


def test_grouping_is_by_a_known_dimension_of_a_grouped_report():
    assert parameters("cost", REPORTS["cost"], "day", None, None, 0)["by"] == "day"
    with pytest.raises(UsageError, match=", ".join(DIMENSIONS)):
        parameters("cost", REPORTS["cost"], "id; DROP TABLE calls", None, None, 0)
    with pytest.raises(UsageError, match="leave --by out"):
        parameters("slowest", REPORTS["slowest"], "tenant", None, None, 0)


@pytest.mark.parametrize(
    "sql", ["SELECT 1", " with x as (select 1) select * from x", "(SELECT 1)", "SHOW TABLES", "describe calls"]
)
def test_sql_that_reads_is_known_by_its_first_word(sql):
    assert _SQL.match(sql)


@pytest.mark.parametrize("text", ["costs", "DROP TABLE calls", "insert into calls", "selection", ""])
def test_anything_else_is_a_wrong_name(text, tmp_path, capsys):
    assert not _SQL.match(text)
    with pytest.raises(SystemExit) as ended:
        command.main(["query", text, "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert "cost" in capsys.readouterr().err


def test_a_report_of_emit_adds_up():
    from collections import Counter

    from pipeline.cli.emit import describe
    from pipeline.cli.sender import Tally

    tally = Tally(read=10, handed=8, delivered=4, turned_down=1, refused=Counter({"too_large": 2, "broker: x": 1}))
    tally.unknown["msg_timed_out"] = 2
    report = describe(tally, 2.0, None)
    assert (tally.pending, tally.lost, tally.holds) == (1, 3, False)
    assert report["read"] == report["delivered"] + report["refused"] + report["lost"] == 10
    assert json.loads(json.dumps(report)) == report
