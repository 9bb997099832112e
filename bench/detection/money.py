"""What happens to what tenants pay in the worlds of `bench detection`: incidents and what looks like them.

Each planner writes one event down, and the effects that make it, before anything is judged.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bench.detection.traffic import DAY, WEEK, Columns, Tenant
from bench.detection.truth import Event, World, lasting, log_uniform, money_size, plain_calls, visibility


def cost_spike(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """More calls, or dearer ones; negatives: 1.3 times for hours, a mix that moves, one dear call, a launch."""
    end = start + lasting(dice, 20, 360)
    who = (tenant.name, "")
    if positive:
        size = money_size(dice)
        kind = "calls" if dice.random() < 0.5 else "price"
        world.effects.put(who, "volume" if kind == "calls" else "price", start, end, "mul", size)
        seen, usd = visibility(tenant, world.weekday, start, end, size)
        return Event("cost.spike", True, start, end, tenant.name, size=size, kind=kind, visibility=seen, excess_usd=usd)
    kind = str(dice.choice(["a busy day", "another mix", "dear call", "launch"]))
    if kind == "a busy day":
        end = start + lasting(dice, 240, 1_200)
        world.effects.put(who, "volume", start, end, "mul", dice.uniform(1.2, 1.4))
    elif kind == "another mix" and sum(one.share > 0 for one in tenant.features) > 1:
        one, two = [one for one in tenant.features if one.share > 0][:2]
        part = dice.uniform(0.3, 0.7)
        world.effects.put((tenant.name, one.name), "volume", start, end, "mul", 1 - part)
        more = one.share * one.price * part / (two.share * two.price)
        world.effects.put((tenant.name, two.name), "volume", start, end, "mul", 1 + min(1.0, more))
    elif kind == "launch":
        return _launch(world, dice, start, tenant)
    else:
        kind = "dear call"
        _one_call(world, start, tenant, 0, tenant.usd_a_call * dice.uniform(15, 24))
    return Event("cost.spike", False, start, end, tenant.name, kind=kind)


def _launch(world: World, dice: np.random.Generator, start: int, tenant: Tenant) -> Event:
    """A new feature that brings up to 60 % on top, from now on."""
    place, name = world.tenants.index(tenant), f"new{start}"
    share = dice.uniform(0.2, 0.6)
    one = replace(tenant.features[0], name=name, share=share, born=start // DAY, answers=None)
    world.effects.put((tenant.name, name), "volume", 0, start, "set", 0.0)
    world.tenants[place] = replace(tenant, features=(*tenant.features, one))
    return Event("cost.spike", False, start, start + 2 * DAY, tenant.name, size=1 + share, kind="launch")


def _one_call(world: World, start: int, tenant: Tenant, feature: int, usd: float) -> None:
    def extra(day: int, dice: np.random.Generator) -> Columns | None:
        if start // DAY != day:
            return None
        return plain_calls(feature, np.array([start % DAY]), np.array([usd]), tenant, dice)

    world.extras.setdefault(tenant.name, []).append(extra)


def cost_daily(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """A whole day (UTC) at 2.5 to 7 times, 2.2 times the mean day at least; negatives: days at 1.2 to 1.5 times."""
    day = start // DAY + 1
    size = log_uniform(dice, 2.5, 7) if positive else dice.uniform(1.2, 1.5)
    world.effects.put((tenant.name, ""), "volume", day * DAY, (day + 1) * DAY, "mul", size)
    # Against the mean of the week, as the rule is worded.
    weekday = (world.weekday + day) % 7
    part = float(tenant.weekly[weekday * DAY : (weekday + 1) * DAY].mean())
    seen, usd = visibility(tenant, world.weekday, day * DAY, (day + 1) * DAY, size)
    positive = positive and size * part >= 2.2
    return Event(
        "cost.daily", positive, day * DAY, (day + 1) * DAY, tenant.name,
        size=size * part, kind="calls", visibility=seen if positive else math.nan, excess_usd=usd,
    )  # fmt: skip


def user_cost(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """One person's hour at six to forty times the busiest hour of people; negatives: at half of it, or a busy day."""
    if not tenant.users:
        return None
    minutes = lasting(dice, 40, 240)
    # The heaviest user's mean hour, times what bursts make of it.
    weights = 1 / np.arange(1, tenant.users + 1) ** 0.7
    heaviest = tenant.calls_a_day / 24 * float(weights[0] / weights.sum())
    number = int(dice.integers(tenant.users))
    own = tenant.calls_a_day / 24 * float(weights[number] / weights.sum())
    busiest = max(10 * own, 3 * heaviest, 8 * tenant.run)
    size = log_uniform(dice, 6, 40) if positive else dice.uniform(0.3, 0.6)
    a_minute = size * busiest / 60
    if positive and size * busiest * tenant.usd_a_call < 2:
        return None

    def extra(day: int, dice: np.random.Generator) -> Columns | None:
        low, high = max(start, day * DAY), min(start + minutes, (day + 1) * DAY)
        if low >= high:
            return None
        minute = np.sort(dice.integers(low % DAY, low % DAY + high - low, dice.poisson(a_minute * (high - low))))
        usd = tenant.usd_a_call * np.exp(0.5 * dice.standard_normal(len(minute)) - 0.125)
        return plain_calls(0, minute, usd, tenant, dice, number) if len(minute) else None

    world.extras.setdefault(tenant.name, []).append(extra)
    return Event("user.cost", positive, start, start + minutes, tenant.name, size=size, kind=f"u{number}")


