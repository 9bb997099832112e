"""Windows equal a slow, obvious reference, whatever happens to facts, partials and processes on their way."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.laws.windows_model import differences, play


@pytest.mark.parametrize("seed", [1, 2])
def test_windows_are_what_counting_every_fact_once_gives(seed: int) -> None:
    """Short histories; a million events: `python -m tests.laws.windows_model`."""
    played = play(seed, events=2_500, days=1.5, faults=0.15)
    assert len(played.revisions) > 7_000
    assert differences(played) == []
    assert max(played.revisions.values()) <= 20


def test_a_partition_that_is_hours_behind_makes_no_storm_of_revisions_and_hours_are_right_in_the_end() -> None:
    played = play(3, events=2_500, days=2.0, faults=0.05, behind_hours=12.0)
    assert differences(played, least_size=60) == []
    by_size: dict[int, Counter[int]] = {}
    for (_, size, _), revision in played.revisions.items():
        by_size.setdefault(size, Counter())[revision] += 1
    for size, counted in by_size.items():
        often = sum(count for revision, count in counted.items() if revision > 12)
        assert often <= 0.02 * counted.total(), (size, counted)


def test_the_same_log_gives_the_same_anomalies_and_windows_however_often_the_judge_dies() -> None:
    played = play(4, events=2_000, days=1.5, faults=0.15)
    assert played.judged.told() and played.judged.told() == played.steady.told()
    assert played.judged.windows == played.steady.windows
