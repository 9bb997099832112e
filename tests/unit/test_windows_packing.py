"""What is at rest: buckets as bytes, numbers of hours as records, minutes as a ring."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import msgspec
import pytest

from pipeline.windows import ring as rings
from pipeline.windows.book import FAR_HOURS, NEAR_HOURS, Book, Hour
from pipeline.windows.packing import EVALUATIONS_KEPT, NAMES_KEPT, pack, unpack
from schemas.partial import Bucket, Judged, Quality, Shape


def bucket(dice: Random, calls: int) -> Bucket:
    made = Bucket(calls=calls, facts=calls, cost_nano_usd=dice.randrange(10**15), cost_squares=2**62)
    made.max_cost_at, made.errors = 2**60, {"timeout": 3}
    for _ in range(calls):
        place = int(dice.gauss(340, 30))
        made.latency[place] = made.latency.get(place, 0) + 1
    made.quality = Quality(refusals=2, judged={"safety": Judged(3, 1500, 900, {"safe": 3})}, runs={500: 2, 501: 1})
    made.quality.samples["refusal"] = 2**61
    made.shape = Shape(finishes={"stop": calls}, lengths={9: 4, 10: 5}, topics={n: n + 1 for n in range(32)})
    return made


@pytest.mark.parametrize("calls", [0, 1, 7, 50, 5_000])
def test_a_bucket_comes_back_out_of_its_bytes_as_it_went_in(calls: int) -> None:
    made = bucket(Random(calls), calls)
    before = msgspec.to_builtins(made)
    assert msgspec.to_builtins(unpack(pack(made))) == before
    assert msgspec.to_builtins(made) == before, "packing changes nothing"


def test_counts_of_any_size_come_back() -> None:
    for most in (255, 256, 65_535, 65_536, 2**32 - 1, 2**40):
        made = Bucket(latency=dict.fromkeys(range(100, 120), most))
        assert unpack(pack(made)) == made


def test_a_large_sketch_takes_little_more_than_a_byte_a_place() -> None:
    made = Bucket()
    dice = Random(1)
    for _ in range(3_000):
        place = int(dice.gauss(340, 25))
        made.latency[place] = made.latency.get(place, 0) + 1
    assert len(pack(made)) < 2.2 * (max(made.latency) - min(made.latency))


def test_names_that_applications_choose_do_not_make_it_grow() -> None:
    made = Bucket(quality=Quality(), shape=Shape())
    assert made.quality is not None and made.shape is not None
    made.shape.labels = {f"label{n}": n + 1 for n in range(500)}
    made.quality.judged = {f"name{n}": Judged(n + 1, n, n) for n in range(100)}
    again = unpack(pack(made))
    assert again.shape is not None and again.quality is not None
    assert len(again.shape.labels) == NAMES_KEPT and len(again.quality.judged) == EVALUATIONS_KEPT
    assert sum(again.shape.labels.values()) == sum(range(501))
    assert "label499" in again.shape.labels and "label0" not in again.shape.labels
    assert sum(one.count for one in again.quality.judged.values()) == sum(range(101))
    assert unpack(pack(again)) == again, "cut once, not again"


# -- the book


def test_hours_are_found_whether_there_are_holes_or_not() -> None:
    dice, book, truth = Random(5), Book(), dict[int, float]()
    hours = [hour for hour in range(1_000, 1_180) if dice.random() < 0.7]
    dice.shuffle(hours)
    for hour in hours:
        book.put(hour, Hour(float(hour), 2.0, quarters=(1, 2, 3, 4), p95_ms=9.0))
        truth[hour] = float(hour)
    for hour in range(990, 1_200):
        known = book.hour(hour)
        assert (None if known is None else known.calls) == truth.get(hour)
    assert book.first() == min(hours) and book.hours() == len(hours)
    assert book.day(45).calls == sum(hour for hour in hours if hour // 24 == 45)


def test_an_hour_that_is_written_again_counts_once_in_its_day() -> None:
    book = Book()
    book.put(48, Hour(10.0, 5.0, failed=1.0))
    book.put(48, Hour(12.0, 6.0, failed=1.0, slow=2.0))
    late = Hour(1.0, 2.0, squares=4.0, dearest=2.0, failed=1.0)
    assert book.add(48, late) and not book.add(49, late)
    day = book.day(2)
    assert (day.calls, day.cost, day.failed, day.slow) == (13.0, 8.0, 2.0, 2.0)
    known = book.hour(48)
    assert known is not None and math.isnan(known.p95_ms)
    assert (known.calls, known.squares, known.dearest) == (13.0, 4.0, 2.0)


def test_older_hours_keep_calls_and_cost_and_then_go() -> None:
    book = Book()
    for hour in range(1_000):
        book.put(hour, Hour(float(hour), 1.0, dearest=7.0))
        if hour % 24 == 23:
            book.trim(hour + 1, far=True)
    last = 24 * 41
    near, far = book.hour(last - NEAR_HOURS), book.hour(last - NEAR_HOURS - 1)
    assert near is not None and far is not None
    assert (near.dearest, far.dearest, far.calls) == (7.0, 0.0, float(last - NEAR_HOURS - 1))
    assert book.hour(last - FAR_HOURS) is not None and book.hour(last - FAR_HOURS - 1) is None
    assert len(msgspec.msgpack.encode(book)) < 16_000


def test_dimensions_without_a_habit_keep_no_older_hours() -> None:
    book = Book()
    for hour in range(300):
        book.put(hour, Hour(1.0, 1.0))
    book.trim(300, far=False)
    assert book.hours() == NEAR_HOURS and not book.far


def test_cost_is_spread_over_an_hour_as_its_quarters_were() -> None:
    hour = Hour(4.0, 100.0, quarters=(255, 0, 0, 0))
    assert hour.between(0.0, 0.25) == pytest.approx(100.0) and hour.between(0.5, 1.0) == 0.0
    assert Hour(4.0, 100.0).between(0.25, 0.75) == 50.0


# -- the ring


def test_a_ring_forgets_what_is_too_old_and_takes_nothing_for_it() -> None:
    ring, now = rings.ring(1_000), 1_000 + rings.MINUTES
    assert ring.add(1_000, 1, 10, 1)
    assert ring.add(now - 1, 2, 20, 0, judged=now - 2)
    assert not ring.add(999, 1, 1, 0)
    assert ring.add(1_000, 1, 1, 0)
    assert ring.cost_of(999, 3) == [0, 11, 0]
    assert ring.add(now, 1, 1, 0, judged=now - 1)
    assert ring.cost_of(999, 3) == [0, 0, 0]
    assert ring.calls_of(now - 1, 3) == [2, 1, 0]
    assert ring.room == rings.MINUTES


@pytest.mark.parametrize("ahead", [30, 400, 1_300, 5_000])
@pytest.mark.parametrize("seed", range(4))
def test_sums_are_right_however_far_one_partition_is_ahead_of_the_minute_that_is_judged(seed: int, ahead: int) -> None:
    """Up to `LONGEST`; beyond that minutes may be missing from a sum, but nothing is taken for what it is not."""
    dice, ring, known = Random(seed), rings.ring(10_000), Counter[int]()
    judged = first = 10_000
    for _ in range(600):
        for _ in range(dice.randrange(4)):
            minute = judged + 1 + dice.randrange(ahead if dice.random() < 0.2 else 5)
            ring.add(minute, 1, 7, 0, judged=judged)
            known[minute] += 1
        judged += dice.choice((1, 1, 1, 2, 15))
        ring.seek(judged)
        truth = [sum(known[minute] for minute in range(judged - n + 1, judged + 1)) for n in rings.LENGTHS]
        if ahead <= 1_300:
            assert ring.calls == truth
        assert all(have <= true for have, true in zip(ring.calls, truth, strict=True))
        assert ring.cost == [7 * calls for calls in ring.calls]
        assert ring.room <= rings.LONGEST
    ring.seek(judged + ahead + 200)
    ring.rest()
    assert ring.room == (rings.MINUTES if ring.newest - ring.cursor <= 72 else ring.room) and judged > first
