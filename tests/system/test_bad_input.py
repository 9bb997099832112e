"""Bad input gets a reason and a place, and its neighbours in the same range go on."""

from __future__ import annotations

import json
import uuid

import orjson
import pytest

from tests.installation import Installation

STAGES = ("measure", "redact", "sink")

GOOD = {"kind": "call", "tenant": "good", "model": "gpt-4o", "provider": "openai", "usage": {"input": 10, "output": 5}}
BAD: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (b"{broken", "not_json", ""),
    "an empty value": (b" ", "not_json", ""),
    "a list": (b"[1]", "wrong_type", "$"),
    "wrong type": (b'{"tenant": "bad", "latency_ms": "slow"}', "wrong_type", "$.latency_ms"),
    "missing tenant": (b'{"feature": "chat"}', "missing", "$.tenant"),
    "lone surrogate": (b'{"tenant": "bad", "output": "\\ud800\\u0041"}', "bad_unicode", ""),
    "invalid UTF-8": (b'{"tenant": "bad", "output": "\xff"}', "bad_unicode", ""),
    "negative tokens": (b'{"tenant": "bad", "usage": {"input": -5}}', "out_of_range", "$.usage.input"),
    "NaN cost": (b'{"tenant": "bad", "cost_usd": NaN}', "not_json", ""),
    "1970": (b'{"tenant": "bad", "ts": 0}', "out_of_range", "$.ts"),
    "2100": (b'{"tenant": "bad", "ts": 4102444800000}', "out_of_range", "$.ts"),
    "unknown status": (b'{"tenant": "bad", "status": "boom"}', "wrong_type", "$.status"),
    "too deep": (b'{"tenant": "bad", "input": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "too_deep", ""),
}


def good(number: int, **more: object) -> bytes:
    return orjson.dumps({**GOOD, "id": str(uuid.UUID(int=number)), "output": f"answer {number}", **more})


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    one = Installation(tmp_path_factory.mktemp("bad"), {"TOKENTRAIL_NER": "false", "TOKENTRAIL_TICKS": "off"})
    one.start()
    one.start_stages(STAGES)
    yield one
    one.stop()


@pytest.mark.timeout(180)
def test_each_bad_record_is_a_counted_dead_letter_and_its_neighbours_are_rows(installation):
    values: list[bytes] = []
    for number, (value, _, _) in enumerate(BAD.values()):
        values += [good(2 * number + 1), value, good(2 * number + 2)]
    installation.produce(values, partition=0)
    installation.wait_settled()
    client = installation.clickhouse()
    letters = client.query("SELECT reason, path FROM dead_letters ORDER BY partition, offset").result_rows
    assert [(reason, path) for reason, path in letters] == [(reason, path) for _, reason, path in BAD.values()]
    rows = client.query("SELECT count(), uniqExact(id) FROM calls WHERE tenant = 'good'").result_rows[0]
    assert tuple(rows) == (2 * len(BAD), 2 * len(BAD))
    told = [json.loads(message.value()) for message in installation.read("deadletter")]
    assert {one["reason"] for one in told} == {reason for _, reason, _ in BAD.values()}
    assert all(
        set(one) <= {"schema", "position", "reason", "path", "size_bytes", "hash", "received_at"} for one in told
    )


@pytest.mark.timeout(120)
def test_nul_bytes_stay_text_and_never_get_into_a_name(installation):
    installation.produce([good(900, tenant="nul\x00l", output="a\x00b")], partition=1)
    installation.wait_settled()
    client = installation.clickhouse()
    row = client.query("SELECT tenant FROM calls WHERE id = {id:String}", {"id": str(uuid.UUID(int=900))}).result_rows
    assert len(row) == 1 and row[0][0].startswith("h_")


@pytest.mark.timeout(120)
def test_an_id_sent_twice_is_two_positions_and_both_are_kept(installation):
    installation.produce([good(901), good(901)], partition=2)
    installation.wait_settled()
    answer = installation.clickhouse().query(
        "SELECT count(), uniqExact(partition, offset) FROM calls WHERE id = {id:String}",
        {"id": str(uuid.UUID(int=901))},
    )
    assert tuple(answer.result_rows[0]) == (2, 2)


@pytest.mark.timeout(120)
def test_a_record_as_large_as_the_topic_takes_is_a_row(installation):
    installation.produce([good(902, output="word " * 190_000), good(903)], partition=3)
    installation.wait_settled(90)
    found = installation.clickhouse().query("SELECT id FROM calls WHERE partition = 3").result_rows
    assert {row[0] for row in found} >= {str(uuid.UUID(int=902)), str(uuid.UUID(int=903))}


@pytest.mark.timeout(180)
def test_a_flood_of_bad_events_from_one_producer_stops_nobody(installation):
    flood = [b'{"tenant": "flood", "usage": {"input": -1}}'] * 5_000
    installation.produce([*flood[:2_500], *(good(10_000 + n) for n in range(50)), *flood[2_500:]], partition=0)
    installation.wait_settled(90)
    client = installation.clickhouse()
    ids = [str(uuid.UUID(int=10_000 + n)) for n in range(50)]
    assert (
        client.query("SELECT count() FROM calls WHERE id IN {ids:Array(String)}", {"ids": ids}).result_rows[0][0] == 50
    )
    assert installation.supervisor.restarts() == dict.fromkeys(STAGES, 0)
