"""How large one payment is: what a week's days say of it, and what jobs of an hour do to `cost.spike`."""

from __future__ import annotations

import numpy as np

from bench.detection.feed import Spent, judged
from pipeline.detection.payment import payments
from pipeline.windows.book import Hour
from pipeline.windows.timeline import Timeline

DAY = 1_440
HOUR = 489_600
MONDAY = 20_402 * DAY
CENT = 1e7


def known(size_of_day: dict[int, float], calls: float = 20.0) -> Timeline:
    """A key with `calls` of a cent an hour; by days back, how many cents one payment of its hours is."""
    timeline = Timeline(("tenant", "acme"))
    for days_back, size in sorted(size_of_day.items(), reverse=True):
        for hour in range(HOUR - (days_back + 1) * 24, HOUR - days_back * 24):
            cost = calls * CENT
            timeline.book.put(hour, Hour(calls, cost, spread=size * CENT * cost * 11 / 12, quarters=(64, 64, 64, 63)))
    return timeline


def in_cents(timeline: Timeline) -> float:
    return round(payments(timeline, HOUR)[0] / CENT, 2)


def test_a_payment_is_variance_over_mean_of_five_minutes() -> None:
    assert in_cents(known(dict.fromkeys(range(7), 3.0))) == 3.0


def test_a_day_without_long_runs_does_not_say_that_there_are_none() -> None:
    assert in_cents(known({0: 2.0, 1: 2.0, 2: 9.0, 3: 2.0, 4: 8.0, 5: 2.0, 6: 2.0})) == 8.0


def test_one_strange_day_of_a_week_is_not_how_a_key_pays() -> None:
    assert in_cents(known({0: 2.0, 1: 2.0, 2: 50.0, 3: 2.0, 4: 2.0, 5: 2.0, 6: 2.0})) == 2.0


def test_of_few_calls_the_days_are_put_together_and_a_guess_keeps_the_payment_up() -> None:
    assert in_cents(known({0: 2.0}, calls=1.0)) == round(24 / 200 * 2.0 + 176 / 200 * 8.0, 2)
    assert in_cents(known(dict.fromkeys(range(7), 3.0), calls=2.0)) == 3.0


def jobs(days: int, a_day: int, seed: int) -> dict[int, list[Spent]]:
    """Forty calls an hour, and jobs of an hour and 120 calls at any time of the day."""
    dice = np.random.default_rng(seed)

    def calls(count: int) -> list[Spent]:
        costs = 2e7 * np.exp(0.4 * dice.standard_normal(count))
        return [Spent("acme", "chat", ("openai", "large"), int(cost)) for cost in costs]

    made = {MONDAY + minute + 4: calls(dice.poisson(40 / 12)) for minute in range(0, days * DAY, 5)}
    for day in range(days):
        for start in dice.integers(0, DAY - 60, a_day).tolist():
            for at in dice.integers(0, 60, 120).tolist():
                made[MONDAY + day * DAY + (start + at) // 5 * 5 + 4].extend(calls(1))
    return made


def test_jobs_of_an_hour_that_come_every_day_are_soon_no_spikes_and_four_hours_of_ten_times_as_much_are() -> None:
    made = jobs(17, 5, seed=1)
    for minute in range(16 * DAY + 600, 16 * DAY + 840, 5):
        made[MONDAY + minute + 4] *= 10
    told = [one.minute for one in judged(made, MONDAY, MONDAY + 17 * DAY, ("cost.spike",), step=5)[0]]
    # Fifty jobs from the eighth day on; a page each is what no one reads.
    assert len([minute for minute in told if 7 * DAY <= minute < 16 * DAY + 600]) <= 8
    assert any(600 <= minute - 16 * DAY <= 700 for minute in told)


def mixed(days: int, factor: int, seed: int = 3) -> dict[int, list[Spent]]:
    """Four models of sixty small calls an hour, and one whose few dear calls make the noise; the four rise."""
    dice = np.random.default_rng(seed)
    made = dict[int, list[Spent]]()
    for minute in range(0, days * DAY, 5):
        up = minute // DAY == days - 1 and 600 <= minute % DAY < 720
        calls = made[MONDAY + minute + 4] = list[Spent]()
        for model in "abcd":
            costs = 1e7 * np.exp(0.4 * dice.standard_normal(dice.poisson(5 * (factor if up else 1))))
            calls += [Spent("acme", "chat", ("openai", model), int(cost)) for cost in costs]
        calls += [Spent("acme", "chat", ("openai", "dear"), 3 * 10**9)] * dice.poisson(0.08)
    return made


def test_a_rise_of_all_models_stands_out_of_the_noise_of_one_that_is_dear() -> None:
    def told(factor: int) -> int:
        found = judged(mixed(10, factor), MONDAY, MONDAY + 10 * DAY, ("cost.spike",), step=5)[0]
        return sum(one.minute >= 9 * DAY + 600 and not any(one.provider) for one in found)

    assert (told(5), told(1)) == (1, 0)
