"""`tokentrail retention`: an expired week of rows goes, and only that one; the ledger knows."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from pipeline.audit.retention import ends_at_ms
from pipeline.cli import retention

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

DAY_MS = 86_400_000


@pytest.fixture
def text(installation, run, tmp_path):
    """A call with text is stored; the cell of its text."""
    event = {"id": str(uuid.uuid4()), "ts": time.time_ns() // 10**6, "tenant": "retention-test", "input": "Hello"}
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n")
    assert run("emit", tmp_path / "events.jsonl", "--wait").code == 0
    return min((each for each in retention.held(installation.settings)), key=lambda each: each.ends_at_ms)


def test_the_policy_is_told_in_sentences_with_the_end_of_every_week(run, text):
    done = run("retention", "show")
    assert done.code == 0, done.err
    assert "Policy version 1 is in force." in done.out
    assert "Rows without text are kept 365 days; redacted text is kept 30 days" in done.out
    shown = run("retention", "show", "--json").json
    (kept,) = [each for each in shown["partitions"] if each["table"] == "call_content"]
    assert (kept["kept_days"], kept["week_of"]) == (30, text.cell.week)
    # The last row of the week is of its Sunday, and is kept 30 full days.
    assert kept["dropped_from"] == time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(text.ends_at_ms / 1000))


def test_nothing_goes_before_its_time(installation, run, text):
    assert run("retention", "apply").out == "Nothing has expired.\n"
    assert retention.run(installation.settings, now_ms=text.ends_at_ms - 1) == []
    assert run("retention", "apply", "--dry-run", "--json").json == {"dry_run": True, "dropped": []}


def test_a_dry_run_drops_nothing_and_a_run_drops_what_has_expired_and_nothing_else(installation, run, text):
    before = {each.cell: each.rows for each in retention.held(installation.settings)}
    would = retention.run(installation.settings, dry_run=True, now_ms=text.ends_at_ms)
    assert [each.cell for each in would] == [text.cell]
    assert {each.cell: each.rows for each in retention.held(installation.settings)}.keys() == before.keys()
    dropped = retention.run(installation.settings, now_ms=text.ends_at_ms)
    assert [(each.cell, each.rows) for each in dropped] == [(text.cell, before[text.cell])]
    after = {each.cell: each.rows for each in retention.held(installation.settings)}
    assert after == {cell: rows for cell, rows in before.items() if cell != text.cell}
    assert ends_at_ms(text.cell) == text.ends_at_ms
    # An expiry is no loss: the rows that are gone are gone by the ledger's word.
    done = run("verify", "--json")
    assert done.code == 0, done.json["problems"]
    assert sum(partition["expired_rows"] for partition in done.json["partitions"]) == before[text.cell]
