"""`tokentrail retention` and `tokentrail hold`: what is told, what goes, what stays, and what fails the check."""

from __future__ import annotations

import json
import time
import uuid

import msgspec
import pytest

from pipeline.audit.retention import ends_at_ms
from pipeline.cli import keeping
from pipeline.control.policy import parse
from pipeline.transport.policies import append_control, read_policies
from schemas.control import Control

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def emit(run, folder, tenant, *more):
    """Calls of a tenant with text, stored."""
    events = [
        {"id": str(uuid.uuid4()), "ts": time.time_ns() // 10**6, "tenant": tenant, "input": "Hello", **each}
        for each in more or ({},)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert run("emit", folder / "events.jsonl", "--wait").code == 0
    return events


@pytest.fixture
def text(installation, run, tmp_path):
    """A call with text is stored; the cell of its text."""
    emit(run, tmp_path, "retention-test")
    found = keeping.held(installation.settings)
    return next(each for each in found if each.cell.table == "call_content")


@pytest.fixture
def policy(installation):
    """Publish a policy and let it be in force at once (a policy takes effect 30 s after its append time)."""

    def publish(body):
        latest = read_policies(installation.settings).latest()
        assert latest is not None
        control = Control(kind="policy", version=latest[0] + 1, owner="test", body=msgspec.to_builtins(parse(body)))
        append_control(installation.settings, control)
        return latest[0] + 1

    return publish


def stored(settings):
    return {each.cell: each.rows for each in keeping.held(settings)}


def test_the_policy_is_told_in_sentences_with_the_end_of_every_week(run, text):
    done = run("retention", "show")
    assert done.code == 0, done.err
    assert "Policy version 1 is in force." in done.out
    assert "Redacted text is kept 30 days, to find out why a call went wrong. Who sees it: investigator" in done.out
    assert "Rows without text are kept 365 days" in done.out and "No hold is in force." in done.out
    shown = run("retention", "show", "--json").json
    (kept,) = [each for each in shown["partitions"] if each["table"] == "call_content"]
    assert (kept["kept_days"], kept["week_of"]) == (30, text.cell.week)
    # The last row of the week is of its Sunday, and is kept 30 full days.
    assert kept["dropped_from"] == time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(text.ends_at_ms / 1000))


def test_nothing_goes_before_its_time(installation, run, text):
    assert run("retention", "apply").out == "Nothing has expired.\n"
    assert keeping.run(installation.settings, now_ms=text.ends_at_ms - 1).dropped == ()
    dry = run("retention", "apply", "--dry-run", "--json").json
    assert (dry["dry_run"], dry["dropped"], dry["removed"]) == (True, [], {})


def test_the_check_holds_now_and_fails_when_something_is_older_than_it_may_be(installation, run, text):
    done = run("retention", "check", "--json")
    assert done.code == 0 and done.json["ok"], done.json
    (mine,) = [
        each for each in done.json["tables"] if (each["table"], each["tenant"]) == ("call_content", "retention-test")
    ]
    assert (mine["oldest_days"], mine["policy_days"]) == (0, 30)
    late, _ = keeping.look(installation.settings, grace_ms=HOUR_MS, now_ms=text.ends_at_ms + HOUR_MS)
    assert {(each.kind, each.table) for each in late.overdue} == {("too_old_by_stamp", "call_content")}
    on_time, _ = keeping.look(installation.settings, grace_ms=HOUR_MS, now_ms=text.ends_at_ms + HOUR_MS - 1)
    assert on_time.overdue == ()


def test_a_table_without_the_engines_expiry_behind_it_fails_the_check(installation, run, text):
    client = installation.clickhouse()
    ((stated,),) = client.query("SELECT engine_full FROM system.tables WHERE name = 'late_events'").result_rows
    client.command("ALTER TABLE late_events REMOVE TTL")
    try:
        done = run("retention", "check")
        assert done.code == 1 and "late_events: the engine's own expiry does not stand behind it" in done.out
    finally:
        ttl = stated[stated.index("TTL") + 4 : stated.index(" SETTINGS")]
        client.command(f"ALTER TABLE late_events MODIFY TTL {ttl}")
    assert run("retention", "check").code == 0


def expired_rows(run):
    """Rows that are gone by the ledger's word, of other tests too."""
    proved = run("verify", "--json")
    assert proved.code == 0, proved.json["problems"]
    return sum(partition["expired_rows"] for partition in proved.json["partitions"])


def test_a_dry_run_drops_nothing_and_a_run_drops_what_has_expired_but_for_what_is_held(
    installation, run, text, tmp_path
):
    settings = installation.settings
    emit(run, tmp_path, "held-test", {"user": "jane"}, {"user": "jane"}, {"user": "joe"})
    placed = run("hold", "place", "--tenant", "held-test", "--user", "jane", "--reason", "case 17", "--by", "legal")
    assert placed.code == 0, placed.err
    assert "It covers these rows now: 2 of call_content, 2 of calls." in placed.out
    (hold,) = run("hold", "list", "--json").json["holds"]
    assert (hold["only_one"], hold["reason"], hold["in_force"]) == ("user", "case 17", True)
    assert hold["id"] in run("retention", "show").out

    before, expired = stored(settings), expired_rows(run)
    would = keeping.run(settings, dry_run=True, now_ms=text.ends_at_ms)
    assert [each.cell for each in would.dropped] == [text.cell] and stored(settings) == before
    done = keeping.run(settings, now_ms=text.ends_at_ms)
    assert [(each.cell, each.rows) for each in done.dropped] == [(text.cell, before[text.cell])] and done.kept == 2
    assert stored(settings) == {cell: rows for cell, rows in before.items() if cell != text.cell}
    # An expiry is no loss: the rows that are gone are gone by the ledger's word.
    assert expired_rows(run) - expired == before[text.cell]

    assert run("retention", "check").code == 0, "what is held is no older than it may be"
    released = run("hold", "release", hold["id"], "--reason", "closed", "--by", "legal")
    assert released.code == 0 and "Released" in released.out
    assert run("hold", "release", hold["id"], "--reason", "again").code == 2
    checked = run("retention", "check")
    assert checked.code == 1 and "held_call_content: 2 rows: no hold covers them any more" in checked.out
    assert "Removed 2 rows of held_call_content that no hold covers any more." in run("retention", "apply").out
    assert run("retention", "check").code == 0
    assert run("verify").code == 0


def test_a_shorter_policy_bites_on_what_is_stored_when_it_is_applied_but_not_on_what_is_held(
    installation, run, text, policy, tmp_path
):
    settings = installation.settings
    emit(
        run,
        tmp_path,
        "short-test",
        {"environment": "dev"},
        {"environment": "dev", "user": "jane"},
        {"environment": "prod"},
    )
    held = run("hold", "place", "--tenant", "short-test", "--user", "jane", "--reason", "case", "--json").json
    version = policy({"environment": {"dev": {"metadata_days": 2, "text_days": 2}}})
    week = ends_at_ms(msgspec.structs.replace(text.cell, retention_days=2))
    now = max(week, time.time_ns() // 10**6 + 31_000)  # when the policy is in force and its two days are over
    before = stored(settings)
    late, _ = keeping.look(settings, grace_ms=0, now_ms=now)
    assert {(each.kind, each.table, each.tenant, each.rows) for each in late.overdue} == {
        ("too_old_by_policy", "calls", "short-test", 1), ("too_old_by_policy", "call_content", "short-test", 1),
    }  # fmt: skip
    done = keeping.run(settings, now_ms=now)
    assert (done.dropped, done.removed) == ((), {"call_content": 1, "calls": 1})
    assert sum(stored(settings).values()) == sum(before.values()) - 2
    assert keeping.look(settings, grace_ms=0, now_ms=now)[0].overdue == ()
    proved = run("verify", "--json")
    assert proved.code == 0, proved.json["problems"]
    ledger = installation.read("ledger")
    requests = {
        entry["erasing"]["request"] for entry in (json.loads(each.value()) for each in ledger) if entry.get("erasing")
    }
    assert requests == {f"policy-{version}"}
    assert run("hold", "release", held["id"], "--reason", "closed").code == 0
    assert keeping.run(settings, now_ms=now).removed == {"call_content": 1, "calls": 1}
    assert run("verify").code == 0
