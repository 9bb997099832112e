"""`tokentrail anchor`, `verify --chain` and `evidence` on a running installation."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from agents.keeping import jobs
from pipeline.cli.main import main

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system


def send(run, path, count=20):
    ids = [str(uuid.uuid4()) for _ in range(count)]
    now = time.time_ns() // 10**6
    events = [{"id": id, "ts": now, "tenant": "proof", "input": "Hello there", "model": "gpt-4o"} for id in ids]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = run("emit", path, "--json", "--wait", "--wait-timeout", 60)
    assert done.code == 0, done.err
    return ids


def check(capsys, *arguments):
    """`evidence check` needs no installation."""
    try:
        main(["evidence", "check", *map(str, arguments), "--json"])
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    return code, json.loads(capsys.readouterr().out)


def test_an_anchor_is_put_away_and_the_chain_is_held_to_it(run, installation, tmp_path):
    send(run, tmp_path / "events.jsonl")
    there = tmp_path / "anchors"
    made = run("anchor", "--to", there, "--json")
    assert made.code == 0, made.err
    assert set(made.json["ends"]) == {str(number) for number in range(installation.settings.partitions)}
    done = run("verify", "--chain", "--anchors", there, "--json")
    assert done.code == 0, done.out
    assert all(partition["signed"] and partition["anchored"] == 1 for partition in done.json["partitions"])
    told = run("verify", "--from-clickhouse", "--anchors", there)
    assert told.code == 0 and "4 anchored heads are true of it" in told.out
    # An anchor of somebody else, or one that was changed, is none.
    (document,) = there.iterdir()
    changed = json.loads(document.read_text())
    changed["heads"][0]["signed"]["head"] = "0" * 64
    document.write_text(json.dumps(changed))
    done = run("verify", "--chain", "--anchors", there)
    assert done.code == 1 and "anchor_forged" in done.out and document.name in done.out
    assert run("verify", "--chain", "--anchors", tmp_path / "nowhere").code == 2
    assert run("verify", "--anchors", there).code == 2


def test_an_incremental_check_begins_where_the_last_one_ended_and_says_what_it_leaves_out(run, installation, tmp_path):
    send(run, tmp_path / "events.jsonl")
    first = run("verify", "--incremental", "--json")
    assert first.code == 0 and first.json["not_looked_at"] == [] and first.json["rows"] >= 20
    send(run, tmp_path / "more.jsonl", 7)
    second = run("verify", "--incremental", "--json")
    assert second.code == 0 and 7 <= second.json["rows"] < first.json["rows"]
    assert any("finished before" in said for said in second.json["not_looked_at"])
    remembered = installation.folder / "verified.json"
    remembered.write_text(remembered.read_text().replace('"end":', '"end": '))
    third = run("verify", "--incremental")
    assert third.code == 2 and "was changed since" in third.err
    remembered.unlink()


def test_one_record_is_proved_by_a_file_that_needs_nothing_else(run, capsys, installation, tmp_path):
    (id, *_) = send(run, tmp_path / "events.jsonl")
    file, key = tmp_path / "call.json", tmp_path / "key.pem"
    there = tmp_path / "anchors"
    assert run("anchor", "--to", there).code == 0
    done = run("evidence", id, "--out", file, "--text", "--anchors", there, "--json")
    assert done.code == 0, done.err
    assert done.json["tables"] == ["call_content", "calls"] and done.json["shows"] == ["text", "anchor"]
    assert "Hello there" in file.read_text()
    key.write_text(run("evidence", "key").out)
    code, told = check(capsys, file, "--public-key", key)
    assert (code, told["ok"], told["failures"]) == (0, True, [])

    plain = tmp_path / "plain.json"
    assert run("evidence", done.json["position"], "--out", plain, "--anchors", there).code == 0
    assert "Hello there" not in plain.read_text()
    assert check(capsys, plain)[0] == 0

    file.write_text(file.read_text().replace("Hello there", "Hello where"))
    code, told = check(capsys, file)
    assert code == 1 and told["failures"] == ["the text is not the one that was stored"]
    assert run("evidence", "no-such-id", "--out", file).code == 2


def test_an_anchor_goes_to_any_store_and_once_a_day(installation):
    from agents.keeping.anchor import Anchor
    from agents.keeping.job import Keeping
    from pipeline.keys import load
    from pipeline.storage import anchors
    from pipeline.storage.check import partition_count
    from pipeline.storage.client import connect

    settings = installation.settings.model_copy(update={"anchors": f"memory://{uuid.uuid4().hex}/anchors"})
    client = connect(settings, purpose="test")
    at = Keeping(settings, client, load(settings), partition_count(settings))
    every = {job.name: job for job in jobs()}
    assert {"copy", "heads", "anchor"} <= set(every)
    for _ in range(2):
        for name in ("copy", "heads", "anchor"):
            every[name].run(at)
    assert len(anchors.names(settings.anchors)) == 1
    # Another process finds today's where it is.
    again = next(job for job in jobs() if isinstance(job, Anchor))
    again.run(at)
    ((name, found),) = anchors.get(settings.anchors)
    assert found is not None and found.installation.endswith(f"/{settings.prefix}") and name.startswith("anchor-")
    client.close()
