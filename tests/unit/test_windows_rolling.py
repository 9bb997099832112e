"""Merged partials: idempotent, over all source partitions, rolling sums that cost the same however long the past."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from pipeline.windows.rolling import Store, StoreState
from pipeline.windows.timeline import LENGTHS, RING_MINUTES, Timeline
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Bucket, Cell, Key

KEY: Key = ("tenant", "acme")
START = 29_376_000  # a whole hour, in minutes


def cell(minute: int, calls: int, *, since: int = 0, upto: int | None = None, hour: bool = False, usd: int = 1) -> Cell:
    bucket = Bucket(calls=calls, cost_nano_usd=calls * usd, latency={300: calls})
    return Cell(KEY, hour, minute, since, since + calls if upto is None else upto, bucket)


@pytest.fixture
def store() -> Store:
    made = Store()
    made.advance(START)
    return made


def at(store: Store, minute: int) -> list[int]:
    timeline = store.timelines[KEY]
    timeline.seek(minute)
    return timeline.calls


def test_a_repeated_or_older_cell_changes_nothing(store: Store) -> None:
    assert store.upsert(0, 1, cell(START, 5)) is not None
    assert store.upsert(0, 1, cell(START, 5)) is None
    assert store.upsert(0, 1, cell(START, 3)) is None
    assert store.timelines[KEY].minutes[START].calls == 5


def test_a_newer_cell_replaces_and_is_not_added(store: Store) -> None:
    store.upsert(0, 1, cell(START, 5))
    store.upsert(0, 1, cell(START, 8))
    assert at(store, START) == [8] * len(LENGTHS)


def test_partitions_epochs_and_cells_begun_again_are_added(store: Store) -> None:
    store.upsert(0, 1, cell(START, 5))
    store.upsert(1, 1, cell(START, 7))
    store.upsert(0, 2, cell(START, 1))
    store.upsert(0, 1, cell(START, 2, since=90))
    assert at(store, START) == [15] * len(LENGTHS)


def test_rolling_sums_equal_a_slow_sum_over_any_steps() -> None:
    rng, store = random.Random(7), Store()
    truth: dict[int, int] = {}
    now = START
    for _ in range(3_000):
        now += rng.choice((0, 0, 0, 0, 1, 1, 2, 7, 40, 200) if rng.random() < 0.05 else (0, 0, 0, 1))
        store.advance(now)
        minute = now - rng.choice((0, 0, 0, 1, 3, 30, 100))
        truth[minute] = truth.get(minute, 0) + rng.randint(1, 4)
        store.upsert(0, 1, cell(minute, truth[minute]))
        if rng.random() < 0.4:
            expected = [sum(truth.get(m, 0) for m in range(now - length + 1, now + 1)) for length in LENGTHS]
            assert at(store, now) == expected


def test_a_sum_over_a_past_that_has_left_the_ring_is_made_again(store: Store) -> None:
    store.upsert(0, 1, cell(START, 5))
    assert at(store, START)[-1] == 5
    store.advance(START + RING_MINUTES + 1)
    store.upsert(0, 1, cell(START + RING_MINUTES, 1))
    assert at(store, START + RING_MINUTES) == [1] * len(LENGTHS)


def test_an_hour_keeps_its_numbers_when_its_minutes_are_dropped(store: Store) -> None:
    for minute in range(HOUR_MINUTES):
        store.upsert(0, 1, cell(START + minute, 2 if minute < 30 else 0, upto=9, usd=10))
    hour = START // HOUR_MINUTES
    before = store.timelines[KEY].hour(hour, store.ring_start)
    store.advance(START + 10 * HOUR_MINUTES)
    after = store.timelines[KEY].hour(hour, store.ring_start)
    assert (after.calls, after.cost, after.quarters) == (60, 600, (300, 300, 0, 0)) == (
        before.calls, before.cost, before.quarters)  # fmt: skip
    assert store.timelines[KEY].minutes == {}


def test_an_hour_cell_raises_what_the_minutes_said_and_never_lowers_it(store: Store) -> None:
    store.upsert(0, 1, cell(START, 40))
    store.advance(START + 4 * HOUR_MINUTES)
    hour = START // HOUR_MINUTES
    store.upsert(0, 1, cell(hour, 30, hour=True))
    assert store.timelines[KEY].hour(hour, store.ring_start).calls == 40
    store.upsert(0, 1, cell(hour, 45, hour=True))
    assert store.timelines[KEY].hour(hour, store.ring_start).calls == 45


def test_what_is_too_old_to_matter_is_ignored(store: Store) -> None:
    assert store.upsert(0, 1, cell(START - RING_MINUTES - 1, 1)) is None
    assert store.upsert(0, 1, cell(START // HOUR_MINUTES - 27, 1, hour=True)) is None


def test_the_least_recent_keys_are_forgotten_beyond_the_bound() -> None:
    store = Store(max_keys=50)
    for number in range(200):
        one = cell(START, 1)
        store.upsert(0, 1, msgspec.structs.replace(one, key=("tenant", f"t{number}")))
    assert len(store.timelines) <= 50
    assert ("tenant", "t199") in store.timelines
    assert store.forgotten >= 150


def test_a_key_that_was_silent_for_longer_than_is_kept_is_forgotten(store: Store) -> None:
    store.upsert(0, 1, cell(START, 5))
    for day in range(1, 8):
        store.advance(START + day * 24 * HOUR_MINUTES)
        assert store.timelines[KEY].hour(START // HOUR_MINUTES, store.ring_start).calls == 5
    for day in range(8, 11):
        store.advance(START + day * 24 * HOUR_MINUTES)
    assert store.timelines == {}


def test_quantiles_are_over_all_partitions(store: Store) -> None:
    store.upsert(0, 1, cell(START, 3))
    store.upsert(1, 1, Cell(KEY, False, START, 0, 9, Bucket(calls=1, latency={500: 1})))
    timeline: Timeline = store.timelines[KEY]
    assert timeline.latencies(START, 1) == {300: 3, 500: 1}


def test_a_store_goes_on_from_its_state_as_if_nothing_had_happened() -> None:
    rng, store = random.Random(3), Store()

    def feed(target: Store, steps: list[Callable[[Store], object]]) -> None:
        for one in steps:
            one(target)

    steps: list[Callable[[Store], object]] = []
    for number in range(600):
        now = START + number // 2
        one = cell(now - rng.randint(0, 3), rng.randint(1, 9), since=rng.randint(0, 3))
        steps.append(lambda s, now=now: s.advance(now))  # type: ignore[misc]
        steps.append(lambda s, one=one: s.upsert(0, 1, one))  # type: ignore[misc]
    feed(store, steps[:800])
    again = Store()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(store.state()), type=StoreState))
    feed(store, steps[800:])
    feed(again, steps[800:])
    assert msgspec.to_builtins(again.state()) == msgspec.to_builtins(store.state())
