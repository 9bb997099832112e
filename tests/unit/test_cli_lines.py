"""What `emit` makes of a line before it is sent."""

import gzip
import io
import json
import os
import threading
import uuid

import pytest

from pipeline.cli.lines import LONGEST_LINE, Preparer, open_source
from pipeline.errors import UsageError

NOW_MS = 1_800_000_000_000


def prepare(line: bytes, **options):
    return Preparer(now_ms=lambda: NOW_MS, **options)(line)


def test_a_complete_line_goes_out_byte_for_byte():
    line = b'{"tenant":"acme", "id" : "e1","run":"r","ts":%d, "cost_usd":1.10}' % NOW_MS
    prepared = prepare(line)
    assert prepared.value is line
    assert prepared.key == "acme\x1fr"


@pytest.mark.parametrize(
    ("fields", "unit"),
    [({"run": "r", "session": "s"}, "r"), ({"session": "s"}, "s"), ({}, "e1"), ({"run": "", "session": "s"}, "s")],
)
def test_the_key_is_tenant_with_run_else_session_else_id(fields, unit):
    line = json.dumps({"tenant": "acme", "id": "e1", "ts": NOW_MS, **fields}).encode()
    assert prepare(line).key == f"acme\x1f{unit}"


@pytest.mark.parametrize("line", [b"nonsense", b"[1]", b'"text"', b'{"a":', b"\xff\xfe", b'{"tenant":"\xff"}'])
def test_a_line_that_is_no_object_goes_out_as_it_is_and_without_a_key(line):
    assert (prepare(line).value, prepare(line).key, prepare(line).reason) == (line, None, None)


def test_strict_refuses_what_would_become_a_dead_letter_and_says_why():
    refused = [prepare(line, strict=True) for line in (b"nonsense", b'{"id":"e"}', b'{"tenant":"a","latency_ms":-1}')]
    assert [item.reason for item in refused] == ["not_json", "missing at $.tenant", "out_of_range at $.latency_ms"]
    assert prepare(b'{"tenant":"a"}', strict=True).reason is None


def test_the_tenant_of_the_command_stands_in_lines_that_name_none_and_in_no_other():
    added, kept = prepare(b'{ "run":"r"}', tenant="acme"), prepare(b'{"tenant":"beta","run":"r"}', tenant="acme")
    assert json.loads(added.value)["tenant"] == "acme"
    assert added.key == "acme\x1fr"
    assert json.loads(kept.value)["tenant"] == "beta"


def test_an_event_without_an_id_gets_a_uuid7_and_is_keyed_by_it():
    one, other = (Preparer(now_ms=lambda: NOW_MS) for _ in range(2))
    made = [json.loads(each(b'{"tenant":"acme"}').value)["id"] for each in (one, one, one, other)]
    assert len(set(made)) == 4
    assert {uuid.UUID(each).version for each in made} == {7}
    assert made[0] < made[1] < made[2]
    assert int(made[0].replace("-", "")[:12], 16) == NOW_MS
    prepared = prepare(b"{}", tenant="acme")
    assert prepared.key == "acme\x1f" + json.loads(prepared.value)["id"]


@pytest.mark.parametrize(
    ("mode", "age_ms", "said", "backfill"),
    [
        ("auto", 600_001, None, True),
        ("auto", 599_000, None, None),
        ("auto", 600_001, False, False),
        ("backfill", 0, None, True),
        ("backfill", 0, False, False),
        ("live", 10**9, None, None),
        ("live", 10**9, True, True),
    ],
)
def test_history_is_marked_unless_the_line_or_the_command_says_otherwise(mode, age_ms, said, backfill):
    event = {"tenant": "acme", "id": "e", "ts": NOW_MS - age_ms} | ({} if said is None else {"backfill": said})
    sent = json.loads(prepare(json.dumps(event).encode(), backfill=mode).value)
    assert sent.get("backfill") == backfill
    assert {**sent, "backfill": said} == {**event, "backfill": said}


def test_a_line_that_is_longer_than_anything_kafka_takes_is_refused_and_the_next_one_is_read(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"tenant":"a"}\n' + b"x" * (3 * LONGEST_LINE) + b'\n{"tenant":"b"}')
    first, long, last = list(open_source(file).lines())
    assert (first, last) == (b'{"tenant":"a"}', b'{"tenant":"b"}')
    assert LONGEST_LINE < len(long) <= LONGEST_LINE + 2
    assert prepare(long).reason == "too_large"


def test_line_ends_and_byte_order_marks_are_no_part_of_an_event(tmp_path):
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"tenant":"a"}\r\n\r\n{"tenant":"b"}\n')
    assert list(open_source(file).lines()) == [b'{"tenant":"a"}', b"", b'{"tenant":"b"}']


def test_a_packed_file_is_unpacked_and_a_broken_one_is_told_after_what_could_be_read(tmp_path):
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="w") as packed:
        packed.write(b"".join(b'{"tenant":"acme","id":"%d"}\n' % number for number in range(5000)))
    good, cut = tmp_path / "good.gz", tmp_path / "cut.gz"
    good.write_bytes(whole.getvalue())
    cut.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    source, broken = open_source(good), open_source(cut)
    assert len(list(source.lines())) == 5000
    assert source.broken is None
    assert source.position() == source.size
    assert 0 < len(list(broken.lines())) < 5000
    assert broken.broken is not None and "only in part" in broken.broken


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        open_source(tmp_path / "nothing.jsonl")


def test_a_pipe_is_read_without_a_place_in_it(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b'{"tenant":"a"}\n',))
    writer.start()
    source = open_source(pipe)
    assert list(source.lines()) == [b'{"tenant":"a"}']
    assert (source.size, source.position()) == (None, 0)
    source.close()
    writer.join()
