"""What goes wrong at providers, tenants and features in the worlds of `bench detection`: failures and slowness.

Each planner writes one event down, and the effects that make it, before anything is judged.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bench.detection.traffic import DAY, WEEK, Columns, Tenant
from bench.detection.truth import Event, World, any_feature, lasting, log_uniform, money_size, plain_calls


def _whom(world: World, dice: np.random.Generator, tenant: Tenant) -> tuple[tuple[str, str], dict[str, Any]]:
    """Whom trouble concerns: a provider's model, a tenant, or one feature."""
    draw = dice.random()
    if draw < 0.5:
        provider = world.providers[int(dice.integers(len(world.providers)))]
        return ("", "/".join(provider)), {"provider": provider, "kind": "provider"}
    if draw < 0.75:
        return (tenant.name, ""), {"tenant": tenant.name, "kind": "tenant"}
    feature = any_feature(dice, tenant)
    return (tenant.name, feature.name), {"tenant": tenant.name, "feature": feature.name, "kind": "feature"}


def _calls_due(world: World, start: int, end: int, **named: Any) -> float:
    """Calls that are to be expected of a provider's model, a tenant or a feature."""
    minutes = (np.arange(start, end) + world.weekday * DAY) % WEEK
    due: float = sum(
        float(tenant.weekly[minutes].sum()) * tenant.calls_a_day / DAY * feature.share * tenant.growth ** (start / WEEK)
        for tenant in world.tenants
        for feature in tenant.features
        if named.get("tenant", tenant.name) == tenant.name
        and named.get("feature", feature.name) == feature.name
        and named.get("provider", feature.provider) == feature.provider
    )
    return due


def error_rate(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """8 to 60 % fail for 20 minutes to 3 hours; negatives: 2 to 3.5 %, or many for four minutes."""
    who, named = _whom(world, dice, tenant)
    seen = math.nan
    if positive:
        share, minutes = log_uniform(dice, 0.08, 0.6), lasting(dice, 20, 180)
    elif dice.random() < 0.5:
        share, minutes = dice.uniform(0.02, 0.035), lasting(dice, 20, 180)
    else:
        share, minutes = dice.uniform(0.1, 0.2), 4
    world.effects.put(who, "fails", start, start + minutes, "add", share)
    if positive:
        # What is tried again fails again: two failures are one.
        usual, calls = 0.0125, _calls_due(world, start, start + minutes, **named) / 2
        made = max(share, usual) / usual
        seen = math.sqrt(2 * calls * usual * (made * math.log(made) - made + 1))
    return Event("error.rate", positive, start, start + minutes, size=share, visibility=seen, **named)


def latency_p95(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """2.3 to 10 times as slow for 20 minutes to 6 hours; negatives: 1.1 to 1.4 times, or for six minutes."""
    who, named = _whom(world, dice, tenant)
    if positive:
        size, minutes = max(2.3, money_size(dice)), lasting(dice, 20, 360)
    elif dice.random() < 0.6:
        size, minutes = dice.uniform(1.1, 1.4), lasting(dice, 20, 360)
    else:
        size, minutes = dice.uniform(2, 4), 6
    world.effects.put(who, "latency", start, start + minutes, "mul", size)
    return Event("latency.p95", positive, start, start + minutes, size=size, **named)


def provider_degraded(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """One model fails in 3 to 4.6 %, or is 1.65 to 1.9 times as slow; negatives: all of them at once, or less."""
    provider = world.providers[int(dice.integers(len(world.providers)))]
    minutes, fails = lasting(dice, 60, 360), dice.random() < 0.5
    what, how = ("fails", "add") if fails else ("latency", "mul")
    strong = dice.uniform(0.03, 0.046) if fails else dice.uniform(1.65, 1.9)
    weak = dice.uniform(0.004, 0.008) if fails else dice.uniform(1.1, 1.25)
    everywhere = not positive and dice.random() < 0.5
    for one in world.providers if everywhere else [provider]:
        world.effects.put(
            ("", "/".join(one)), what, start, start + minutes, how, strong if positive or everywhere else weak
        )
    kind = "everywhere" if everywhere else "failures" if fails else "latency"
    size = strong if positive or everywhere else weak
    return Event("provider.degraded", positive, start, start + minutes, provider=provider, size=size, kind=kind)


def slo_burn(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Of a promise of 99.5 %, 3.5 to 4.5 % fail for 6 to 12 hours; negatives: for 20 minutes, or 0.3 %."""
    feature = tenant.features[0]
    if positive:
        share, minutes = dice.uniform(0.035, 0.045), lasting(dice, 360, 720)
    elif dice.random() < 0.5:
        share, minutes = dice.uniform(0.02, 0.04), 20
    else:
        share, minutes = 0.003, lasting(dice, 120, 600)
    world.effects.put((tenant.name, feature.name), "fails", start, start + minutes, "add", share)
    return Event("slo.burn", positive, start, start + minutes, tenant.name, feature.name, size=share)


def rate_limit_storm(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """A limit refuses calls, and they come again at once; negatives: they wait, or there are few."""
    number = int(dice.integers(len(tenant.features)))
    feature, minutes = tenant.features[number], lasting(dice, 15, 60)
    patient = not positive and dice.random() < 0.6
    a_minute = dice.uniform(6, 30) if positive or patient else dice.uniform(0.1, 0.4)

    def extra(day: int, dice: np.random.Generator) -> Columns | None:
        low, high = max(start, day * DAY), min(start + minutes, (day + 1) * DAY)
        if low >= high:
            return None
        minute = np.sort(dice.integers(low % DAY, low % DAY + high - low, dice.poisson(a_minute * (high - low))))
        if not len(minute):
            return None
        found = plain_calls(number, minute, np.zeros(len(minute)), tenant, dice)
        found["status"] = np.full(len(minute), 3)
        came = np.where(dice.random(len(minute)) < 0.8, 1, 0)
        found["patient"] = np.where(dice.random(len(minute)) < (0.9 if patient else 0.1), came, -came)
        return found

    world.extras.setdefault(tenant.name, []).append(extra)
    return Event(
        "rate_limit.storm", positive, start, start + minutes, tenant.name, feature.name, size=a_minute,
        kind="patient" if patient else "impatient",
    )  # fmt: skip


def run_latency(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Runs take 2.4 to 6 times as long for 3 to 12 hours; negatives: 1.1 to 1.4 times."""
    feature, minutes = any_feature(dice, tenant), lasting(dice, 180, 720)
    size = log_uniform(dice, 2.4, 6) if positive else dice.uniform(1.1, 1.4)
    world.effects.put((tenant.name, feature.name), "runs", start, start + minutes, "mul", size)
    return Event("run.latency", positive, start, start + minutes, tenant.name, feature.name, size=size)


def error_novel(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """A few calls fail with a message that was not there before; negatives: with one that was, or one call."""
    minutes, calls = lasting(dice, 60, 240), int(dice.integers(6, 30))
    if not positive and dice.random() < 0.5:
        calls = 1
    feature = tenant.features[0]
    known = not positive and calls > 1
    label = "usual" if known else f"new {start}"
    world.effects.put((tenant.name, feature.name), f"novel {label}", start, start + minutes, "add", calls / minutes)
    return Event(
        "error.novel", positive, start, start + minutes, tenant.name, feature.name, size=calls,
        kind="known" if known else "new" if positive else "one call",
    )  # fmt: skip
