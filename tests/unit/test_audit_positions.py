"""The mark: only the next position is applied."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.positions import Mark
from schemas.position import Position


def offer(mark: Mark, offset: int, next_offset: int | None = None, epoch: int = 1) -> str:
    return mark.offer(Position(epoch, 0, offset), offset + 1 if next_offset is None else next_offset)


def test_only_the_next_position_is_applied_and_moves_the_mark() -> None:
    mark = Mark(1, 5)
    assert offer(mark, 4) == "duplicate"
    assert offer(mark, 6) == "ahead"
    assert mark.next_offset == 5
    assert offer(mark, 5) == "apply"
    assert mark.next_offset == 6


def test_a_gap_record_stands_for_all_it_covers() -> None:
    mark = Mark(1, 5)
    assert offer(mark, 5, 100) == "apply"
    assert offer(mark, 50, 60) == "duplicate"
    assert mark.next_offset == 100


def test_a_gap_that_had_grown_when_it_was_seen_again_is_applied_as_far_as_it_is_new() -> None:
    mark = Mark(1, 0)
    assert offer(mark, 0, 50) == "apply"
    assert offer(mark, 0, 80) == "apply"
    assert mark.next_offset == 80


def test_a_new_epoch_begins_at_offset_0_and_an_old_one_is_over() -> None:
    mark = Mark(1, 7)
    assert offer(mark, 3, epoch=2) == "ahead"
    assert offer(mark, 0, epoch=2) == "apply"
    assert (mark.epoch, mark.next_offset) == (2, 1)
    assert offer(mark, 7, epoch=1) == "duplicate"


@given(st.lists(st.integers(0, 30)), st.integers(1, 30))
def test_whatever_is_repeated_and_however_each_position_is_applied_once_and_in_order(
    noise: list[int], end: int
) -> None:
    mark = Mark(1, 0)
    applied = [offset for offset in [*noise, *range(end), *noise] if offer(mark, offset) == "apply"]
    assert applied == list(range(len(applied)))
    assert len(applied) >= end
