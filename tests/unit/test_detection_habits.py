"""Weeks, launches and weekends: what a key does by habit is no finding, and what breaks the habit is one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.detection.feed import Spent, judged
from bench.detection.play import Told

DAY = 1_440
MONDAY = 20_402 * DAY
PROVIDER = ("openai", "large")


def calls(of: Callable[[int, int], float], days: int, feature: str = "chat", seed: int = 1) -> dict[int, list[Spent]]:
    """Calls of one tenant by minute; `of` gives how many come in an hour at a (day, minute of the day)."""
    dice = np.random.default_rng(seed)
    found = dict[int, list[Spent]]()
    for minute in range(0, days * DAY, 5):
        count = dice.poisson(max(0.0, of(minute // DAY, minute % DAY)) / 12)
        if count:
            costs = (2e7 * np.exp(0.4 * dice.standard_normal(count))).astype(int).tolist()
            found[MONDAY + minute + 4] = [Spent("acme", feature, PROVIDER, cost) for cost in costs]
    return found


def told(made: dict[int, list[Spent]], days: int, rule: str) -> list[Told]:
    return judged(made, MONDAY, MONDAY + days * DAY, (rule,), step=5)[0]


def both(one: dict[int, list[Spent]], two: dict[int, list[Spent]]) -> dict[int, list[Spent]]:
    return {minute: [*one.get(minute, ()), *two.get(minute, ())] for minute in {*one, *two}}


def office(day: int, minute: int) -> float:
    working = day % 7 < 5 and 480 <= minute < 1_080
    return 120.0 if working else 6.0


def odd_office(day: int, minute: int) -> float:
    """Closed on Friday and Saturday."""
    return 120.0 if day % 7 not in (4, 5) and 480 <= minute < 1_080 else 6.0


def test_weeks_of_an_office_are_no_spikes_whichever_days_it_is_closed() -> None:
    assert told(calls(office, 23), 23, "cost.spike") == []
    assert told(calls(odd_office, 23), 23, "cost.spike") == []


def test_an_office_whose_monday_begins_on_sunday_evening_is_told_of_its_first_monday_and_not_of_its_tuesday() -> None:
    def eastern(day: int, minute: int) -> float:
        local = day * DAY + minute + 9 * 60
        return max(25.0, office(local // DAY, local % DAY)) if day >= 4 else 0.0

    found = told(calls(eastern, 25), 25, "cost.spike")
    assert [one.minute // DAY for one in found] == [6]


def test_what_was_told_in_the_first_week_hides_nothing_from_the_second_on() -> None:
    def tripled(day: int, minute: int) -> float:
        return office(day, minute) * (3.0 if day in (2, 9, 16) and 600 <= minute < 720 else 1.0)

    found = told(calls(tripled, 18), 18, "cost.spike")
    assert [one.minute // DAY for one in found] == [2, 9, 16]


def test_one_dear_call_of_last_week_does_not_say_how_the_hour_is_spread() -> None:
    made = calls(office, 16)
    made[MONDAY + 7 * DAY + 609].append(Spent("acme", "chat", PROVIDER, 40_000_000_000))
    assert told(made, 16, "cost.spike") == []


def test_a_burst_of_dear_calls_is_no_hour_that_is_dear_and_the_same_money_over_an_hour_is() -> None:
    def with_more(minutes: range) -> list[Told]:
        made = calls(lambda day, minute: 40.0, 10)
        for minute in minutes:
            more = Spent("acme", "chat", PROVIDER, 600_000_000 // len(minutes))
            made.setdefault(MONDAY + 9 * DAY + minute, []).extend([more] * 6)
        return told(made, 10, "cost.spike")

    assert with_more(range(739, 740)) == []
    assert len(with_more(range(724, 784, 5))) == 1


def test_two_long_runs_that_meet_are_no_spike_and_a_busy_hour_of_long_runs_is() -> None:
    def runs(rate: Callable[[int, int], float]) -> dict[int, list[Spent]]:
        """Agents that make twelve calls in a quarter of an hour each."""
        dice = np.random.default_rng(1)
        made = dict[int, list[Spent]]()
        for minute in range(21 * DAY - 15):
            for _ in range(dice.poisson(rate(minute // DAY, minute % DAY) / 60)):
                cost = int(2e7 * np.exp(0.4 * dice.standard_normal()))
                for at in (minute + dice.integers(0, 15, 12)).tolist():
                    made.setdefault(MONDAY + at // 5 * 5 + 4, []).append(Spent("acme", "chat", PROVIDER, cost))
        return made

    assert told(runs(lambda day, minute: 4.0), 21, "cost.spike") == []
    busy = told(runs(lambda day, minute: 20.0 if day == 19 and 600 <= minute < 720 else 4.0), 21, "cost.spike")
    assert [one.minute // DAY for one in busy] == [19]


def test_hours_in_which_nothing_came_last_week_hide_no_rise() -> None:
    def silent_once(day: int, minute: int) -> float:
        if day in (9, 10) and 540 <= minute < 840:
            return 0.0
        return office(day, minute) * (2.5 if day == 16 and 600 <= minute < 780 else 1.0)

    assert [one.minute // DAY for one in told(calls(silent_once, 18), 18, "cost.spike")] == [16]


def test_growth_is_no_spike_and_a_doubling_on_top_of_it_is() -> None:
    def grown(day: int, minute: int) -> float:
        return office(day, minute) * 1.15 ** (day / 7)

    def doubled(day: int, minute: int) -> float:
        return grown(day, minute) * (2.5 if day == 22 and 600 <= minute < 780 else 1.0)

    assert told(calls(grown, 24), 24, "cost.spike") == []
    (found,) = told(calls(doubled, 24), 24, "cost.spike")
    assert 22 * DAY + 600 < found.minute <= 22 * DAY + 690


def test_what_doubles_on_a_saturday_is_measured_by_saturdays() -> None:
    def busy(day: int, minute: int) -> float:
        return (
            40.0
            if day == 19 and 600 <= minute < 840
            else 2.0 * office(day, minute)
            if day % 7 > 4
            else office(day, minute)
        )

    (found,) = told(calls(busy, 21), 21, "cost.spike")
    assert 19 * DAY + 600 < found.minute <= 19 * DAY + 780


def test_a_launch_is_no_spike_neither_of_the_tenant_nor_of_the_feature_nor_when_it_is_days_old() -> None:
    def new(day: int, minute: int) -> float:
        return 0.8 * office(day, minute) if day * DAY + minute >= 9 * DAY + 600 else 0.0

    made = both(calls(office, 23), calls(new, 23, "new", seed=2))
    assert told(made, 23, "cost.spike") == []


def test_silence_at_an_hour_of_work_is_told_and_a_weekend_is_not() -> None:
    def away(day: int, minute: int) -> float:
        return 0.0 if (day == 15 and 600 <= minute < 720) or day % 7 > 4 else office(day, minute)

    (found,) = told(calls(away, 21), 21, "traffic.silence")
    assert (found.tenant, found.feature) == ("acme", "")
    assert 15 * DAY + 615 <= found.minute <= 15 * DAY + 660
