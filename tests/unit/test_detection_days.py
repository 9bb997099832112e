"""Whole days on a simulated clock, with and without incidents: everything planted is found, nothing is invented.

Each seed draws two tenants with curves of their day, plays one ordinary day and then a day that may hold a tenant whose
cost doubles or triples (by more calls or by longer ones, over all its features), a provider that slows down, and a run
that is stuck. Two of the six seeds hold nothing; `python -m demo.dry` and `tokentrail bench detection` look at more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from schemas.fact import Loop
from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Plant

CALLS_A_MINUTE = 2.2
TODAY = MIDNIGHT_MS + DAY_MS
SEEDS = (0, 3, 12, 14, 17, 19)


def office(hour: float) -> float:
    """Five times the night between six and ten, and back in the evening."""
    rise, fall = 1 / (1 + math.exp(-1.6 * (hour - 8))), 1 / (1 + math.exp(1.3 * (hour - 18)))
    return 0.2 + 0.8 * rise * fall


def evening(hour: float) -> float:
    return 0.4 + 0.6 * math.exp(-(((hour - 19) / 4) ** 2))


def steady(hour: float) -> float:
    return 0.8


@dataclass(frozen=True)
class Tenant:
    name: str
    curve: Callable[[float], float]
    features: tuple[tuple[str, str, str, float], ...]  # name, provider, model, usual cost


@dataclass(frozen=True)
class Incident:
    kind: str
    subject: str
    start_ms: int
    end_ms: int
    factor: float
    by_calls: bool = False

    def now(self, at_ms: float) -> bool:
        return self.start_ms <= at_ms < self.end_ms


MODELS = (("openai", "gpt-4o", 0.02), ("anthropic", "claude-sonnet", 0.03), ("google", "gemini-flash", 0.01))


def tenants(dice: Random) -> list[Tenant]:
    curves = dice.sample((office, evening, steady), 2)
    return [
        Tenant(
            f"tenant{place}",
            curve,
            tuple(
                (f"feature{n}", provider, model, usd * dice.uniform(0.7, 1.4))
                for n, (provider, model, usd) in enumerate(dice.sample(MODELS, dice.randint(2, 3)))
            ),
        )
        for place, curve in enumerate(curves)
    ]


def incidents(dice: Random, all_tenants: list[Tenant]) -> list[Incident]:
    if dice.random() < 0.25:
        return []
    tenant = dice.choice(all_tenants)
    hours = [hour / 4 for hour in range(28, 80) if min(tenant.curve(hour / 4 + n) for n in range(3)) > 0.6]
    found = []
    start_ms = TODAY + int(dice.choice(hours) * HOUR_MS)
    found.append(
        Incident("cost", tenant.name, start_ms, start_ms + 3 * HOUR_MS, dice.uniform(2.3, 3.2), dice.random() < 0.5)
    )
    used = [feature[1] for one in all_tenants for feature in one.features]
    provider = max(sorted(set(used)), key=used.count)
    start_ms = TODAY + int(dice.uniform(8, 20) * HOUR_MS)
    found.append(Incident("slow", provider, start_ms, start_ms + 75 * MINUTE_MS, dice.uniform(2.8, 4.0)))
    start_ms = TODAY + int(dice.uniform(3, 22) * HOUR_MS)
    found.append(Incident("loop", dice.choice(all_tenants).name, start_ms, start_ms + 5 * MINUTE_MS, 1.0))
    return found


def calls(dice: Random, tenant: Tenant, planted: list[Incident]) -> Iterator[tuple[float, dict[str, Any]]]:
    for minute in range(2 * 24 * 60):
        at_ms = MIDNIGHT_MS + minute * MINUTE_MS
        cost = next(
            (one for one in planted if one.kind == "cost" and one.subject == tenant.name and one.now(at_ms)), None
        )
        rate = CALLS_A_MINUTE * tenant.curve(minute / 60 % 24) * dice.uniform(0.85, 1.15)
        rate *= cost.factor if cost is not None and cost.by_calls else 1.0
        for _ in range(poisson(dice, rate)):
            moment = at_ms + dice.uniform(0, MINUTE_MS)
            name, provider, model, usd = dice.choice(tenant.features)
            slow = any(one.kind == "slow" and one.subject == provider and one.now(moment) for one in planted)
            factor = next((one.factor for one in planted if one.kind == "slow"), 1.0) if slow else 1.0
            dear = cost.factor if cost is not None and not cost.by_calls else 1.0
            yield (
                moment,
                {
                    "tenant": tenant.name, "feature": name, "provider": provider, "model": model,
                    "usd": usd * dear * dice.lognormvariate(0, 0.5),
                    "latency_ms": 1_200 * factor * dice.lognormvariate(0, 0.5),
                },
            )  # fmt: skip
    for one in planted:
        if one.kind == "loop" and one.subject == tenant.name:
            name, provider, model, usd = tenant.features[0]
            for step in range(25):
                marks = Loop(actions=("same.same",), results=("same.same",), own_results=True)
                yield (
                    one.start_ms + step * 8_000,
                    {"tenant": tenant.name, "feature": name, "provider": provider, "model": model, "usd": usd / 10,
                     "run": "stuck", "loop": marks, "partition": 1},
                )  # fmt: skip


def poisson(dice: Random, mean: float) -> int:
    count, left = 0, dice.random()
    bound = math.exp(-mean)
    while left > bound:
        count += 1
        left *= dice.random()
    return count


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_planted_is_found_and_nothing_is_invented(seed: int) -> None:
    dice = Random(f"days {seed}")
    who = tenants(dice)
    planted = incidents(dice, who)
    plant = Plant(partitions=2, flush_ms=10 * MINUTE_MS)
    # What comes after the last incident and its aftermath is another day's business.
    until = max((one.end_ms + 90 * MINUTE_MS for one in planted), default=MIDNIGHT_MS + 2 * DAY_MS)
    traffic = [call for place, tenant in enumerate(who) for call in calls(Random(f"{seed} {place}"), tenant, planted)]
    for at_ms, fields in sorted(traffic, key=lambda call: call[0]):
        if at_ms < until:
            plant.call(at_ms, **fields)
    plant.until(until)
    found = plant.opened()
    opened = {
        (one.rule, one.subject.get("run") or one.subject.get("provider") or one.subject["tenant"]): one for one in found
    }
    names = {
        ("cost.spike", one.subject) if one.kind == "cost" else ("latency.p95", one.subject) if one.kind == "slow" else
        ("loop.runaway", "stuck"): one for one in planted}  # fmt: skip
    assert set(opened) == set(names), (planted, [(one.rule, one.subject, one.why) for one in found])
    assert len(found) == len(planted), "one cause is one finding"
    for name, incident in names.items():
        delay_minutes = (opened[name].detected_at - incident.start_ms) / MINUTE_MS
        assert 0 < delay_minutes <= {"cost": 120, "slow": 60, "loop": 2}[incident.kind], (incident, delay_minutes)


def test_two_of_the_six_days_hold_nothing() -> None:
    quiet = []
    for seed in SEEDS:
        dice = Random(f"days {seed}")
        quiet.append(not incidents(dice, tenants(dice)))
    assert sum(quiet) == 2
