"""Personal data is nowhere but in the raw topic, whichever field, key or header it came in by.

One run with redaction, looked through: every topic, table, log line and metric. A second run with redaction off finds
the canaries, so that the search itself is known to work.
"""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.canaries import READABLE, TEXT_COLUMNS, Canary, all_kinds, make, plant, string_fields, usable
from tests.installation import Installation, wait_for

STAGES = ("measure", "redact", "sink", "guard", "meter", "judge", "act")
TOPICS = ("facts", "calls", "ledger", "partials", "windows", "snapshots", "anomalies", "deadletter", "controls")


def send_all(installation: Installation) -> list[Canary]:
    """Plant every kind in every field, in unknown fields, in keys and in headers."""
    planted: list[Canary] = []

    def put(kind, field, event, **more):
        planted.append(make(kind, field))
        installation.produce([event(planted[-1].value)], **more)

    values = []
    for kind in all_kinds():
        for field in string_fields():
            planted.append(make(kind, field))
            values.append(plant(field, planted[-1].value))
        for field, body in (
            ("unknown", lambda v: {"tenant": "acme", "mystery": v, "other": {"deep": [v]}}),
            ("usage.unknown", lambda v: {"tenant": "acme", "usage": {"input": 3, "note": v}}),
            ("unknown key", lambda v: {"tenant": "acme", v: 1}),
            ("status (an enumeration)", lambda v: {"tenant": "acme", "status": v}),
            ("latency_ms (a number)", lambda v: {"tenant": "acme", "latency_ms": v}),
        ):
            planted.append(make(kind, field))
            values.append(body(planted[-1].value))
        planted.append(make(kind, "no JSON"))
        values.append(f"{{broken {planted[-1].value}".encode())
    installation.produce(values)
    for kind in all_kinds():
        canary = make(kind, "key")
        installation.produce([{"tenant": "acme"}], key=canary.value.encode())
        planted.append(canary)
        for name in ("producer", "sequence", "schema", "surprise"):
            canary = make(kind, f"header {name}")
            installation.produce([{"tenant": "acme"}], headers=[(name, canary.value.encode())])
            planted.append(canary)
        canary = make(kind, "header name")
        installation.produce([{"tenant": "acme"}], headers=[(canary.value, b"x")])
        planted.append(canary)
    return planted


def outside(installation: Installation) -> dict[str, str]:
    """Everything that can be seen outside the raw topic and outside redacted text: place -> its text."""
    found: dict[str, list[str]] = {}
    texts: list[str] = []
    for topic in TOPICS:
        lines = found.setdefault(f"topic {topic}", [])
        for message in installation.read(topic):
            value = message.value() or b""
            if topic == "calls":
                body = json.loads(value)
                texts.append(json.dumps(body.pop("content", None), ensure_ascii=False))
                value = json.dumps(body, ensure_ascii=False).encode()
            lines.append(f"{message.key()!r} {message.headers()!r} {value.decode(errors='replace')}")
    client = installation.clickhouse()
    database = installation.settings.database
    for (table,) in client.query(f"SELECT name FROM system.tables WHERE database = '{database}'").result_rows:
        for row in client.query(f"SELECT * FROM {database}.{table}").named_results():
            row = dict(row)
            if table == "call_content":
                texts.append(str([row.pop(column) for column in TEXT_COLUMNS]))
            found.setdefault(f"table {table}", []).append(repr(row))
    client.command("SYSTEM FLUSH LOGS")
    for row in client.query("SELECT query, exception FROM system.query_log").result_rows:
        found.setdefault("query_log", []).append(repr(row))
    for path in Path(installation.folder, "logs").rglob("*"):
        if path.is_file():
            found.setdefault(f"log {path.name}", []).append(path.read_text(errors="replace"))
    assert installation.supervisor is not None
    for stage, port in installation.supervisor.metrics_ports().items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found[f"metrics {stage}"] = [answer.read().decode()]
    return {**{place: "\n".join(lines) for place, lines in found.items()}, "text": "\n".join(texts)}


def play(folder: Path, environment: dict[str, str]) -> tuple[list[Canary], dict[str, str]]:
    """Run the whole pipeline over all canaries; returns what was planted and what can be seen."""
    installation = Installation(folder, {"TOKENTRAIL_NER": "false", **environment})
    installation.start()
    try:
        installation.start_stages(STAGES)
        planted = send_all(installation)
        installation.wait_settled(90)
        wait_for("a snapshot or a partial", lambda: sum(installation.ends("partials").values()) > 0, 30)
        return planted, outside(installation)
    finally:
        installation.stop()


@pytest.mark.timeout(240)
def test_personal_data_is_nowhere_but_in_the_raw_topic(tmp_path):
    planted, seen = play(tmp_path, {})
    assert len({canary.field for canary in planted}) > 70
    assert sum(usable(plant(field, "x")) for field in string_fields()) > 50
    leaks = [
        (canary.field, place)
        for canary in planted
        if canary.kind != "harmless"
        for place, text in seen.items()
        if canary.needle in text
    ]
    assert leaks == []
    readable = {
        canary.field
        for canary in planted
        if canary.kind == "harmless"
        for place, text in seen.items()
        if place != "text" and canary.needle in text
    }
    assert readable - READABLE == set()
    assert "feature" in readable, "a name that may be read must be readable, or nobody can work with it"


@pytest.mark.timeout(240)
def test_the_search_finds_every_canary_in_text_when_redaction_is_off(tmp_path):
    planted, seen = play(tmp_path, {"TOKENTRAIL_REDACTION": "off"})
    in_text = {canary.field for canary in planted if canary.kind == "sentence" and canary.needle in seen["text"]}
    assert {"input", "input.messages", "output.parts", "tool_calls[].arguments.key", "error.message", "tags{value}",
            "feedback.comment", "evaluation.name"} <= in_text  # fmt: skip
