"""The fold: what is accepted, what is not, and that the end of the log is enough to know it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from ledger_model import Model, Process, call, gap, slots, tick

from pipeline.audit.ledger import Follower, accept, encode, genesis
from schemas.ledger import (
    Cell,
    Change,
    Claim,
    Done,
    Entry,
    Erased,
    Erasing,
    Expiry,
    Held,
    Intent,
    Part,
    Repriced,
    Repricing,
    Signed,
    State,
)

CELL = Cell("calls", 30, "2026-11-16")
OTHER = Cell("call_content", 7, "2026-11-16")


def intent(**changes: Any) -> Intent:
    plain = Intent(
        range=1, attempt=1, deadline_ms=5, epoch=1, first=0, next=10, input_epoch=1, input_first=0, input_next=12,
        counts={"call": 8, "gap": 2}, parts=(Part(CELL, 8, "ab"),), gaps=((3, 4),),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class Log:
    """A ledger to write to."""

    def __init__(self) -> None:
        self.state: State = genesis(0)
        self.values: list[bytes] = []

    def write(self, owner: str = "a", **steps: Any) -> str:
        value = encode(Entry(0, owner, len(self.values), self.state, **steps))
        self.values.append(value)
        self.state, verdict = accept(self.state, 0, value)
        return verdict.reason


@pytest.fixture
def log() -> Log:
    """Owned by `a`, range 1 open."""
    log = Log()
    assert log.write(claim=Claim("")) == "accepted"
    assert log.write(intent=intent()) == "accepted"
    return log


def test_a_range_is_announced_and_done(log: Log) -> None:
    assert log.state.open == intent() and log.state.next == 0
    assert log.write(done=Done(1, 1)) == "accepted"
    assert log.state.open is None
    assert (log.state.epoch, log.state.next, log.state.input_next, log.state.range) == (1, 10, 12, 1)


def test_done_and_the_next_intent_are_one_record(log: Log) -> None:
    following = intent(range=2, first=10, next=11, input_first=12, input_next=13, counts={"call": 1}, gaps=())
    assert log.write(done=Done(1, 1), intent=following) == "accepted"
    assert log.state.range == 1 and log.state.open == following


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ({"done": Done(1, 2)}, "not_open"),
        ({"done": Done(2, 1)}, "not_open"),
        ({"intent": intent()}, "not_next"),
        ({"intent": intent(attempt=3)}, "not_next"),
        ({"intent": intent(range=2, first=10, next=11)}, "not_next"),
        ({"intent": intent(attempt=2, parts=(Part(CELL, 8, "cd"),))}, "content_differs"),
        ({"intent": intent(attempt=2, counts={"call": 10})}, "content_differs"),
        ({"intent": intent(attempt=2, input_first=1)}, "content_differs"),
        ({"intent": intent(attempt=2, next=11)}, "content_differs"),
        ({"done": Done(1, 1), "intent": intent(range=2, first=11, next=12, counts={"call": 1})}, "not_next"),
        ({"done": Done(1, 1), "intent": intent(range=2, first=10, next=12, input_first=11)}, "not_next"),
        ({"done": Done(1, 1), "intent": intent(range=2, epoch=2, first=1, next=2)}, "not_next"),
        ({"claim": Claim("somebody")}, "owner_changed"),
        ({"expiring": Expiry(CELL, 8, "")}, "cell_in_use"),
        ({"expired": Expiry(OTHER, 8, "")}, "not_expiring"),
        ({"held": Held(OTHER, 1, 0, 1, "rAAE=")}, "not_expiring"),
        ({}, "empty"),
    ],
)
def test_what_is_not_in_the_table_is_rejected_and_changes_nothing(log: Log, steps: dict[str, Any], reason: str) -> None:
    before = log.state
    assert log.write(**steps) == reason
    assert log.state == before


def test_counts_that_do_not_add_up_are_rejected(log: Log) -> None:
    log.write(done=Done(1, 1))
    unbalanced = intent(range=2, first=10, next=20, input_first=12, counts={"call": 9})
    assert log.write(intent=unbalanced) == "unbalanced"


def test_after_a_claim_the_earlier_owner_is_rejected(log: Log) -> None:
    assert log.write("b", claim=Claim("a")) == "accepted"
    assert log.write("a", done=Done(1, 1)) == "not_owner"
    assert log.write("a", intent=intent(attempt=2)) == "not_owner"
    assert log.write("a", claim=Claim("")) == "owner_changed"
    assert log.write("b", intent=intent(attempt=2, deadline_ms=99)) == "accepted"
    assert log.write("b", done=Done(1, 2)) == "accepted"


def test_an_open_range_may_be_cut_and_its_rows_refused(log: Log) -> None:
    cut = intent(attempt=2, next=5, input_next=6, counts={"call": 5}, gaps=())
    assert log.write(intent=cut) == "accepted"
    assert log.state.reached == 10
    refusing = msgspec.structs.replace(cut, attempt=3, refused=((4, "calls"),), parts=(Part(CELL, 4, "ef"),))
    assert log.write(intent=refusing) == "accepted"
    fewer = msgspec.structs.replace(refusing, attempt=4, refused=())
    assert log.write(intent=fewer) == "content_differs"


def test_a_range_without_rows_is_done_at_once(log: Log) -> None:
    log.write(done=Done(1, 1))
    silent = intent(range=2, first=10, next=70, input_first=12, input_next=72, counts={"tick": 60}, parts=(), gaps=())
    assert log.write(intent=silent) == "accepted"
    assert log.state.open is None and log.state.next == 70


def test_a_recreated_topic_begins_a_new_epoch_at_offset_0(log: Log) -> None:
    log.write(done=Done(1, 1))
    anew = intent(range=2, epoch=3, first=0, next=1, input_first=12, input_next=13, counts={"call": 1}, gaps=())
    assert log.write(intent=anew) == "accepted"
    assert log.state.reached == 1


def test_the_end_of_a_cell_is_recorded_by_one_who_saw_all_before_it(log: Log) -> None:
    seen = log.state
    log.write(done=Done(1, 1))
    stale = encode(Entry(0, "retention", 2, seen, expiring=Expiry(OTHER, 0, "")))
    assert accept(log.state, 0, stale)[1].reason == "state_moved"


def test_nothing_goes_into_a_cell_that_is_expiring(log: Log) -> None:
    log.write(done=Done(1, 1))
    assert log.write("retention", expiring=Expiry(CELL, 8, "ab")) == "accepted"
    assert log.write("retention", expiring=Expiry(CELL, 8, "ab")) == "cell_expiring"
    following = intent(range=2, first=10, next=11, input_first=12, input_next=13, counts={"call": 1}, gaps=())
    assert log.write(intent=following) == "cell_expiring"
    assert log.write("retention", expired=Expiry(CELL, 8, "ab")) == "accepted"
    assert log.write(intent=following) == "accepted"


def test_rows_outlive_a_cell_only_while_it_is_expiring_and_are_let_go_at_any_time(log: Log) -> None:
    kept = Held(OTHER, 1, 0, 1, "rAAE=", ("h1",))
    assert log.write("retention", expiring=Expiry(OTHER, 8, "ab")) == "accepted"
    before = log.state
    assert log.write("retention", held=kept) == "accepted"
    assert log.state.head != before.head, "it is chained"
    assert msgspec.structs.replace(log.state, head=before.head, accepted=before.accepted) == before
    assert log.write("retention", expired=Expiry(OTHER, 8, "ab")) == "accepted"
    assert log.write("retention", held=kept) == "not_expiring"
    assert log.write("retention", released=kept) == "accepted"


def test_only_rows_of_finished_ranges_are_lawfully_changed(log: Log) -> None:
    def change(batch: int, offset: int) -> Erasing:
        return Erasing("r1", batch, "erasure", (Change(CELL, 1, offset, "ab"),))

    assert log.write("erase", erasing=change(1, 0)) == "not_finished", "its range is open"
    log.write(done=Done(1, 1))
    assert log.write("erase", erasing=change(1, 10)) == "not_finished", "it was never announced"
    assert log.write("erase", erased=Erased("r1", 1)) == "not_erasing"
    assert log.write("erase", erasing=change(1, 9)) == "accepted"
    assert log.write("erase", erasing=change(1, 9)) == "batch_twice"
    assert log.write("other", erased=Erased("r1", 1)) == "accepted", "whoever finds it unfinished finishes it"
    assert log.write("erase", erased=Erased("r1", 1)) == "not_erasing"
    assert log.state.erasing == ()


def test_a_range_keeps_the_erasures_that_it_was_announced_with(log: Log) -> None:
    assert log.write(intent=intent(attempt=2, erasures=1)) == "content_differs"
    assert log.write(intent=intent(attempt=2)) == "accepted"


@pytest.mark.parametrize("junk", [b"", b"{}", b"null", b'{"schema": "tokentrail.ledger.v2"}', b"\xff\x00"])
def test_junk_in_the_log_is_skipped(log: Log, junk: bytes) -> None:
    state, verdict = accept(log.state, 0, junk)
    assert (state, verdict.reason) == (log.state, "unreadable")


def test_a_record_of_another_partition_is_skipped(log: Log) -> None:
    state, verdict = accept(log.state, 1, log.values[0])
    assert (state, verdict.reason) == (log.state, "wrong_partition")


def test_the_head_depends_on_every_accepted_byte_and_on_the_order() -> None:
    def head(*values: bytes) -> str:
        state = genesis(0)
        for value in values:
            state, _ = accept(state, 0, value)
        return state.head

    claim = encode(Entry(0, "a", 0, genesis(0), claim=Claim("")))
    first, other = (encode(Entry(0, "x", 1, genesis(0), signed=Signed(0, "", 0, at, "", "", ""))) for at in (1, 2))
    heads = {
        head(),
        head(claim),
        head(claim, first),
        head(claim, other),
        head(claim, first, other),
        head(claim, other, first),
        head(first, claim),
    }
    assert len(heads) == 7
    assert head(claim, b"junk", first) == head(claim, first), "what is rejected is not in the chain"


@pytest.mark.parametrize("seed", range(40))
def test_from_any_record_on_the_end_of_the_log_gives_the_same_state_as_all_of_it(seed: int) -> None:
    """Also from a record that was rejected, and from one of a zombie: the state it carries is a fact of the log."""
    rng = random.Random(seed)
    records = [tick(0), call(1), call(2, days=60), gap(3, 5), call(6), tick(7), call(8), call(9)]
    model = Model(slots(records))
    processes = [Process(model, "a", chunk=2)]
    for turn in range(rng.randrange(20, 120)):
        if rng.random() < 0.06:
            processes.append(Process(model, f"p{turn}", chunk=2))
        rng.choice(processes).step()
    whole = Follower(0)
    for offset, value in enumerate(model.log):
        whole.fold(offset, value)
    for value in model.log:
        follower = Follower.from_tail(0, value)
        assert follower is not None
        for offset in range(follower.end, len(model.log)):
            follower.fold(offset, model.log[offset])
        assert follower.state == whole.state


def repricing(number: int = 1, **changes: Any) -> Repricing:
    part = Part(Cell("repricings", 30, "2026-11-16"), 3, "ab", "")
    return msgspec.structs.replace(Repricing(number, 1, 0, 10, part, "book", 5), **changes)


def test_a_repricing_is_announced_and_said_to_stand_before_the_next(log: Log) -> None:
    assert log.write(done=Done(1, 1)) == "accepted"
    assert log.write("anybody", repricing=repricing()) == "accepted"
    assert log.write("another", repricing=repricing(2)) == "repricing_open"
    assert log.write("another", repriced=Repriced(2, True)) == "not_repricing"
    assert log.write("another", repriced=Repriced(1, False), repricing=repricing(2)) == "accepted"
    assert log.state.repricing == repricing(2) and log.state.repricings == 2
    assert log.write(repriced=Repriced(2, True)) == "accepted"
    assert log.state.repricing is None
    assert log.write(repricing=repricing(2)) == "not_next"


def test_only_what_is_done_is_repriced(log: Log) -> None:
    assert log.write(repricing=repricing()) == "not_finished"
    assert log.write(done=Done(1, 1)) == "accepted"
    assert log.write(repricing=repricing(next=11)) == "not_finished"
    assert log.write(repricing=repricing()) == "accepted"


def test_a_cell_does_not_end_while_it_is_repriced_into(log: Log) -> None:
    cell = repricing().part.cell
    assert log.write(done=Done(1, 1), repricing=repricing()) == "accepted"
    assert log.write(expiring=Expiry(cell, 0, "")) == "cell_in_use"
    assert log.write(repriced=Repriced(1, True)) == "accepted"
    assert log.write(expiring=Expiry(cell, 3, "")) == "accepted"
    assert log.write(repricing=repricing(2)) == "cell_expiring"
