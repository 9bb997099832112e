"""`tokentrail emit` on real Kafka: what goes out, where it lands, and that the report tells the truth."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest
from aiokafka.partitioner import murmur2

from pipeline.cli import sender
from pipeline.settings import Settings
from schemas.topics import RAW_MAX_BYTES
from tests.installation import wait_for

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system


def event(**fields):
    return {"kind": "call", "id": str(uuid.uuid4()), "ts": time.time_ns() // 10**6, "tenant": "emit-test", **fields}


def write(path, events):
    path.write_bytes(b"".join((e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n" for e in events))
    return path


def sent(installation, mark: bytes):
    """Messages of `calls.raw` that hold a mark, by sequence."""
    found = [m for m in installation.read("calls.raw") if mark in (m.value() or b"")]
    return sorted(found, key=lambda message: int(dict(message.headers())["sequence"]))


def test_lines_land_as_they_stand_with_key_headers_and_javas_partitioner(installation, run, tmp_path):
    mark = uuid.uuid4().hex
    lines = [json.dumps(event(run=f"r{n % 17}", input=mark), indent=None).encode() + b"  " for n in range(300)]
    done = run("emit", write(tmp_path / "events.jsonl", lines), "--json")
    assert done.code == 0, done.err
    assert (done.json["read"], done.json["delivered"], done.json["refused"], done.json["lost"]) == (300, 300, 0, 0)
    messages = sent(installation, mark.encode())
    assert [message.value() for message in messages] == lines
    headers = [dict(message.headers()) for message in messages]
    assert {header["schema"] for header in headers} == {b"tokentrail.event.v1"}
    assert len({header["producer"] for header in headers}) == 1
    assert [int(header["sequence"]) for header in headers] == list(range(1, 301))
    for number, message in enumerate(messages):
        assert message.key() == f"emit-test\x1fr{number % 17}".encode()
        assert message.partition() == (murmur2(message.key()) & 0x7FFFFFFF) % 4


def test_history_out_of_a_packed_file_is_marked(installation, run, tmp_path):
    mark = uuid.uuid4().hex
    old, new = event(ts=1_700_000_000_000, input=mark), event(input=mark)
    file = tmp_path / "events.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n".join(json.dumps(each).encode() for each in (old, new))))
    assert run("emit", file).code == 0
    assert [json.loads(m.value()) for m in sent(installation, mark.encode())] == [{"backfill": True, **old}, new]


def test_waiting_ends_when_every_event_is_a_row_or_a_dead_letter(installation, run, tmp_path):
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    events = [event(tenant=tenant) for _ in range(50)] + [b"nonsense", b"[]", b'{"kind":"call"}']
    done = run("emit", write(tmp_path / "events.jsonl", events), "--wait", "--wait-timeout", 60, "--json")
    assert done.code == 0, done.err
    assert done.json["wait"]["arrived"] is True
    rows = installation.clickhouse().query("SELECT count() FROM calls WHERE tenant = {t:String}", {"t": tenant})
    assert rows.result_rows == [(50,)]
    reasons = {line["reason"]: line["path"] for line in run("query", "dead-letters", "--json").lines}
    assert reasons.keys() >= {"not_json", "wrong_type", "missing"} and reasons["missing"] == "$.tenant"


def test_a_wait_that_is_too_short_fails(run, tmp_path):
    done = run("emit", write(tmp_path / "events.jsonl", [event()]), "--wait", "--wait-timeout", 0)
    assert done.code == 1
    assert "1 delivered" in done.out and "not in ClickHouse" in done.out


def test_an_event_that_is_too_large_is_refused_and_its_neighbours_arrive(installation, run, tmp_path):
    mark = uuid.uuid4().hex
    noise = os.urandom(RAW_MAX_BYTES).hex()  # no compression makes it fit
    lines = [event(input=mark), event(input=noise), b"x" * (5 * RAW_MAX_BYTES), event(input=mark)]
    done = run("emit", write(tmp_path / "events.jsonl", lines), "--json")
    assert done.code == 1
    assert (done.json["delivered"], done.json["refused_by_reason"], done.json["lost"]) == (2, {"too_large": 2}, 0)
    assert len(sent(installation, mark.encode())) == 2


def test_strict_refuses_what_would_become_a_dead_letter(run, tmp_path):
    lines = [event(), b"nonsense", b"", event(latency_ms=-1)]
    done = run("emit", write(tmp_path / "events.jsonl", lines), "--strict", "--json")
    assert done.code == 1
    assert (done.json["read"], done.json["delivered"], done.json["refused"]) == (3, 1, 2)
    assert set(done.json["refused_by_reason"]) == {"not_json", "out_of_range at $.latency_ms"}


def test_a_limit_and_a_rate_are_kept(run, tmp_path):
    file = write(tmp_path / "events.jsonl", [event() for _ in range(100)])
    done = run("emit", file, "--limit", 20, "--rate", 40, "--json")
    assert (done.code, done.json["read"]) == (0, 20)
    assert 0.4 < done.json["seconds"] < 5


def test_an_interrupt_ends_the_file_and_not_the_truth(installation, tmp_path):
    mark = uuid.uuid4().hex
    file = write(tmp_path / "events.jsonl", [event(input=mark) for _ in range(5000)])
    command = ["emit", str(file), "--rate", "100", "--json", "--data", str(installation.folder)]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for("some of it to be sent", lambda: sent(installation, mark.encode()), 20)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
    report = json.loads(out)
    assert child.returncode == 130, err
    assert 0 < report["delivered"] == report["read"] < 5000
    assert len(sent(installation, mark.encode())) == report["delivered"]
    assert "Interrupted" in report["problem"]


def test_standard_input_is_sent_as_it_comes(installation):
    command = [sys.executable, "-m", "pipeline.cli.main", "emit", "-", "--json", "--data", str(installation.folder)]
    lines = "".join(json.dumps(event()) + "\n" for _ in range(3))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["delivered"] == 3


def test_what_no_broker_answers_for_is_lost_and_told(installation, run, tmp_path):
    file = write(tmp_path / "events.jsonl", [event() for _ in range(400)])
    kafka = installation.servers.pids()["kafka"]
    stopper = threading.Timer(1.0, os.kill, (kafka, signal.SIGSTOP))
    try:
        stopper.start()
        done = run("emit", file, "--rate", 150, "--timeout", 2, "--json")
    finally:
        stopper.cancel()
        os.kill(kafka, signal.SIGCONT)
    assert done.code == 1
    report = done.json
    assert report["delivered"] > 0 and report["lost"] > 0
    assert report["delivered"] + report["refused"] + report["lost"] == report["read"] == 400
    assert "msg_timed_out" in report["lost_by_reason"]


def test_no_kafka_and_no_topic_are_one_sentence_each(run, tmp_path, monkeypatch):
    file = write(tmp_path / "events.jsonl", [event()])
    monkeypatch.setenv("TOKENTRAIL_PREFIX", "nowhere.")
    done = run("emit", file)
    assert done.code == 2 and "no topic nowhere.calls.raw" in done.err and "tokentrail migrate" in done.err
    monkeypatch.setattr(sender, "CONNECT_S", 0.5)
    monkeypatch.setattr("pipeline.cli.emit.settings_for", lambda _: Settings(kafka_bootstrap="127.0.0.1:1"))
    done = run("emit", file)
    assert done.code == 69 and "127.0.0.1:1 does not answer" in done.err
