"""`tokentrail cost` and `budget` on rows that went the whole way: sums, savings and forecasts are known beforehand."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from pipeline.control.forecast import month_start

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

NOW_MS = time.time_ns() // 10**6
ACME, GLOBEX = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("acme", "globex"))


def call(tenant, usd, **fields):
    return {
        "kind": "call", "id": str(uuid.uuid4()), "ts": NOW_MS - 1_000, "tenant": tenant, "feature": "chat",
        "team": "core", "environment": "prod", "provider": "openai", "model": "gpt-4o", "user": "jane",
        "usage": {"input": 2_000_000, "cached": 1_000_000, "output": 100, "reasoning": 40}, "cost_usd": usd, **fields,
    }  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def rows(installation, tmp_path_factory):
    from pipeline.cli.main import main

    events = [
        call(ACME, 3.0),
        call(ACME, 1.0, feature="search", team="find"),
        call(GLOBEX, 0.5, model="nobody-knows", provider="nobody"),
    ]
    # Of the day before it is known what a day costs.
    events += [call(ACME, 4.0, ts=NOW_MS - 86_400_000), call(ACME, 9.0, ts=NOW_MS - 86_400_000, backfill=True)]
    file = tmp_path_factory.mktemp("cost") / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "emit",
                str(file),
                "--live",
                "--wait",
                "--wait-timeout",
                "60",
                "--json",
                "--data",
                str(installation.folder),
            ]
        )
    assert not ended.value.code


def lines(done, *names):
    assert done.code == 0, done.err
    return {tuple(line[name] for name in names): line for line in done.lines}


def test_cost_says_tokens_and_what_caching_spared(run):
    found = lines(run("cost", "--by", "tenant,feature", "--since", "3h", "--json"), "tenant", "feature")
    chat = found[ACME, "chat"]
    assert (chat["calls"], chat["cost_usd"], chat["cached_tokens"], chat["reasoning_tokens"]) == (1, 3.0, 1_000_000, 40)
    # gpt-4o: $2.50 a million tokens of input, $1.25 where they are cached.
    assert chat["saved_usd"] == pytest.approx(1.25)
    assert found[GLOBEX, "chat"]["saved_usd"] is None and found[GLOBEX, "chat"]["calls_without_price"] == 0
    people = lines(run("cost", "--by", "user", "--tenant", ACME, "--since", "3h", "--json"), "user")
    ((pseudonym,),) = people
    assert pseudonym != "jane" and people[pseudonym,]["cost_usd"] == 4.0
    assert "$1.25" in run("cost", "--by", "feature", "--tenant", ACME, "--since", "3h").out


def test_a_forecast_stands_beside_the_budget(run):
    done = run("budget", "set", "--tenant", ACME, "--day", "2", "--month", "1000", "--by", "finance", "--note", "trial")
    assert done.code == 0 and "$2.00 a day and $1,000.00 a month" in done.out
    (budget,) = [one for one in run("budget", "list", "--json").json["budgets"] if one["selector"] == {"tenant": ACME}]
    assert (budget["owner"], budget["note"], budget["day_usd"], budget["in_force"]) == ("finance", "trial", 2.0, False)
    # It takes effect thirty seconds later; until then nothing is held against it.
    assert run("budget", "show", "--tenant", ACME, "--json").out == ""
    both = [
        line
        for line in run("cost", "--tenant", ACME, "--since", "3h", "--forecast", "--json").lines
        if "period" in line
    ]
    today, month = both
    assert today["spent_usd"] == (4.0 if NOW_MS % 86_400_000 > 1_000 else 0.0) or today["spent_usd"] == 8.0
    assert (
        today["expected_usd"] >= today["spent_usd"] and today["low_usd"] <= today["expected_usd"] <= today["high_usd"]
    )
    since_month = 8.0 if month_start(NOW_MS) <= NOW_MS - 86_401_000 else 4.0
    assert month["spent_usd"] == since_month and "earlier days" in month["basis"]


def test_only_its_owner_lets_a_budget_go(run):
    assert run("budget", "set", "--tenant", GLOBEX, "--user", "jane", "--month", "5", "--by", "ann").code == 0
    refused = run("budget", "remove", "--tenant", GLOBEX, "--user", "jane", "--by", "bob")
    assert refused.code == 2 and "bob has no budget" in refused.err
    assert run("budget", "remove", "--tenant", GLOBEX, "--user", "jane", "--by", "ann").code == 0
    assert not [
        one for one in run("budget", "list", "--json").json["budgets"] if one["selector"].get("tenant") == GLOBEX
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("budget", "set", "--tenant", "a"), "has a limit"),
        (("budget", "set", "--feature", "chat", "--day", "1"), "Say --tenant"),
        (("budget", "set", "--tenant", "a", "--user", "u", "--model", "m", "--day", "1"), "nothing else"),
        (("budget", "set", "--tenant", "a", "--day", "-1"), "day_usd"),
        (("cost", "--by", "colour"), "not by 'colour'"),
        (("cost", "--since", "1h", "--until", "2h"), "--since must be before"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(run, arguments, said):
    done = run(*arguments)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1


def test_the_query_of_every_rule_is_answered(run):
    from pipeline.detection.registry import RULES
    from pipeline.detection.shown import sql
    from schemas.anomaly import Span

    subject = {"tenant": ACME, "feature": "chat", "provider": "openai", "model": "gpt-4o"}
    for rule in [*(entry.name for entry in RULES), "redaction.canary"]:
        done = run("query", sql(rule, subject, Span(NOW_MS - 3_600_000, NOW_MS)), "--json")
        assert done.code == 0, (rule, done.err)
    shown = run("query", sql("budget.near", subject, Span(NOW_MS - 3_600_000, NOW_MS)), "--json")
    assert [line["cost_usd"] for line in shown.lines] == [3.0]
