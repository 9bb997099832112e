"""Ranges are contiguous, bounded, in order, and a fetch is acknowledged with the range that ends it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UnknownEpochError
from pipeline.transport.cutting import Cutter
from pipeline.transport.ranges import KafkaRecord, Limits, Range

NEVER_FULL = Limits(max_records=10_000, max_bytes=10**9, linger_s=0.02)


def record(offset: int, size: int = 10) -> KafkaRecord:
    return KafkaRecord(offset, 0, None, b"x" * size)


def cutter(limits: Limits, first: int = 0) -> Cutter[str]:
    return Cutter("llm.calls.raw", 3, first, limits)


@st.composite
def fetches(draw: st.DrawFn) -> list[list[KafkaRecord]]:
    offset, made = draw(st.integers(0, 5)), []
    for sizes in draw(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=9), min_size=1, max_size=9)):
        fetch = []
        for size in sizes:
            offset += draw(st.integers(1, 3))
            fetch.append(record(offset, size))
        made.append(fetch)
    return made


@given(fetches(), st.integers(1, 12), st.integers(1, 150))
def test_whatever_the_fetches_ranges_hold_every_record_once_in_order_and_within_limits(
    made: list[list[KafkaRecord]], most_records: int, most_bytes: int
) -> None:
    lane = cutter(Limits(most_records, most_bytes, 0.0))
    for number, fetch in enumerate(made):
        lane.add(fetch, str(number))
    seen: list[KafkaRecord] = []
    acknowledged: list[str] = []
    expected = 0
    while lane.due_in(0.0) is not None:
        cut = lane.cut(0.0)
        assert cut.range.first == expected
        expected = cut.range.next
        assert expected == cut.range.records[-1].offset + 1
        assert 1 <= len(cut.range.records) <= most_records
        size = sum(len(r.value or b"") for r in cut.range.records)
        assert size <= most_bytes or len(cut.range.records) == 1
        seen += cut.range.records  # type: ignore[arg-type]
        acknowledged += cut.tokens
        done = {number for number, fetch in enumerate(made) if fetch[-1].offset < expected}
        assert acknowledged == [str(number) for number in sorted(done)]
    assert seen == [r for fetch in made for r in fetch]
    assert (lane.pending, lane.pending_bytes) == (0, 0)


def test_a_range_begins_where_the_stage_resumed_even_when_the_first_records_are_gone() -> None:
    lane = cutter(NEVER_FULL, first=100)
    lane.add([record(140), record(141), record(150)], "fetch")
    cut = lane.cut(0.0)
    assert (cut.range.first, cut.range.next) == (100, 151)
    assert cut.range.gaps() == [(100, 139), (142, 149)]


def test_a_range_without_missing_offsets_has_no_gaps() -> None:
    assert Range("t", 0, [record(7), record(8)], 7, 9).gaps() == []


def test_records_before_what_was_read_are_another_log() -> None:
    lane = cutter(NEVER_FULL, first=100)
    with pytest.raises(UnknownEpochError, match="offset 3 where 100"):
        lane.add([record(3)], "fetch")


def test_the_first_record_after_a_quiet_time_does_not_wait() -> None:
    lane = cutter(NEVER_FULL)
    lane.add([record(0)], "a")
    assert lane.due_in(50.0) == 0.0


def test_under_a_trickle_ranges_keep_their_distance() -> None:
    lane = cutter(NEVER_FULL)
    lane.add([record(0)], "a")
    lane.cut(50.0)
    lane.add([record(1)], "b")
    assert lane.due_in(50.005) == pytest.approx(0.015)


def test_a_full_range_does_not_wait() -> None:
    lane = cutter(Limits(2, 10**9, 5.0))
    lane.add([record(0)], "a")
    lane.cut(50.0)
    lane.add([record(1), record(2)], "b")
    assert lane.due_in(50.0) == 0.0


def test_small_fetches_are_joined_until_two_ranges_wait() -> None:
    lane = cutter(Limits(4, 10**9, 1.0))
    for offset in range(7):
        lane.add([record(offset)], str(offset))
        assert not lane.full
    lane.add([record(7)], "7")
    assert lane.full
    assert len(lane.cut(0.0).range.records) == 4
    assert not lane.full
