"""`tokentrail query` on rows that went the whole way: every figure is known beforehand."""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from decimal import Decimal

import pytest

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system

HOUR_MS = 3_600_000
NOW_MS = time.time_ns() // 10**6
# In the middle of an hour that is over, so that a trace and what it is compared with stand in one hour.
HOUR = NOW_MS - NOW_MS % HOUR_MS - HOUR_MS
IDS = [str(uuid.uuid4()) for _ in range(3)]
MINE, OTHER, PEER = (f"{name}-{uuid.uuid4().hex[:6]}" for name in ("mine", "other", "peer"))


def call(tenant, **fields):
    return {
        "kind": "call", "id": str(uuid.uuid4()), "ts": HOUR + 600_000, "tenant": tenant, "feature": "chat",
        "provider": "own", "model": "m-small", "status": "ok", "latency_ms": 1000.0, "ttft_ms": 200.0,
        "usage": {"input": 100, "cached": 50, "output": 20}, "cost_usd": 0.25, **fields,
    }  # fmt: skip


def mine():
    yield call(MINE, id=IDS[0], input=[{"role": "user", "content": "Write to jane.doe@example.com"}], output="Done.")
    yield call(MINE, id=IDS[1], feature="search", latency_ms=4000.0, cost_usd=0.000000125, ts=HOUR - 30 * HOUR_MS)
    yield call(MINE, id=IDS[2], status="error", error={"type": "timeout", "http_status": 504}, cost_usd=None)
    yield call(MINE, model="no-such-model", provider="nobody", cost_usd=None)
    yield call(MINE, id="order-4711", cost_usd=0.0)
    yield call(OTHER, cost_usd=7.0)


def others():
    """Ordinary calls of other people, and three traces: a slow call, a slow user, and one on a model that was slow."""
    for number in range(30):
        yield call(PEER, model="m-large", latency_ms=1000.0 + number, user=f"u{number % 5}", trace_id=f"x{number}")
        usual = {"model": "m-slow", "user": f"u{number % 5}", "trace_id": f"y{number}"}
        yield call(PEER, **usual, ts=HOUR - 20 * HOUR_MS, latency_ms=500.0)
        yield call(PEER, **usual, latency_ms=2000.0)
    for number in range(12):
        yield call(PEER, model="m-large", latency_ms=5000.0, user="sloth", trace_id=f"z{number}")
    end = HOUR + 1_000_000
    yield call(PEER, model="m-large", latency_ms=1010.0, user="u1", trace_id="fine", ts=end)
    yield call(PEER, model="m-large", latency_ms=9000.0, user="u1", trace_id="one", ts=end)
    yield call(PEER, model="m-large", latency_ms=5200.0, user="sloth", trace_id="user", ts=end)
    yield call(PEER, model="m-slow", latency_ms=2100.0, user="u2", trace_id="model", ts=end)


@pytest.fixture(scope="module", autouse=True)
def rows(installation, tmp_path_factory):
    from pipeline.cli.main import main

    file = tmp_path_factory.mktemp("query") / "events.jsonl"
    file.write_text("".join(json.dumps(event) + "\n" for event in (*mine(), *others())))
    with pytest.raises(SystemExit) as ended:
        main(["emit", str(file), "--wait", "--wait-timeout", "60", "--json", "--data", str(installation.folder)])
    assert not ended.value.code


def by(done, name):
    assert done.code == 0, done.err
    return {line[name]: line for line in done.lines}


def test_cost_by_tenant_counts_every_call_and_tells_unknown_prices_apart(run):
    found = by(run("query", "cost", "--json"), "tenant")
    assert (found[MINE]["calls"], found[MINE]["calls_without_price"], found[MINE]["errors"]) == (5, 2, 1)
    exact = run("query", "cost", "--tenant", MINE, "--json").out
    assert json.loads(exact, parse_float=Decimal)["cost_usd"] == Decimal("0.250000125")
    assert found[OTHER]["cost_usd"] == 7.0
    assert "$0.2500" in run("query", "cost", "--tenant", MINE).out


def test_cost_can_be_grouped_and_begin_later(run):
    ask = ("query", "cost", "--tenant", MINE, "--json", "--by")
    assert {name: row["calls"] for name, row in by(run(*ask, "feature"), "feature").items()} == {"chat": 4, "search": 1}
    assert list(by(run(*ask, "feature", "--since", "24h"), "feature")) == ["chat"]
    days = list(by(run(*ask, "day"), "day"))
    assert days == sorted(days) and len(days) == 2


def test_an_unknown_price_is_shown_as_unknown(run):
    done = run("query", "cost", "--tenant", MINE, "--by", "model")
    line = next(line for line in done.out.splitlines() if "no-such-model" in line)
    assert "unknown" in line and "$" not in line


