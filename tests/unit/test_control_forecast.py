"""Forecasts: in the middle of what comes, and an interval that holds what it says it holds."""

from __future__ import annotations

import math
from random import Random

import pytest

from pipeline.control import forecast
from pipeline.control.forecast import DAY_MS, HOUR_MS, Day, days_of, month_end, month_start

START = 20_574  # 2026-05-01, a Friday


def office(seed: int, days: int) -> dict[int, int]:
    """Hours of a tenant that works on working days, with a level that wanders."""
    dice, hours = Random(seed), dict[int, int]()
    base, level = 1e9 * math.exp(dice.uniform(0, 6)), 1.0
    for day in range(START - days, START + 31):
        level *= math.exp(dice.gauss(0, 0.03))
        works = 1.0 if (day + 3) % 7 < 5 else 0.15
        shape = [math.exp(dice.gauss(0, 0.4)) * (1.0 if 8 <= hour < 18 else 0.1) for hour in range(24)]
        total = base * works * level * math.exp(dice.gauss(0, 0.25))
        for hour in range(24):
            hours[24 * day + hour] = int(total * shape[hour] / sum(shape))
    return hours


def at(hours: dict[int, int], now_ms: int, days: int) -> tuple[list[Day], int, int]:
    """(days before, today so far, month so far) as they are known at a time."""
    known = {
        hour: cost for hour, cost in hours.items() if hour * HOUR_MS < now_ms and hour // 24 >= now_ms // DAY_MS - days
    }
    day, begin = now_ms // DAY_MS, month_start(now_ms)
    past = [one for one in days_of(known) if one.number < day]
    spent = sum(cost for hour, cost in hours.items() if begin <= hour * HOUR_MS < now_ms)
    return past, sum(cost for hour, cost in known.items() if hour // 24 == day), spent


@pytest.mark.parametrize("days", [3, 9, 28])
def test_four_times_of_five_the_truth_lies_in_the_interval(days: int) -> None:
    held_day, held_month, off_day, off_month = [], [], [], []
    for seed in range(60):
        hours = office(seed, days)
        now_ms = (START + Random(seed + 1).randrange(2, 20)) * DAY_MS + Random(seed).randrange(4, 21) * HOUR_MS
        past, today_spent, spent = at(hours, now_ms, days)
        day, month = forecast.today(past, today_spent, now_ms), forecast.month(past, spent, today_spent, now_ms)
        true_day = sum(cost for hour, cost in hours.items() if hour // 24 == now_ms // DAY_MS)
        true_month = sum(c for h, c in hours.items() if month_start(now_ms) <= h * HOUR_MS < month_end(now_ms))
        held_day.append(day.low <= true_day <= day.high)
        held_month.append(month.low <= true_month <= month.high)
        off_day.append(abs(math.log(day.expected / true_day)))
        off_month.append(abs(math.log(month.expected / true_month)))
    assert sum(held_day) >= 0.7 * 60 and sum(held_month) >= 0.7 * 60
    assert sorted(off_day)[30] < 0.3 and sorted(off_month)[30] < (0.1 if days > 14 else 0.4)


def test_without_history_the_interval_says_how_little_is_known() -> None:
    now_ms = START * DAY_MS + 6 * HOUR_MS
    day = forecast.today([], 1_000, now_ms)
    assert day.expected == 4_000 and day.low == 1_000 and day.high > 20_000
    assert "nothing is known" in day.basis
    month = forecast.month([], 1_000, 1_000, now_ms)
    assert month.low < month.expected < month.high


def test_the_crossing_is_when_the_path_passes_the_limit() -> None:
    past = [Day(START - number, 24_000, (1_000.0,) * 24) for number in range(1, 15)]
    now_ms = START * DAY_MS + 12 * HOUR_MS
    day = forecast.today(past, 12_000, now_ms, 18_000)
    assert day.crossing_ms == pytest.approx(START * DAY_MS + 18 * HOUR_MS, abs=HOUR_MS)
    assert forecast.today(past, 12_000, now_ms, 40_000).crossing_ms is None
    month = forecast.month(past, 12_000, 12_000, now_ms, 24_000 * 10)
    assert month.crossing_ms == pytest.approx((START + 10) * DAY_MS, abs=DAY_MS)
    assert forecast.month(past, 300_000, 12_000, now_ms, 250_000).crossing_ms is None, "crossed already"


def test_a_month_knows_its_weekends() -> None:
    past = [Day(day, 10_000 if (day + 3) % 7 < 5 else 0) for day in range(START - 28, START)]
    month = forecast.month(past, 0, 0, START * DAY_MS)
    assert month.expected == pytest.approx(21 * 10_000, rel=0.05), "21 working days in May 2026"


def test_months_end_where_they_end() -> None:
    now_ms = START * DAY_MS + 5
    assert month_start(now_ms) == START * DAY_MS and month_end(now_ms) == (START + 31) * DAY_MS
    assert month_end((START + 40) * DAY_MS) == (START + 61) * DAY_MS
