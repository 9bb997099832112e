"""Merged partials: idempotent, over all source partitions, rolling sums that cost the same however long the past."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from pipeline.windows.ring import LENGTHS
from pipeline.windows.rolling import HOURS_WHOLE, ROLLED_AFTER, Store, StoreState
from pipeline.windows.timeline import Timeline, place_of, position_of
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.partial import Bucket, Cell, Glimpse, Key, Partials, Source
from tests.streams import plain

KEY: Key = ("tenant", "acme")
SOURCE: Source = ("call", "acme", "", "", "", "", "", "")
START = 29_376_000  # midnight, in minutes
HOUR = START // HOUR_MINUTES


def cell(minute: int, calls: int, *, since: int = 0, upto: int | None = None, hour: bool = False, usd: int = 1) -> Cell:
    bucket = Bucket(calls=calls, facts=calls, cost_nano_usd=calls * usd, latency={300: calls})
    return Cell(SOURCE, hour, minute, since, since + calls if upto is None else upto, bucket)


def put(store: Store, one: Cell, partition: int = 0, epoch: int = 1) -> bool:
    return store.upsert(Partials(partition, epoch, 0), one) is not None


def flush(store: Store, minute: int, next_offset: int, partition: int = 0, epoch: int = 1) -> None:
    """The end of a flush, and two more, so that it counts."""
    for further in range(3):
        offset = next_offset + further
        store.flushed(Partials(partition, epoch, offset, watermark=minute * MINUTE_MS + further))


@pytest.fixture
def store() -> Store:
    made = Store()
    made.advance(START)
    return made


def at(store: Store, minute: int) -> list[int]:
    timeline = store.timelines[KEY]
    timeline.seek(minute)
    return timeline.calls


# -- what may still change


def test_a_repeated_or_older_cell_changes_nothing(store: Store) -> None:
    assert put(store, cell(START, 5))
    assert not put(store, cell(START, 5))
    assert not put(store, cell(START, 3))
    assert store.timelines[KEY].minute_total(START).calls == 5


def test_a_newer_cell_replaces_and_is_not_added(store: Store) -> None:
    put(store, cell(START, 5))
    put(store, cell(START, 8))
    assert at(store, START) == [8] * len(LENGTHS)


def test_partitions_epochs_and_cells_begun_again_are_added(store: Store) -> None:
    put(store, cell(START, 5))
    put(store, cell(START, 7), partition=1)
    put(store, cell(START, 1), epoch=2)
    put(store, cell(START, 2, since=90))
    assert at(store, START) == [15] * len(LENGTHS)
    assert store.timelines[KEY].hour_total(HOUR).calls == 15


# -- what is final


def test_what_is_final_is_added_up_and_a_repeat_of_it_is_known(store: Store) -> None:
    put(store, cell(START, 5, upto=50))
    flush(store, START, 60)
    flush(store, START + 6, 100)
    flush(store, START + 7, 200)
    timeline = store.timelines[KEY]
    assert store._parts == {} and timeline.block_total(START // 5).calls == 5
    assert not put(store, cell(START, 5, upto=50)), "a zombie says it again"
    assert not put(store, cell(START, 3, upto=30))
    assert timeline.block_total(START // 5).calls == 5


def test_a_cell_that_was_begun_again_for_a_late_event_counts_once(store: Store) -> None:
    put(store, cell(START, 5, upto=50))
    flush(store, START + 6, 100)
    flush(store, START + 7, 200)
    late = cell(START, 1, since=210, upto=210)
    assert put(store, late) and not put(store, late)
    flush(store, START + 8, 300)
    flush(store, START + 9, 400)
    assert not put(store, late)
    timeline = store.timelines[KEY]
    assert store._parts == {} and timeline.block_total(START // 5).calls == 6


def test_a_flush_counts_only_when_two_more_lie_behind_it(store: Store) -> None:
    put(store, cell(START, 5, upto=50))
    for number, minute in enumerate((START, START + 6, START + 7)):
        record = Partials(0, 1, 100 * (number + 1), watermark=minute * MINUTE_MS)
        store.flushed(record)
    # The last two may have holes in what was sent before their ends: it is sent again.
    assert put(store, cell(START, 6, upto=60))
    assert store.timelines[KEY].block_total(START // 5).calls == 6


def test_one_partitions_progress_says_nothing_of_another(store: Store) -> None:
    put(store, cell(START, 5, upto=50))
    put(store, cell(START, 5, upto=50), partition=1)
    flush(store, START + 6, 100)
    flush(store, START + 7, 200)
    assert put(store, cell(START, 9, upto=90), partition=1)
    assert store.timelines[KEY].block_total(START // 5).calls == 14


def test_a_new_epoch_makes_the_old_one_final(store: Store) -> None:
    put(store, cell(START, 5, upto=50))
    flush(store, START, 60)
    put(store, cell(START, 2, upto=1), epoch=2)
    flush(store, START, 10, epoch=2)
    assert not put(store, cell(START, 9, upto=90))
    assert store.timelines[KEY].block_total(START // 5).calls == 7
    assert put(store, cell(START, 3, upto=2), epoch=2)


# -- sums


def test_rolling_sums_equal_a_slow_sum_over_any_steps() -> None:
    rng, store = random.Random(7), Store()
    truth: dict[int, int] = {}
    now = START
    for _ in range(3_000):
        now += rng.choice((0, 0, 0, 0, 1, 1, 2, 7, 40, 200) if rng.random() < 0.05 else (0, 0, 0, 1))
        store.advance(now)
        minute = now - rng.choice((0, 0, 0, 1, 3, 30, 100))
        truth[minute] = truth.get(minute, 0) + rng.randint(1, 4)
        put(store, cell(minute, truth[minute]))
        if rng.random() < 0.4:
            expected = [sum(truth.get(m, 0) for m in range(now - length + 1, now + 1)) for length in LENGTHS]
            assert at(store, now) == expected


def test_sums_of_blocks_hours_and_days_do_not_change_when_they_are_added_up(store: Store) -> None:
    for minute in range(3 * HOUR_MINUTES):
        put(store, cell(START + minute, 2, since=minute * 10, upto=minute * 10 + 2, usd=10))
        flush(store, START + minute, minute * 10 + 5)
        store.advance(START + minute)
    timeline = store.timelines[KEY]
    for later in (0, 30, 90, 200, 60 * 24, 60 * 30, 60 * 60):
        minute = START + 3 * HOUR_MINUTES + later
        flush(store, minute, 10_000 + later * 10)
        store.advance(minute)
        assert timeline.day_total(HOUR // 24).calls == 360
        assert timeline.day_total(HOUR // 24).latency == {300: 360}
        if later < 60 * 24:
            assert [timeline.hour_total(HOUR + each).calls for each in range(3)] == [120] * 3
        assert [timeline.hour(HOUR + each).cost for each in range(3)] == [1_200] * 3
    assert not timeline.blocks and not timeline.hours and not store._parts
    assert timeline.book.day(HOUR // 24).calls == 360


def test_an_hours_numbers_say_how_its_cost_was_spread(store: Store) -> None:
    for minute in range(HOUR_MINUTES):
        put(store, cell(START + minute, 2 if minute < 30 else 0, since=minute, upto=minute + 9, usd=10))
    before = store.timelines[KEY].hour(HOUR)
    flush(store, START + 200, 900)
    flush(store, START + 201, 990)
    store.advance(START + HOUR_MINUTES + ROLLED_AFTER)
    after = store.timelines[KEY].hour(HOUR)
    assert (after.calls, after.cost, after.quarters) == (60, 600, (128, 128, 0, 0)) == (
        before.calls, before.cost, before.quarters)  # fmt: skip
    assert after.between(0.0, 0.25) == 300.0
    assert after.p95_ms == pytest.approx(store.timelines[KEY].hour(HOUR).p95_ms)


def test_a_late_call_corrects_an_hour_that_is_in_the_book(store: Store) -> None:
    put(store, cell(START, 40))
    store.advance(START + 5 * HOUR_MINUTES)
    put(store, cell(HOUR, 2, since=900, hour=True))
    put(store, cell(HOUR + 1, 3, since=901, hour=True))
    timeline = store.timelines[KEY]
    assert [timeline.hour(HOUR + each).calls for each in range(3)] == [42, 3, 0]
    assert timeline.hour_total(HOUR).calls == 42
    assert timeline.book.day(HOUR // 24).calls == 45


def test_what_is_too_old_to_matter_is_ignored(store: Store) -> None:
    store.advance(START + (HOURS_WHOLE + 2) * HOUR_MINUTES)
    assert not put(store, cell(START, 1))
    assert not put(store, cell(HOUR + 1, 1, hour=True))
    assert put(store, cell(HOUR + 2, 1, hour=True))
    assert store.too_old == 2


def test_quantiles_are_over_all_partitions(store: Store) -> None:
    put(store, cell(START, 3))
    put(store, Cell(SOURCE, False, START, 0, 9, Bucket(calls=1, latency={500: 1})), partition=1)
    assert store.timelines[KEY].blocks_total(START // 5, 1).latency == {300: 3, 500: 1}


# -- bounds


def test_the_least_recent_keys_are_forgotten_beyond_the_bound() -> None:
    store = Store(max_keys=50)
    for number in range(200):
        put(store, msgspec.structs.replace(cell(START, 1), source=("user", f"t{number}", "u")))
    assert len(store.timelines) <= 50
    assert ("user", "t199", "u") in store.timelines
    assert store.forgotten >= 150
    assert {key for keys in store._by_block.values() for key in keys} == set(store.timelines)


def test_a_key_that_was_silent_for_longer_than_is_kept_is_forgotten(store: Store) -> None:
    put(store, cell(START, 5))
    flush(store, START, 9)
    for day in range(1, 28):
        minute = START + day * 24 * HOUR_MINUTES
        flush(store, minute, day * 100)
        store.advance(minute)
        assert store.timelines[KEY].hour(HOUR).calls == 5
    for day in range(28, 38):
        store.advance(START + day * 24 * HOUR_MINUTES)
    assert store.timelines == {}


def test_time_that_nobody_watched_is_dark(store: Store) -> None:
    store.advance(START + 5)
    store.advance(START + 19)
    assert store.dark == {}
    store.advance(START + 5 * HOUR_MINUTES)
    assert set(store.dark) == {HOUR + each for each in range(6)}


def test_hours_of_which_calls_are_heard_later_at_once_were_watched(store: Store) -> None:
    """Whoever catches up goes on by hours; only where no call came in between does nobody know."""
    for minute in range(0, 120, 10):
        put(store, cell(START + minute, 1))
    store.advance(START + 5 * HOUR_MINUTES)
    assert set(store.dark) == {HOUR + each for each in range(1, 6)}, "the last call came at 1:50"


# -- snapshots


def test_a_store_goes_on_from_its_state_as_if_nothing_had_happened() -> None:
    rng, store = random.Random(3), Store()

    def feed(target: Store, steps: list[Callable[[Store], object]]) -> None:
        for one in steps:
            one(target)

    steps: list[Callable[[Store], object]] = []
    for number in range(600):
        now = START + number // 2
        one = cell(now - rng.randint(0, 3), rng.randint(1, 9), since=rng.randint(0, 3) + number, upto=number + 9)
        steps.append(lambda s, now=now: s.advance(now))  # type: ignore[misc]
        packed = msgspec.msgpack.encode(one)
        steps.append(lambda s, packed=packed: put(s, msgspec.msgpack.decode(packed, type=Cell)))  # type: ignore[misc]
        steps.append(lambda s, now=now, number=number: flush(s, now, number + 1))  # type: ignore[misc]
    feed(store, steps[:1200])
    again = Store()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(store.state()), type=StoreState))
    feed(store, steps[1200:])
    feed(again, steps[1200:])
    assert plain(again.state()) == plain(store.state())
    assert again._by_hour.keys() >= store._by_hour.keys()


def test_a_place_is_a_position() -> None:
    for epoch, partition, offset in ((1, 0, 0), (3, 1_023, 2**44 - 1), (200, 7, 123_456_789)):
        assert position_of(place_of(epoch, partition, offset)) == f"{epoch}/{partition}/{offset}"
    assert place_of(1, 1, -1) == -1


def test_evidence_names_the_partition_it_is_in(store: Store) -> None:
    for partition in (0, 3):
        bucket = Bucket(calls=1, max_cost_nano_usd=5 + partition, max_cost_at=17, slowest_ms=9, slowest_at=18)
        put(store, Cell(SOURCE, False, START + 5 * partition, 0, 20, bucket), partition=partition)
    timeline: Timeline = store.timelines[KEY]
    assert timeline.dearest(START, 20) == ("1/3/17", "1/0/17")
    assert set(timeline.slowest(START, 20)) == {"1/3/18", "1/0/18"}


# -- glimpses


def glimpse(store: Store, upto: int, calls: int, cost: int, *, minute: int = START) -> bool:
    seen = Glimpse(("call", "acme", "chat", "openai", "gpt-4o", "", "", ""), minute, 0, upto, calls, cost, cost)
    return store.glimpse(Partials(0, 1, 0), seen) is not None


def whole(store: Store, upto: int, calls: int, cost: int) -> bool:
    source = ("call", "acme", "chat", "openai", "gpt-4o", "", "", "")
    bucket = Bucket(calls=calls, facts=calls, cost_nano_usd=cost, latency={300: calls})
    return put(store, Cell(source, False, START, 0, upto, bucket))


def test_a_glimpse_moves_the_sums_of_who_is_looked_at_at_once_and_its_cell_completes_them(store: Store) -> None:
    assert glimpse(store, 5, 3, 30) and not glimpse(store, 5, 3, 30)
    assert at(store, START)[0] == 3
    assert store.timelines[KEY].dearest_call(START, 5) == 30
    assert set(store.timelines) == {KEY, ("feature", "acme", "chat")}
    assert whole(store, 9, 7, 70)
    for key in (KEY, ("feature", "acme", "chat"), ("provider", "openai", "gpt-4o")):
        store.timelines[key].seek(START)
        assert (store.timelines[key].calls[0], store.timelines[key].cost[0]) == (7, 70), key
        assert store.timelines[key].block_total(START // 5).calls == 7


def test_a_glimpse_that_saw_everything_is_no_substitute_for_its_cell(store: Store) -> None:
    glimpse(store, 9, 7, 70)
    assert whole(store, 9, 7, 70) and not whole(store, 9, 7, 70)
    assert at(store, START)[0] == 7
    assert store.timelines[KEY].block_total(START // 5).latency == {300: 7}


def test_an_older_cell_behind_a_glimpse_takes_nothing_back(store: Store) -> None:
    glimpse(store, 9, 7, 70)
    assert whole(store, 5, 4, 40)
    assert at(store, START)[0] == 7
    assert whole(store, 11, 8, 80)
    assert at(store, START)[0] == 8 and store.timelines[KEY].block_total(START // 5).calls == 8


def test_a_glimpse_of_a_new_owner_that_catches_up_takes_nothing_back(store: Store) -> None:
    whole(store, 9, 7, 70)
    assert not glimpse(store, 8, 6, 60)
    assert glimpse(store, 11, 9, 90)
    assert at(store, START)[0] == 9
    assert whole(store, 12, 10, 100)
    assert at(store, START)[0] == 10
    timeline = store.timelines["provider", "openai", "gpt-4o"]
    timeline.seek(START)
    assert timeline.calls[0] == 10 and timeline.block_total(START // 5).latency == {300: 10}
