"""Budgets: near and exceeded, exact under late calls and restarts, in force by the time of the log."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from pipeline.control.budgets import BudgetError, Budgets, check
from pipeline.control.forecast import DAY_MS, HOUR_MS
from pipeline.detection.budgeting import LATE_MS, BudgetWatch, WatchState
from pipeline.detection.ruleset import DEFAULT
from pipeline.windows.spend import Route, SpendBook
from schemas.anomaly import Anomaly
from schemas.control import EFFECT_DELAY_MS, Budget, Control

START = 20_574  # 2026-05-01
NANO = 1_000_000_000
ROUTE: Route = ("prod", "core", "chat", "gpt-4o")


def control(selector: dict[str, str], owner: str = "finance", **body: Any) -> Control:
    return Control("budget", selector, owner, body=body)


class Judged:
    """A watch with budgets that have been in force for ever, and money that is spent."""

    def __init__(self, *controls: Control, book: SpendBook | None = None) -> None:
        self.budgets = Budgets((0, one) for one in controls)
        self.watch = BudgetWatch(book)
        self.found: list[Anomaly] = []

    def spend(
        self, usd: float, at_ms: int, *, tenant: str = "acme", route: Route = ROUTE, day: int | None = None
    ) -> list[Anomaly]:
        self.watch.spent(tenant, route, at_ms // DAY_MS if day is None else day, round(usd * NANO))
        return self.pass_to(at_ms)

    def pass_to(self, at_ms: int, log_ms: int | None = None) -> list[Anomaly]:
        found = self.watch.judge(at_ms, at_ms if log_ms is None else log_ms, self.budgets, DEFAULT)
        self.found += found
        return found

    def said(self, rule: str) -> list[tuple[str, int]]:
        return [(one.state, one.revision) for one in self.found if one.rule == rule]


def noon(day: int = 0) -> int:
    return (START + day) * DAY_MS + 12 * HOUR_MS


def test_near_at_four_fifths_and_exceeded_beyond_the_limit_one_finding_each() -> None:
    judged = Judged(control({"tenant": "acme"}, day_usd=10.0))
    for number in range(12):
        judged.spend(1.0, noon() + number * 60_000)
    (near, superseded) = [one for one in judged.found if one.rule == "budget.near"]
    (over,) = [one for one in judged.found if one.rule == "budget.exceeded"]
    assert near.observed == 8 and near.tier == 2 and near.subject == {"tenant": "acme", "budget": "day"}
    assert "80 % of its budget of $10.00" in near.why
    assert superseded.state == "resolved" and superseded.details["superseded_by"] == over.id
    assert over.observed == 11 and over.tier == 1 and "spent $11.00 this day (2026-05-01)" in over.why
    assert over.suggested_control is not None and over.suggested_control.selector == {"tenant": "acme"}
    judged.spend(5.0, noon() + HOUR_MS)
    assert [one.severity for one in judged.found if one.rule == "budget.exceeded"] == ["SEV2", "SEV1"]
    judged.pass_to((START + 1) * DAY_MS + LATE_MS)
    assert judged.said("budget.exceeded")[-1] == ("resolved", 3)


def test_the_next_day_is_another_finding_and_the_month_counts_on() -> None:
    judged = Judged(control({"tenant": "acme"}, day_usd=10.0, month_usd=25.0))
    for day in range(3):
        judged.spend(11.0, noon(day))
    over = [one for one in judged.found if one.rule == "budget.exceeded" and one.state == "open"]
    assert [one.subject["budget"] for one in over] == ["day", "day", "day", "month"]
    assert len({one.id for one in over}) == 4
    assert over[-1].observed == 33


def test_what_was_spent_before_a_budget_was_set_counts_and_it_binds_by_the_time_of_the_log() -> None:
    judged = Judged()
    judged.spend(30.0, noon())
    set_at = noon(3)
    judged.budgets = Budgets([(set_at, control({"tenant": "acme"}, month_usd=20.0))])
    assert judged.pass_to(set_at + EFFECT_DELAY_MS - 1) == []
    (over,) = judged.pass_to(set_at + EFFECT_DELAY_MS)
    assert over.observed == 30


def test_a_late_call_of_yesterday_counts_for_yesterday() -> None:
    judged = Judged(control({"tenant": "acme"}, day_usd=10.0))
    judged.spend(9.5, noon())
    tomorrow = (START + 1) * DAY_MS + HOUR_MS
    (over,) = [one for one in judged.spend(1.0, tomorrow, day=START) if one.rule == "budget.exceeded"]
    assert "(2026-05-01)" in over.why and over.observed == 10.5


@pytest.mark.parametrize(
    ("selector", "counted"),
    [
        ({"tenant": "acme"}, 15.0),
        ({"tenant": "acme", "environment": "prod"}, 7.0),
        ({"tenant": "acme", "team": "core", "feature": "chat"}, 3.0),
        ({"tenant": "acme", "model": "o3"}, 4.0),
        ({}, 31.0),
        ({"tenant": "acme", "user": "u1"}, 2.5),
    ],
)
def test_a_budget_counts_what_its_selector_names(selector: dict[str, str], counted: float) -> None:
    judged = Judged(control(selector, day_usd=0.01))
    judged.spend(3.0, noon(), route=("prod", "core", "chat", "gpt-4o"))
    judged.spend(4.0, noon(), route=("prod", "", "chat", "o3"))
    judged.spend(8.0, noon(), route=("test", "core", "search", "gpt-4o"))
    judged.spend(16.0, noon(), tenant="globex")
    judged.watch.spent_by("acme", "u1", noon() // DAY_MS, round(2.5 * NANO))
    judged.pass_to(noon() + 1)
    assert [one.observed for one in judged.found if one.state in ("open", "update")][-1] == counted


def test_the_lowest_of_several_owners_limits_holds_and_each_lets_go_of_its_own() -> None:
    finance, team = control({"tenant": "acme"}, day_usd=10.0), control({"tenant": "acme"}, "team", day_usd=5.0)
    judged = Judged(finance, team)
    judged.spend(6.0, noon())
    (over,) = [one for one in judged.found if one.rule == "budget.exceeded"]
    assert over.threshold == 5 and over.details["owners"] == ["team"]
    judged.budgets = Budgets([(0, finance), (0, control({"tenant": "acme"}, "team", day_usd=5.0, removed=True))])
    judged.pass_to(noon() + HOUR_MS)
    judged.pass_to(noon() + 2 * HOUR_MS)
    assert judged.said("budget.exceeded")[-1] == ("resolved", 2)
    judged.budgets = Budgets([(0, control({"tenant": "acme"}, removed=True))])
    judged.pass_to(noon() + 3 * HOUR_MS)
    assert judged.watch.cases == {}


def test_a_forecast_that_is_sure_speaks_long_before_four_fifths() -> None:
    judged = Judged(control({"tenant": "acme"}, month_usd=100.0))
    for day in range(-28, 0):
        judged.spend(4.0, noon(day))
    judged.found.clear()
    for day in range(10):
        judged.spend(6.0, noon(day))
    (near,) = [one for one in judged.found if one.rule == "budget.near"]
    assert near.observed is not None and 25 <= near.observed < 80
    assert "at this pace it is crossed on 2026-05-" in near.why and near.details["expected_usd"] > 100
    assert near.details["low_usd"] <= near.details["expected_usd"] <= near.details["high_usd"]


def test_a_pace_that_keeps_within_the_budget_is_no_finding() -> None:
    judged = Judged(control({"tenant": "acme"}, month_usd=100.0))
    for day in range(-28, 31):
        judged.spend(2.2, noon(day))
    assert judged.found == []


@pytest.mark.parametrize("seed", range(6))
def test_restarts_and_repeats_change_nothing(seed: int) -> None:
    dice = Random(seed)
    records = [
        (noon(-3) + number * HOUR_MS, dice.choice(("acme", "globex")), dice.choice((ROUTE, ("test", "", "x", "y"))),
         dice.choice((0, 0, 0, -1)), dice.expovariate(1.0))
        for number in range(300)
    ]  # fmt: skip
    controls = [
        (0, control({"tenant": "acme"}, day_usd=10.0, month_usd=80.0)),
        (noon(2), control({"tenant": "globex", "feature": "chat"}, month_usd=50.0)),
        (noon(5), msgspec.structs.replace(control({"tenant": "acme"}, day_usd=10.0, month_usd=200.0), version=1)),
    ]
    budgets = Budgets(controls)

    def play(cuts: set[int]) -> list[Anomaly]:
        watch, found = BudgetWatch(), list[Anomaly]()
        for number, (at_ms, tenant, route, late, usd) in enumerate(records):
            if number in cuts:
                state = msgspec.msgpack.decode(msgspec.msgpack.encode(watch.state()), type=WatchState)
                watch = BudgetWatch()
                watch.restore(state)
            watch.spent(tenant, route, at_ms // DAY_MS + late, round(usd * NANO))
            # A reader that was started again has other objects with the same contents.
            again = Budgets(controls) if number in cuts else budgets
            found += watch.judge(at_ms, at_ms, again, DEFAULT)
        return found

    whole = play(set())
    assert {one.rule for one in whole} == {"budget.near", "budget.exceeded"}
    assert play(set(dice.sample(range(300), 20))) == whole


def test_sums_of_a_tenant_stay_exact_when_routes_are_dropped() -> None:
    book = SpendBook(max_routes=40)
    judged = Judged(control({"tenant": "acme"}, month_usd=10_000.0), book=book)
    for number in range(500):
        judged.spend(1.0, noon() + number, route=("", "", f"f{number}", "m"))
    assert book.held()["route"] <= 40
    assert sum(book.sums({"tenant": "acme"}).values()) == 500 * NANO
    assert book.sums({"tenant": "acme", "feature": "f499"}) == {START: NANO}


def test_days_are_forgotten_after_forty() -> None:
    book = SpendBook()
    book.add("acme", ROUTE, START, 5)
    book.add_user("acme", "u", START, 5)
    book.advance(START + 40)
    assert book.sums({"tenant": "acme"}) == {START: 5}
    book.advance(START + 41)
    assert book.held() == {"route": 0, "spender": 0} and list(book.tenants()) == []
    book.add("acme", ROUTE, START, 5)
    assert book.sums({"tenant": "acme"}) == {}


@pytest.mark.parametrize(
    ("selector", "body", "said"),
    [
        ({"feature": "chat"}, {"day_usd": 1.0}, "names its tenant"),
        ({"tenant": "a", "region": "eu"}, {"day_usd": 1.0}, "knows no region"),
        ({"tenant": "a", "user": "u", "model": "m"}, {"day_usd": 1.0}, "tenant and user, and nothing else"),
        ({"tenant": "a"}, {}, "has a limit"),
    ],
)
def test_a_budget_that_cannot_be_watched_is_refused(selector: dict[str, str], body: dict[str, Any], said: str) -> None:
    with pytest.raises(BudgetError, match=said):
        check(selector, msgspec.convert(body, Budget))
    assert Budgets([(0, control(selector, **body))]).unreadable == 1


def test_every_version_holds_for_its_own_time_whatever_came_after() -> None:
    first = Control("budget", {"tenant": "acme"}, "finance", 1, {"day_usd": 10.0})
    second = Control("budget", {"tenant": "acme"}, "finance", 2, {"day_usd": 20.0})
    third = Control("budget", {"tenant": "acme"}, "finance", 3, {"removed": True})
    budgets = Budgets([(1_000, first), (2_000, second), (3_000, third)])
    in_force = [
        [limit.nano_usd // NANO for limit in budgets.at(at_ms + EFFECT_DELAY_MS)] for at_ms in (0, 1_500, 2_500, 3_500)
    ]
    assert in_force == [[], [10], [20], []]
    assert budgets.next_version({"tenant": "acme"}, "finance") == 4
    assert budgets.next_version({"tenant": "acme"}, "team") == 1
    assert len({one.key() for one in (first, second, third)}) == 3
