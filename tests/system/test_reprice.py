"""`tokentrail reprice`: shown first, written beside the calls under the ledger's chain, and finished after a crash."""

from __future__ import annotations

import asyncio
import time
import uuid
from decimal import Decimal

import pytest

from pipeline.audit.leaves import seal_key
from pipeline.audit.repricing import Difference, made
from pipeline.audit.tables import REPRICINGS
from pipeline.cli import keeping
from pipeline.keys import load
from pipeline.pricing import Overrides, PriceBook
from pipeline.storage import native, reprice
from pipeline.storage.append import Block, insert
from pipeline.storage.client import connect
from pipeline.storage.repricings import Scope, calls, groups
from pipeline.transport.producer import RangeProducer
from schemas.ledger import Repricing
from tests.installation import wait_for

pytest_plugins = ["cli_support"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

ONE = """name = "one"
[[price]]
provider = "openai"
model = "gpt-4o"
usd_per_mtok = { input = 1.0, output = 10.0 }
"""
TWO = ONE.replace('"one"', '"two"').replace("10.0", "20.0")


@pytest.fixture(scope="module")
def tenant(installation):
    """Three calls at list price, one whose cost the provider reported, one of an unknown model; 1,000,000 tokens in."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    plain = {"tenant": name, "provider": "openai", "model": "gpt-4o", "usage": {"input": 1_000_000, "output": 100_000}}
    now = time.time_ns() // 10**6
    events = [plain, plain, plain, plain | {"cost_usd": 7.5}, plain | {"model": "gpt-of-the-future"}]
    installation.produce([event | {"id": str(uuid.uuid4()), "ts": now} for event in events])
    installation.wait_settled(120)
    return name


@pytest.fixture
def ask(installation, tenant):
    client = installation.clickhouse()
    return lambda sql: client.query(sql, {"t": tenant}).result_rows


CALLS = "SELECT * FROM calls WHERE tenant = {t:String} ORDER BY partition, offset"
SUMS = "SELECT calls, cost_usd, first_cost_usd, repriced FROM cost_by_tenant_repriced WHERE tenant = {t:String}"
FIRST = Decimal("3") * Decimal("3.5") + Decimal("7.5")  # gpt-4o: 2.50 dollars a million in, 10.00 out


def test_two_books_one_after_the_other_and_the_calls_stay_as_they_were(installation, run, ask, tenant, tmp_path):
    before = ask(CALLS)
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(ONE)
    two.write_text(TWO)
    shown = run("reprice", "--book", one, "--tenant", tenant, "--json").json
    assert shown["written"] == 0 and shown["total"] | {"tenant": ""} == shown["total"]
    assert (shown["total"]["calls"], shown["total"]["changed"]) == (5, 4)
    assert (shown["total"]["before_usd"], shown["total"]["after_usd"]) == (float(FIRST), 13.5)
    assert ask("SELECT count() FROM repricings WHERE tenant = {t:String}") == [(0,)]

    done = run("reprice", "--book", one, "--tenant", tenant, "--apply", "--json")
    assert done.code == 0 and done.json["written"] == 4, done.err
    assert ask(SUMS) == [(5, Decimal("13.5"), FIRST, 4)]
    assert run("reprice", "--book", one, "--tenant", tenant, "--apply", "--json").json["written"] == 0

    done = run("reprice", "--book", two, "--tenant", tenant, "--apply")
    assert done.code == 0 and "$13.500000000 becomes $16.500000000" in done.out and "Wrote 4" in done.out
    assert ask(SUMS) == [(5, Decimal("16.5"), FIRST, 4)]
    versions = ask(
        "SELECT repricing > 0, cost_before_usd, cost_usd, list_cost_usd, cost_source, price_version FROM repricings "
        "WHERE tenant = {t:String} AND cost_source = 'reported' ORDER BY repriced_at"
    )
    assert [row[1:4] for row in versions] == [
        (Decimal("7.5"), Decimal("7.5"), Decimal("2.0")),
        (Decimal("7.5"), Decimal("7.5"), Decimal("3.0")),
    ]
    assert versions[0][5].startswith("one-") and versions[1][5].startswith("two-")

    back = run("reprice", "--tenant", tenant, "--apply", "--json").json
    assert back["written"] == 4 and back["total"]["after_usd"] == float(FIRST)
    assert ask(SUMS) == [(5, FIRST, FIRST, 4)]
    assert ask(CALLS) == before
    assert run("verify", "--settled").code == 0


def test_a_repricing_that_is_changed_or_removed_by_hand_is_named(installation, run, tenant):
    """Several of the same call stand; only one is touched."""
    client = installation.clickhouse()
    mine = "SELECT * FROM repricings WHERE tenant = {t:String} ORDER BY partition, offset, repricing LIMIT 1"
    kept = client.query(mine, {"t": tenant})
    row = dict(zip(kept.column_names, kept.result_rows[0], strict=True))
    where = " AND ".join(f"{name} = {row[name]}" for name in ("epoch", "partition", "offset", "repricing"))
    forged = row | {"cost_usd": Decimal("0.01")}
    try:
        for rows, kind in (([], "row_missing"), ([forged], "row_changed"), ([row, row], "row_twice")):
            client.command(f"ALTER TABLE repricings DELETE WHERE {where}", settings={"mutations_sync": 2})
            if rows:  # at once: the same block twice would be taken for a repeat
                client.insert("repricings", [list(each.values()) for each in rows], column_names=list(row))
            done = run("verify", "--json")
            assert done.code == 1
            (problem,) = done.json["problems"]
            assert (problem["table"], problem["kind"]) == ("repricings", kind)
            assert problem["position"] == f"{row['epoch']}/{row['partition']}/{row['offset']}"
    finally:
        client.command(f"ALTER TABLE repricings DELETE WHERE {where}", settings={"mutations_sync": 2})
        client.insert("repricings", [list(row.values())], column_names=list(row))
    assert run("verify").code == 0


def test_a_price_that_is_known_is_never_made_unknown(run, ask, tenant, tmp_path):
    """The model that no book knows stays without a price, and is told apart."""
    shown = run("reprice", "--tenant", tenant, "--json").json
    (unknown,) = [row for row in shown["rows"] if row["model"] == "gpt-of-the-future"]
    assert (unknown["changed"], unknown["kept"], unknown["after_usd"]) == (0, 0, 0)


async def announced_only(settings, client, tenant, book, *, insert_too):
    """A run that ended before it could say what became of its rows; returns partition, number and rows."""
    scope, found = Scope(tenant=tenant), Difference()
    # A partition may hold nothing but the call of the model that no book knows.
    for group in groups(client, scope):
        news = [new for call in calls(client, group, scope) if (new := found.take(book, call)) is not None]
        if news:
            break
    assert news
    producer = RangeProducer(settings)
    try:
        ledger = reprice._Ledger(settings, client, producer, group.partition)
        number, deadline_ms = ledger.follower.state.repricings + 1, client.now_ms() + 1_000
        key = seal_key(load(settings))
        rows, part = made(number, group.cell, group.epoch, group.partition, news, book.version, client.now_ms(), key)
        first, next = news[0].call.offset, news[-1].call.offset + 1
        told = Repricing(number, group.epoch, first, next, part, book.version, deadline_ms)
        assert (await ledger._say(repricing=told)).accepted
        if insert_too:
            block = Block(REPRICINGS, f"test-{number}", len(rows), native.block(REPRICINGS, rows))
            insert(client, block, deadline_ms=deadline_ms)
    finally:
        await producer.close()
    return group.partition, number, len(rows)


@pytest.mark.parametrize("landed", [True, False])
def test_what_a_run_left_open_is_settled_by_the_next_one(installation, run, ask, tenant, monkeypatch, tmp_path, landed):
    """It ended after the announcement, before or after its insert. Its price book is not needed for that.

    What `keep` finds is settled without a next run, too.
    """
    monkeypatch.setattr(reprice, "EXECUTION_MS", 0)
    client = connect(installation.settings, purpose="test")
    lost = PriceBook(Overrides(TWO.replace("20.0", "30.0" if landed else "40.0")))
    partition, number, rows = asyncio.run(
        announced_only(installation.settings, client, tenant, lost, insert_too=landed)
    )
    if landed:
        wait_for("its deadline", lambda: reprice.settle(installation.settings, client, 4) == 1, 10)
        assert reprice.settle(installation.settings, client, 4) == 0
    client.close()
    book = tmp_path / "book.toml"
    book.write_text(TWO.replace("20.0", "50.0"))
    assert run("reprice", "--book", book, "--tenant", tenant, "--apply", "--json").json["written"] == 4
    stood = ask(f"SELECT count() FROM repricings WHERE partition = {partition} AND repricing = {number}")
    assert stood == [(rows if landed else 0,)]
    assert ask(SUMS) == [(5, Decimal("25.5"), FIRST, 4)]
    assert run("reprice", "--tenant", tenant, "--apply").code == 0
    assert run("verify", "--settled").code == 0


def test_repricings_end_with_the_calls_they_are_about(installation, run, ask, tenant):
    assert ask("SELECT count() > 0 FROM repricings WHERE tenant = {t:String}") == [(1,)]
    found = keeping.held(installation.settings)
    ends = {each.cell.table: each.ends_at_ms for each in found if each.cell.table in ("calls", "repricings")}
    assert ends["calls"] == ends["repricings"]
    gone = keeping.run(installation.settings, now_ms=ends["calls"]).dropped
    assert {"calls", "repricings"} <= {each.cell.table for each in gone}
    assert ask("SELECT count() FROM repricings") == [(0,)]
    done = run("verify", "--json")
    assert done.code == 0 and sum(each["expired_rows"] for each in done.json["partitions"]) > 0, done.out
