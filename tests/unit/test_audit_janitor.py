"""Which raw records may go, by what the logs say of them."""

import pytest

from pipeline.audit.janitor import bound
from pipeline.transport.losses import Lag, urgency
from schemas.fact import Fact
from schemas.ledger import State
from schemas.position import Position

DAY_MS = 86_400_000


def state(next, epoch=1):
    return State(head="", epoch=epoch, next=next)


def made(first, offset, epoch=1):
    return Fact(type="call", position=Position(epoch, 0, offset), first=first, received_at=0, ts=0)


@pytest.mark.parametrize(
    ("done", "fact", "clean", "expected"),
    [
        (50, made(80, 99), made(70, 99), 50),  # rows are behind
        (100, made(40, 99), made(70, 99), 40),  # facts are behind
        (100, made(80, 99), made(70, 99), 70),  # where `redact` would resume
    ],
)
def test_a_record_goes_when_row_fact_and_clean_record_are_there(done, fact, clean, expected):
    assert bound(1, state(done), fact, clean) == expected


def test_a_fact_vouches_for_what_was_before_its_range_not_for_a_hole_in_it():
    assert bound(1, state(1_000), made(300, 499), made(900, 999)) == 300


@pytest.mark.parametrize("missing", range(3))
def test_nothing_goes_where_one_of_the_three_is_missing(missing):
    known = [state(100), made(100, 120), made(100, 120)]
    known[missing] = None
    assert bound(1, *known) == 0


def test_nothing_of_a_new_topic_goes_by_what_was_said_of_the_old_one():
    assert bound(2, state(100), made(100, 120), made(100, 120)) == 0
    assert bound(2, state(100, epoch=2), made(100, 120, epoch=2), made(100, 120)) == 0


def test_time_to_loss_falls_from_the_topics_life_only_while_something_waits():
    assert Lag("sink", 0, records=0, age_ms=0).left_ms(7 * DAY_MS) == 7 * DAY_MS
    assert Lag("sink", 0, records=9, age_ms=2 * DAY_MS).left_ms(7 * DAY_MS) == 5 * DAY_MS


def test_a_quarter_of_a_life_is_worth_a_look_and_three_quarters_are_urgent():
    life = 4 * DAY_MS
    assert [urgency(age, life) for age in (0, DAY_MS, 3 * DAY_MS, 9 * DAY_MS)] == ["none", "early", "late", "late"]
    assert urgency(9 * DAY_MS, -1) == "none"
