"""Event time over all source partitions: the slowest living one counts."""

from __future__ import annotations

from pipeline.windows.watermark import MergedClock


def test_the_slowest_partition_counts_and_time_never_goes_back() -> None:
    clock = MergedClock(2)
    assert clock.update(0, 1_000, 10) is None
    assert clock.update(1, 500, 20) == 500
    assert clock.update(1, 2_000, 30) == 1_000
    assert clock.update(0, 900, 40) == 1_000


def test_before_all_partitions_were_heard_of_there_is_no_time() -> None:
    clock = MergedClock(3)
    assert clock.update(0, 1_000, 0) is None
    assert clock.update(1, 1_000, 29_999) is None
    assert clock.update(2, 800, 29_999) == 800


def test_a_partition_that_never_speaks_is_not_waited_for_for_ever() -> None:
    clock = MergedClock(2, silence_ms=30_000)
    assert clock.update(0, 1_000, 0) is None
    assert clock.update(0, 31_000, 30_000) == 31_000


def test_a_partition_whose_time_stands_still_does_not_hold_back_the_others() -> None:
    clock = MergedClock(2, silence_ms=30_000)
    clock.update(0, 1_000, 0)
    clock.update(1, 1_000, 0)
    assert clock.update(1, 60_000, 30_000) == 1_000
    # It goes on reporting, but its watermark does not move: its `measure` is gone.
    clock.update(0, 1_000, 30_001)
    assert clock.update(1, 61_000, 30_001) == 61_000


def test_a_partition_that_comes_back_counts_again() -> None:
    clock = MergedClock(2, silence_ms=30_000)
    clock.update(0, 1_000, 0)
    clock.update(1, 1_000, 0)
    clock.update(1, 90_000, 40_000)
    assert clock.watermark == 90_000
    assert clock.update(0, 50_000, 40_100) == 90_000
    assert clock.update(1, 200_000, 40_200) == 90_000
    assert clock.update(0, 150_000, 40_300) == 150_000
