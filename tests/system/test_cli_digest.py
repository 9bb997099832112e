"""`tokentrail digest` on real servers: what a week holds, in every form, and who sees text in it."""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

TENANT = f"acme-{uuid.uuid4().hex[:6]}"
NOW_MS = time.time_ns() // 10**6
WEEK = ("--week", "this", "--tenant", TENANT)
REASON = ("--user", "investigator", "--reason", "test of the digest")
DISLIKED = str(uuid.uuid4())
SAID = "The bridge was built by merchants who wanted salt <b>at once</b>."


def call(number: int, **more):
    return {
        "kind": "call", "ts": NOW_MS, "tenant": TENANT, "feature": "chat", "provider": "openai", "model": "gpt-4o",
        "usage": {"input": 100, "output": 20}, "cost_usd": 0.25, "run": f"r{number}",
        "input": [{"role": "user", "content": f"question {number % 3} of many"}],
        "output": [{"role": "assistant", "content": SAID}], **more,
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def rows(installation, tmp_path_factory):
    from pipeline.cli.main import main

    events = [call(number) for number in range(6)]
    events += [
        call(7, id=DISLIKED, feature="help"), call(8, status="timeout", error={"type": "TimeoutError"}),
        {"kind": "feedback", "ts": NOW_MS, "tenant": TENANT, "feature": "help",
         "feedback": {"rating": -1, "label": "down", "outcome": "gave up", "call": DISLIKED}},
        {"kind": "evaluation", "ts": NOW_MS, "tenant": TENANT, "feature": "help",
         "evaluation": {"name": "relevance", "score": 0.4, "call": DISLIKED}},
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("digest") / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    for arguments in (
        ["emit", str(file), "--wait", "--wait-timeout", "60", "--json"],
        ["budget", "set", "--tenant", TENANT, "--month", "50", "--by", "finance", "--note", "spring"],
    ):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--data", str(installation.folder)])
        assert not ended.value.code


def sections(run, *more):
    done = run("digest", *WEEK, "--json", *more)
    assert done.code == 0, done.err
    digest = json.loads(done.out)
    return digest, {one["name"]: one for one in digest["sections"]}


def cells(section, *names):
    places = [section["columns"].index(name) for name in names]
    return [[row[place] for place in places] for row in section.get("rows", [])]


def test_a_week_is_summed_up_and_text_is_for_those_who_may_see_it(run):
    digest, found = sections(run)
    assert "as auditor" in digest["seen_as"] and SAID[:20] not in json.dumps(digest)
    assert cells(found["cost"], "tenant", "calls", "cost_usd") == [[TENANT, 8, 2.0]]
    assert cells(found["features"], "feature", "cost_usd") == [["chat", 1.75], ["help", 0.25]]
    assert cells(found["coverage"], "feature", "evaluated", "mean_scores") == [
        ["chat", 0, ""], ["help", 1, "relevance 0.4"],
    ]  # fmt: skip
    assert cells(found["errors"], "status", "error", "calls") == [["timeout", "TimeoutError", 1]]
    assert cells(found["disliked"], "call", "times", "answer") == [[DISLIKED, 1, ""]]
    assert cells(found["outcomes"], "outcome", "times") == [["down", 1]]
    assert [row[1] for row in cells(found["new"], "what", "name")].count("gpt-4o") == 2
    assert found["repeated"]["says"] == "Not for the login auditor; --user names another one."
    digest, found = sections(run, *REASON)
    # Seven of the eight succeeded: question 0 twice, 1 three times (twice for chat, once for help), 2 twice.
    assert sorted(cells(found["repeated"], "asked", "cost_usd")) == [[2, 0.25], [2, 0.25], [3, 0.5]]
    assert all(question.startswith("question") for (question,) in cells(found["repeated"], "question"))
    assert cells(found["disliked"], "call", "answer") == [[DISLIKED, SAID]]
    assert cells(found["outcomes"], "outcome", "times") == [["gave up", 1]]


class Checked(HTMLParser):
    """What an HTML file must not have, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "iframe", "img", "object"), tag
        assert not any(name in ("src", "href") or name.startswith("on") for name, _ in attrs)
        self.seen.add(tag)
        if tag not in ("meta", "line", "rect"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_html_is_one_file_with_pictures_and_nothing_to_fetch(run, tmp_path):
    file = tmp_path / "week.html"
    assert run("digest", *WEEK, *REASON, "--format", "html", "--out", str(file)).code == 0
    text = file.read_text()
    checked = Checked()
    checked.feed(text)
    assert {"svg", "rect", "table", "style"} <= checked.seen and checked.open == []
    assert "&lt;b&gt;at once&lt;/b&gt;" in text and "<b>" not in text
    assert "url(" not in text and "@import" not in text


def test_markdown_and_terminal(run):
    text = run("digest", *WEEK, *REASON, "--format", "markdown").out
    assert text.startswith("# Week ") and "\\<b\\>at once" in text and "| tenant | calls |" in text
    shown = run("digest", *WEEK).out
    assert "WHAT IT COST" in shown and "DISLIKED ANSWERS" in shown


def test_weeks(run):
    now = datetime.now(UTC)
    year, number, _ = (now - timedelta(days=7)).isocalendar()
    assert f"{year}-W{number:02d}" in run("digest", "--tenant", TENANT, "--format", "markdown").out
    assert "No calls" in run("digest", "--tenant", TENANT, "--format", "markdown").out
    assert "is no week" in run("digest", "--week", "2026-13").err
    assert "has not begun" in run("digest", "--week", "2999-W01").err
    assert "finops" in run("digest", *WEEK, "--user", "finops").out