def test_latency_and_tokens_of_a_tenant(run):
    latency = by(run("query", "latency", "--tenant", PEER, "--json"), "model")["m-slow"]
    assert latency["calls"] == 61
    assert latency["p50"] == pytest.approx(2000, rel=0.02)
    tokens = by(run("query", "tokens", "--tenant", MINE, "--json"), "tenant")[MINE]
    assert (tokens["input_tokens"], tokens["cached_share"], tokens["tokens_a_call"]) == (500, 0.5, 120)


def test_the_slowest_calls_come_first(run):
    found = run("query", "slowest", "--tenant", MINE, "--limit", 2, "--json")
    assert [line["latency_ms"] for line in found.lines] == [4000, 1000]
    assert "Only the first 2 rows" in found.err


def test_errors_carry_their_share(run):
    (line,) = run("query", "errors", "--tenant", MINE, "--json").lines
    assert (line["error_type"], line["http_status"], line["calls"]) == ("timeout", 504, 1)
    assert line["share"] == pytest.approx(1 / 4)


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        ("fine", "Neither is slow"),
        ("one", "This trace is slow, but neither its user nor the model"),
        ("user", "The user is slow, not the model"),
        ("model", "The model is slow: for others too m-slow took 2."),
    ],
)
def test_a_trace_says_who_is_slow(run, trace, said):
    done = run("query", "trace", trace, "--tenant", PEER, "--json")
    assert done.code == 0, done.err
    assert done.json["verdict"].startswith(said)
    assert len(done.json["calls"]) == 1
    assert done.json["verdict"] in run("query", "trace", trace, "--tenant", PEER).out


def test_a_trace_of_nobody_fails(run):
    assert run("query", "trace", "nothing", "--tenant", PEER).code == 1
    assert run("query", "trace", "one").code == 2


def test_a_call_by_id_shows_redacted_text_to_those_who_may_read_it(run):
    shown = run("query", "call", IDS[0], "--json").json
    assert shown["tenant"] == MINE and shown["text"] is None and "auditor may not" in shown["text_not_shown"]
    silent = run("query", "call", IDS[0], "--user", "investigator", "--json").json
    assert silent["text"] is None and "--reason" in silent["text_not_shown"]
    why = ("--reason", "ticket 4711, a wrong answer")
    text = run("query", "call", IDS[0], "--user", "investigator", *why, "--json").json["text"]
    assert "<EMAIL_ADDRESS>" in text["input"] and "jane.doe" not in text["input"] and text["output"] == "Done."
    told = run("query", "call", IDS[0], "--user", "investigator", *why).out
    assert "<EMAIL_ADDRESS>" in told and "1.00 s" in told and "$0.2500" in told


def test_an_id_that_is_no_uuid_is_found_by_its_tenant(run):
    assert run("query", "call", "order-4711", "--tenant", MINE, "--json").json["cost_usd"] == 0
    assert run("query", "call", "order-4711").code == 2
    assert run("query", "call", "order-4712", "--tenant", MINE).code == 1


def test_free_sql_reads_in_every_form(run):
    sql = f"SELECT feature, count() AS calls FROM calls WHERE tenant = '{MINE}' GROUP BY feature ORDER BY feature"
    assert run("query", sql, "--json").lines == [{"feature": "chat", "calls": 4}, {"feature": "search", "calls": 1}]
    assert list(csv.reader(io.StringIO(run("query", sql, "--csv").out))) == [
        ["feature", "calls"], ["chat", "4"], ["search", "1"],
    ]  # fmt: skip
    assert "chat" in run("query", sql).out


def test_free_sql_is_bounded_in_rows_and_time(run):
    many = run("query", "SELECT number FROM numbers(100000000)", "--limit", 5, "--json")
    assert (many.code, len(many.lines)) == (0, 5)
    slow = run("query", "SELECT sleepEachRow(1) FROM numbers(60)", "--timeout", 1)
    assert slow.code == 69 and "took too long" in slow.err


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nothing FROM calls", "does not take it"),
        ("SELECT * FROM nothing", "no such table"),
        ("SELECT input FROM call_content", "--user"),
        ("SELECT * FROM file('/etc/passwd', 'RawBLOB')", "--user"),
    ],
)
def test_what_clickhouse_refuses_is_one_sentence(run, sql, said):
    done = run("query", sql)
    assert done.code == 2 and said in done.err and len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("user", ["pipeline", "auditor"])
def test_nothing_can_be_changed_whoever_asks(installation, run, user):
    before = installation.clickhouse().query("SELECT count() FROM calls").result_rows
    for sql in ("WITH 1 AS x INSERT INTO calls (id) SELECT 'a'", "EXPLAIN SELECT 1; DROP TABLE calls"):
        done = run("query", sql, "--user", user)
        assert done.code == 2, done
    assert installation.clickhouse().query("SELECT count() FROM calls").result_rows == before


def test_a_user_that_is_not_there_is_one_sentence(run):
    done = run("query", "cost", "--user", "nobody")
    assert done.code == 2 and "no user 'nobody'" in done.err and len(done.err.strip().splitlines()) == 1
