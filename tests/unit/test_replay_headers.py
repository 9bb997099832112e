"""Who may be replayed, and what a replayed record says of itself."""

import json

import pytest

from pipeline.audit.replay import Letter, Span, judged, span, unread
from pipeline.audit.rows import rows
from pipeline.audit.tables import TABLES
from pipeline.control.policy import Policies
from pipeline.errors import UsageError
from pipeline.intake.clean import CleanMaker
from pipeline.intake.decode import decode
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.intake.replay import headers_of, replay_of
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from schemas.clean import Replay
from schemas.control import Control
from schemas.position import Position

NOW = 1_780_000_000_000
KEYS = Keys(b"k" * 32)
OLD = Replay(Position(1, 2, 300), NOW - 3_600_000)
EVENT = b'{"tenant": "acme", "kind": "call", "producer": {"id": "p", "sequence": 7}}'
LETTER = Letter(OLD.of, "internal_error")


def clean(headers, value=EVENT):
    where = Where(Position(1, 2, 900), 890, NOW, replay_of(headers, value, KEYS))
    maker = CleanMaker(FactMaker(Identifiers(KEYS, lambda _: True), PriceBook()), "test")
    policies = Policies([(0, Control(kind="policy", version=1, body={}))])
    return maker.finish(maker.draft(decode(value, NOW), where, value, headers, policies), [])


def test_a_replayed_record_is_history_and_counts_for_no_producer():
    again = clean(headers_of(OLD, EVENT, KEYS))
    assert (again.replay, again.producer, again.fact.backfill) == (OLD, None, True)
    assert again.fact.received_at == NOW and again.fact.ts == OLD.received_at
    first = clean([("producer", b"p"), ("sequence", b"7")])
    assert first.replay is None and first.producer is not None and not first.fact.backfill


def test_beside_its_own_row_stands_one_that_names_the_position_it_is_of():
    found = dict(rows(clean(headers_of(OLD, EVENT, KEYS)), KEYS))
    assert set(found) == {"calls", "replays"}
    row = dict(zip(TABLES["replays"].names[:-1], found["replays"], strict=True))
    assert (row["epoch"], row["partition"], row["offset"], row["received_at"]) == (1, 2, 900, NOW)
    assert (row["of_epoch"], row["of_partition"], row["of_offset"]) == (1, 2, 300)
    assert row["of_received_at"] == OLD.received_at


@pytest.mark.parametrize("change", ["value", "position", "time", "proof", "words", "nothing"])
def test_only_who_has_the_key_can_say_that_a_record_is_a_replay(change):
    headers, value = dict(headers_of(OLD, EVENT, KEYS)), EVENT
    if change == "value":
        value += b" "
    elif change == "position":
        headers["replay-of"] = b"1/2/301"
    elif change == "time":
        headers["replay-received-at"] = b"1"
    elif change == "proof":
        headers = dict(headers_of(OLD, EVENT, Keys(b"x" * 32)))
    elif change == "words":
        headers["replay-of"] = "1/2/³".encode()
    given = replay_of(list(headers.items()), value, KEYS)
    assert given == (OLD if change == "nothing" else None)


def test_a_position_is_replayed_once_and_only_while_its_text_lives():
    assert unread(LETTER, 300, False, second_rows=False) is None
    assert unread(LETTER, 301, False, second_rows=False) == "gone"
    assert unread(LETTER, 0, True, second_rows=True) == "already"


def test_a_record_with_other_rows_is_replayed_only_when_that_is_asked_for():
    letter = Letter(OLD.of, "row_refused", has_rows=True)
    assert unread(letter, 0, False, second_rows=False) == "has_rows"
    assert unread(letter, 0, False, second_rows=True) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (EVENT, "replay"),
        (b"{no json", "unusable"),
        (b'{"tenant": "acme", "ts": 4102444800000}', "unusable"),
        (json.dumps({"tenant": "_tick", "kind": "tick"}).encode(), "silent"),
        (None, "unusable"),
    ],
)
def test_what_this_version_cannot_use_either_is_left(value, expected):
    assert judged(LETTER, value, NOW, "") == expected


def test_a_record_that_is_not_what_the_dead_letter_says_is_left():
    letter = Letter(OLD.of, "not_json", hash="a" * 32)
    assert judged(letter, EVENT, NOW, "b" * 32) == "other"
    assert judged(letter, EVENT, NOW, "a" * 32) == "replay"


def test_positions_are_written_with_slashes_and_a_dash():
    assert span("1/0/123") == Span(1, 0, 123, 123)
    assert span("2/3/100-250") == Span(2, 3, 100, 250)
    for wrong in ("", "1/0", "1/0/a", "1/0/5-3", "1/0/1-2-3", "1/-2/3", "1/0/1/2"):
        with pytest.raises(UsageError):
            span(wrong)