def call_outlier(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """One call at eight to a hundred times the dearest usual one; negatives: at up to three times."""
    # The dearest of a week's calls: so many deviations above the middle.
    calls = 7 * tenant.calls_a_day
    top = math.sqrt(2 * math.log(max(2.0, calls)))
    feature = tenant.features[0]
    dearest = tenant.usd_a_call * feature.price * math.exp(tenant.cost_sigma * top - tenant.cost_sigma**2 / 2)
    size = log_uniform(dice, 8, 100) if positive else dice.uniform(1.0, 2.5)
    if positive and size * dearest < 0.6:
        return None
    _one_call(world, start, tenant, 0, size * dearest)
    return Event("call.outlier", positive, start, start + 1, tenant.name, feature.name, size=size)


def price_unknown(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Calls of a model without a price; negatives: free ones."""
    minutes, number = lasting(dice, 30, 300), len(tenant.features)
    provider = ("newcomer", f"m{start}")
    name = f"trial{start}"
    place = world.tenants.index(tenant)
    world.tenants[place] = replace(
        tenant,
        features=(*tenant.features, replace(tenant.features[0], name=name, provider=provider, share=0.0, answers=None)),
    )

    def extra(day: int, dice: np.random.Generator) -> Columns | None:
        low, high = max(start, day * DAY), min(start + minutes, (day + 1) * DAY)
        if low >= high:
            return None
        minute = np.sort(dice.integers(low % DAY, low % DAY + high - low, 1 + dice.poisson((high - low) / 6)))
        found = plain_calls(number, minute, np.zeros(len(minute)), tenant, dice)
        found["unpriced"] = np.full(len(minute), positive)
        return found

    world.extras.setdefault(tenant.name, []).append(extra)
    return Event("price.unknown", positive, start, start + minutes, provider=provider)


def traffic_silence(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """Nothing comes for 40 minutes to 6 hours where 60 calls were due; negatives: ten minutes, a tenth of the calls."""
    minutes = lasting(dice, 40, 360)
    if positive:
        while minutes < 720:
            at = (np.arange(start, start + minutes) + world.weekday * DAY) % WEEK
            due = float(tenant.weekly[at].sum()) * tenant.calls_a_day / DAY
            if due >= 60 * tenant.run / 3:
                break
            minutes = round(1.5 * minutes)
        else:
            return None
        world.effects.put((tenant.name, ""), "volume", start, start + minutes, "mul", 0.0)
        return Event("traffic.silence", True, start, start + minutes, tenant.name, size=due)
    kind = "ten minutes" if dice.random() < 0.5 else "fewer"
    if kind == "ten minutes":
        minutes = 10
        world.effects.put((tenant.name, ""), "volume", start, start + minutes, "mul", 0.0)
    else:
        world.effects.put((tenant.name, ""), "volume", start, start + minutes, "mul", dice.uniform(0.25, 0.6))
    return Event("traffic.silence", False, start, start + minutes, tenant.name, kind=kind)
