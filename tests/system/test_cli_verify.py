"""`tokentrail verify` and `tokentrail doctor` on a running installation, in order and out of it."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.installation import wait_for

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system


def send(run, path, count=20, **options):
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    now = time.time_ns() // 10**6
    events = [{"id": str(uuid.uuid4()), "ts": now, "tenant": tenant, "input": "Hello"} for _ in range(count)]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = run("emit", path, "--json", *(["--wait", "--wait-timeout", 60] if options.get("wait", True) else []))
    assert done.code == 0, done.err
    return tenant


@pytest.fixture
def sink_stopped(installation):
    """The sink is dead until the test is over."""
    with installation.without("sink"):
        yield


def test_what_was_sent_agrees_in_kafka_ledger_and_rows(run, tmp_path):
    send(run, tmp_path / "events.jsonl")
    done = run("verify", "--settled", "--json")
    assert done.code == 0, done.err
    assert done.json["ok"] is True and done.json["problems"] == [] and done.json["unsettled"] == {}
    counted = sum(sum(partition["counts"].values()) for partition in done.json["partitions"])
    assert counted == sum(partition["next"] for partition in done.json["partitions"])
    assert sum(partition["rows"]["calls"] for partition in done.json["partitions"]) >= 20


def test_a_row_that_was_changed_behind_our_back_is_found_and_named(installation, run, tmp_path):
    tenant = send(run, tmp_path / "events.jsonl")
    client = installation.clickhouse()
    kept = client.query(
        "SELECT * FROM calls WHERE tenant = {t:String} ORDER BY partition, offset LIMIT 1", {"t": tenant}
    )
    row = dict(zip(kept.column_names, kept.result_rows[0], strict=True))
    where = f"tenant = '{tenant}' AND partition = {row['partition']} AND offset = {row['offset']}"
    settings = {"mutations_sync": 2}
    try:
        client.command(f"ALTER TABLE calls DELETE WHERE {where}", settings=settings)
        told = run("verify")
        assert (
            told.code == 1 and "Kafka, ledger and rows DIFFER: 1 problem in" in told.out and "row_missing" in told.out
        )
        done = run("verify", "--json")
        assert done.code == 1
        (problem,) = done.json["problems"]
        assert problem["kind"] == "row_missing"
        assert problem["position"] == f"{row['epoch']}/{row['partition']}/{row['offset']}"
    finally:
        client.insert("calls", [list(row.values())], column_names=list(row))
    done = run("verify")
    assert done.code == 0 and "Kafka, ledger and rows agree" in done.out and "DIFFERS" not in done.out


def test_what_does_not_become_rows_in_time_fails_only_when_asked_for(run, tmp_path, sink_stopped):
    send(run, tmp_path / "events.jsonl", count=8, wait=False)
    assert run("verify").code == 0
    done = run("verify", "--settled", "--timeout", 0.5)
    assert done.code == 1 and "agree" in done.out and "positions did not become rows in time" in done.out


def findings(run):
    done = run("doctor", "--json")
    return done, {finding["part"]: finding for finding in done.json["findings"]}


def test_the_doctor_finds_a_running_installation_well(installation, run):
    wait_for(
        "metrics of the stages", lambda: all(findings(run)[1][f"stage {s}"]["state"] == "ok" for s in ("measure",))
    )
    done, found = findings(run)
    running = {f"stage {name}" for name in installation.supervisor.pids()}
    wrong = {part: finding for part, finding in found.items() if finding["state"] == "FAIL"}
    # Stages that this installation does not run are the only ones missed.
    assert all(part.startswith("stage ") and part not in running for part in wrong), wrong
    assert done.code == (1 if wrong else 0)
    parts = "kafka topics epochs policy clickhouse migrations grants auditor redaction keys room ledger".split()
    assert all(found[part]["state"] == "ok" for part in parts), found
    assert {f"lag {name}" for name in ("measure", "redact", "sink")} <= set(found)
    secrets = json.loads((installation.folder / "secrets.json").read_text()).values()
    root = (installation.folder / "keys" / "root.key").read_text().strip()
    told = run("doctor").out
    assert not [secret for secret in (*secrets, root) if secret in done.out + done.err + told]
    assert "ok   kafka" in told


def test_the_doctor_names_a_stage_that_is_gone_and_its_log(run, sink_stopped):
    done, found = findings(run)
    assert done.code == 1
    assert found["stage sink"]["state"] == "FAIL" and "stage-sink.log" in found["stage sink"]["todo"]


def test_the_doctor_sees_a_topic_that_differs_from_the_contract(installation, run):
    client = AdminClient(installation.settings.librdkafka())

    def set_to(value):
        entry = ConfigEntry("retention.ms", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, "llm.facts", incremental_configs=[entry])
        for future in client.incremental_alter_configs([resource]).values():
            future.result(20)

    set_to("3600000")
    try:
        _, found = findings(run)
        assert found["topics"]["state"] == "warn"
        assert "llm.facts has retention.ms=3600000, not 604800000" in found["topics"]["said"]
    finally:
        set_to("604800000")
    assert findings(run)[1]["topics"]["state"] == "ok"


def test_a_key_root_that_others_may_read_is_a_failure(installation, run):
    root = installation.folder / "keys" / "root.key"
    root.chmod(0o644)
    try:
        done, found = findings(run)
        assert done.code == 1 and found["keys"]["state"] == "FAIL" and "chmod 600" in found["keys"]["said"]
    finally:
        root.chmod(0o600)


def test_redaction_switched_off_is_a_failure(run, monkeypatch):
    monkeypatch.setenv("TOKENTRAIL_REDACTION", "off")
    assert findings(run)[1]["redaction"]["state"] == "FAIL"


def test_without_servers_the_doctor_says_how_to_start_them(tmp_path, capsys):
    from pipeline.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--data", str(tmp_path)])
    assert ended.value.code == 1
    assert "FAIL servers" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
