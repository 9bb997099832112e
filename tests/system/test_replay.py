"""`tokentrail replay`: a dead letter that can be used by now becomes a row under a new position, once."""

from __future__ import annotations

import time
import uuid

import pytest

from pipeline.intake.replay import headers_of
from pipeline.keys import Keys, load
from schemas.clean import Replay
from schemas.position import Position
from tests.installation import wait_for

pytest_plugins = ["cli_support"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def letters(installation):
    """Dead letters in two partitions: of a clock that is ahead by a second too many, and of what is no JSON."""
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    now_ms = time.time_ns() // 10**6
    ts = now_ms + DAY_MS + 2_000
    early = {
        "tenant": tenant,
        "id": str(uuid.uuid4()),
        "ts": ts,
        "model": "gpt-4o",
        "input": "write to joe@example.org",
    }
    headers = [("producer", b"p-1"), ("sequence", b"7")]
    installation.produce([early], key=b"run-1", partition=1, headers=headers)
    installation.produce([b"{no json", {"tenant": tenant, "input": "well"}], key=b"run-2", partition=2)
    client = installation.clickhouse()

    def found():
        rows = client.query(
            "SELECT epoch, partition, offset, reason, path FROM dead_letters "
            f"WHERE received_at >= fromUnixTimestamp64Milli({now_ms}) ORDER BY partition"
        ).result_rows
        return rows if len(rows) == 2 else None

    rows = wait_for("two dead letters", found, 120)  # the stages may still be starting
    assert [row[3:] for row in rows] == [("out_of_range", "$.ts"), ("not_json", "")]
    return tenant, ["/".join(map(str, row[:3])) for row in rows]


def parts(run):
    return {finding["part"]: finding["state"] for finding in run("doctor", "--json").json["findings"]}


def test_what_can_be_used_by_now_is_healed_once_and_the_dead_letter_stays(installation, run, letters):
    tenant, (early, junk) = letters
    client = installation.clickhouse()

    def usable():
        planned = run("replay", "--dry-run", "--json").json
        assert planned["replayed"] == 0 and {"position": junk, "why": "unusable"} in planned["left"]
        return early in planned["positions"]

    wait_for("the event to be usable", usable, 10)
    done = run("replay", "--reason", "out_of_range", "--wait", "--json")
    assert done.code == 0, done.err
    assert (done.json["healed"], done.json["dead_again"], done.json["unsettled"]) == (1, 0, 0)
    new = done.json["positions"][early]
    epoch, partition, offset = map(int, new.split("/"))
    where = f"epoch = {epoch} AND partition = {partition} AND offset = {offset}"
    (row,) = client.query(
        f"SELECT tenant, backfill, producer, producer_sequence, received_at > now() - 60 FROM calls WHERE {where}"
    ).result_rows
    assert row == (tenant, True, "", None, 1)
    ((text,),) = client.query(f"SELECT input FROM call_content WHERE {where}").result_rows
    assert "joe" not in text, "redaction is done anew, by the normal way"
    assert client.query(
        f"SELECT of_epoch, of_partition, of_offset, of_received_at < received_at FROM replays WHERE {where}"
    ).result_rows == [(*map(int, early.split("/")), 1)]
    outcomes = dict(
        client.query(
            "SELECT concat(toString(epoch), '/', toString(partition), '/', toString(offset)), (outcome, replayed_as) "
            "FROM dead_letters_now"
        ).result_rows
    )
    assert (outcomes[early], outcomes[junk]) == (("healed", new), ("not replayed", ""))
    again = run("replay", early, "--json")
    assert again.code == 0 and again.json["replayed"] == 0 and again.json["left"][0]["why"] == "already"
    assert run("verify", "--settled").code == 0


def test_what_is_on_its_way_is_not_replayed_again(installation, run, letters):
    """A run that was ended after it had appended: nothing is in the table yet."""
    client, offset = installation.clickhouse(), installation.ends("calls.raw")[3]
    installation.produce([b'{"tenant": "late"'], key=b"x", partition=3)
    mine_only = f"WHERE partition = 3 AND offset >= {offset}"  # other tests may have left dead letters here
    query = f"SELECT epoch, partition, offset FROM dead_letters {mine_only}"
    ((epoch, partition, offset),) = wait_for("a dead letter", lambda: client.query(query).result_rows, 40)
    position = Position(epoch, partition, offset)
    keys, value = load(installation.settings), b'{"tenant": "late"'
    with installation.without("sink"):
        mine = headers_of(Replay(position, 5), value, keys)
        installation.produce([value], key=b"x", partition=3, headers=mine)
        assert run("replay", str(position), "--json").json["left"] == [{"position": str(position), "why": "already"}]
    forged = headers_of(Replay(Position(epoch, 2, 0), 5), value, Keys(b"not the root of this installation"))
    installation.produce([value], key=b"x", partition=3, headers=forged)
    wait_for("both dead again", lambda: len(client.query(query).result_rows) == 3, 40)
    made = client.query(f"SELECT of_partition, of_offset FROM replays {mine_only}").result_rows
    assert made == [(partition, offset)]
    assert "replays" not in parts(run)
    installation.produce([value], key=b"x", partition=3, headers=mine)
    wait_for("what two runs at once would leave", lambda: parts(run).get("replays") == "warn", 40)


def test_a_named_position_that_cannot_be_replayed_fails(run, letters):
    _, (_, junk) = letters
    done = run("replay", junk)
    assert done.code == 1 and "this version cannot use them either" in done.out
    assert run("replay", "9/0/0").code == 2


def test_rows_come_twice_only_when_that_is_said(installation, run, letters):
    tenant, _ = letters
    client = installation.clickhouse()
    query = "SELECT epoch, partition, offset FROM calls WHERE tenant = {t:String} AND partition = 2"
    ((epoch, partition, offset),) = wait_for("the row", lambda: client.query(query, {"t": tenant}).result_rows, 20)
    position = f"{epoch}/{partition}/{offset}"
    assert run("replay", position, "--all").code == 2
    assert run("replay", position, "--json").json["positions"] == []
    done = run("replay", position, "--all", "--second-rows", "--wait", "--json")
    assert done.code == 0 and done.json["healed"] == 1, done.err
    assert len(client.query(query, {"t": tenant}).result_rows) == 2
    assert run("verify", "--settled").code == 0
