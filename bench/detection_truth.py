"""What happens in the worlds of `bench detection`, written down before anything is judged.

For each rule: `positive` events, which it should find, and hard negatives, which look like them and are none. Sizes of
money incidents are log-uniform from 2.1 to 10, half of them below 3; they last 20 minutes to 6 hours and begin at any
time, also at night, when there may be next to nothing that could double. Whether an incident can be seen at all is
worked out from the tenant's own noise (`visibility`), before it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from bench.detection_traffic import (
    DAY,
    LABELS,
    LANGUAGES,
    TOPICS,
    WEEK,
    Columns,
    Effects,
    Feature,
    Tenant,
    run_sizes,
)

# What else may be told of an event, because it is true.
CONSEQUENCES: Final[dict[str, frozenset[str]]] = {
    "cost.spike": frozenset(("cost.daily", "user.cost")),
    "cost.daily": frozenset(("cost.spike", "user.cost")),
    "user.cost": frozenset(("cost.spike", "cost.daily")),
    "call.outlier": frozenset(("cost.daily", "user.cost")),
    "error.rate": frozenset(("provider.degraded", "slo.burn", "error.novel")),
    "latency.p95": frozenset(("provider.degraded", "slo.burn", "run.latency")),
    "slo.burn": frozenset(("error.rate", "provider.degraded", "latency.p95")),
    "provider.degraded": frozenset(("error.rate", "latency.p95", "slo.burn")),
    "rate_limit.storm": frozenset(("error.rate", "provider.degraded", "slo.burn")),
    "error.novel": frozenset(("error.rate", "provider.degraded", "slo.burn")),
}
# An oracle that knows everything but whether it happened needs this many standard deviations to find nineteen of
# twenty at about one false page a month: 3.5 for the page, 1.65 for the nineteen.
VISIBLE: Final = 5.15


@dataclass(frozen=True)
class Event:
    """One thing that happens.

    Attributes:
        rule: The rule that it is about.
        positive: Whether that should find it.
        start: Minute of the world.
        end: Minute of the world, exclusive.
        tenant: Whom it concerns; empty for providers.
        feature: Which feature; empty for all.
        provider: Provider and model.
        size: How large it is, in its own measure.
        kind: What of it.
        visibility: Standard deviations that an oracle would see; nan where nobody has worked it out.
        excess_usd: What it costs; nan where it is not about money.
    """

    rule: str
    positive: bool
    start: int
    end: int
    tenant: str = ""
    feature: str = ""
    provider: tuple[str, str] = ("", "")
    size: float = 1.0
    kind: str = ""
    visibility: float = math.nan
    excess_usd: float = math.nan

    @property
    def is_visible(self) -> bool:
        """Whether anybody could see it."""
        return not self.visibility < VISIBLE


# Makes the calls of a day that come on top: (day, dice) -> columns.
Extra = Callable[[int, np.random.Generator], Columns | None]


@dataclass
class World:
    """Tenants, what is changed of their traffic, and the truth.

    Attributes:
        name: Of what kind, and which.
        tenants: All tenants.
        weekday: Weekday of the first day, Monday 0.
        days: How many.
        effects: What is changed.
        extras: By tenant: calls that come on top.
        canaries: By tenant: minutes of failing canaries.
        redaction: By tenant: (start, end, share) of failing redaction.
        events: The truth.
        rules: A rules file that is in force.
        providers: All providers and models.
        step: Minutes that are counted as one.
    """

    name: str
    tenants: list[Tenant]
    weekday: int
    days: int
    effects: Effects = field(default_factory=Effects)
    extras: dict[str, list[Extra]] = field(default_factory=dict)
    canaries: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    redaction: dict[str, list[tuple[int, int, float]]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    rules: str = ""
    providers: list[tuple[str, str]] = field(default_factory=list)
    step: int = 1

    def tenant(self, name: str) -> Tenant:
        """A tenant by name."""
        return next(one for one in self.tenants if one.name == name)


def money_size(dice: np.random.Generator) -> float:
    """Log-uniform, half below 3."""
    low, high = (2.1, 3.0) if dice.random() < 0.5 else (3.0, 10.0)
    return log_uniform(dice, low, high)


def log_uniform(dice: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is evenly spread."""
    return float(math.exp(dice.uniform(math.log(low), math.log(high))))


def visibility(
    tenant: Tenant, weekday: int, start: int, end: int, ratio: float, share: float = 1.0
) -> tuple[float, float]:
    """(standard deviations that a rise by `ratio` of a part of a tenant's cost amounts to, what it costs in dollars).

    Cost is a compound Poisson process: so many runs, each of which costs what its calls do. The likelihood ratio of a
    known rise against none, over the whole incident, has the mean n (r ln r - r + 1) with n independent payments
    expected; days and hours that differ add an error that no number of calls makes smaller.
    """
    minutes = (np.arange(start, end) + weekday * DAY) % WEEK
    expected = float(tenant.weekly[minutes].sum()) * tenant.calls_a_day / DAY * tenant.growth ** (start / WEEK)
    dice = np.random.default_rng(1)
    sizes = run_sizes(tenant, 4_000, dice)
    half = tenant.cost_sigma / math.sqrt(2)
    common = np.exp(half * dice.standard_normal(4_000))
    costs = np.array(
        [common[at] * np.exp(half * dice.standard_normal(size)).sum() for at, size in enumerate(sizes.tolist())]
    )
    payment = float((costs**2).mean() / costs.mean())
    payments = expected / (payment / float(np.exp(tenant.cost_sigma**2 / 2)))
    rise = 1 + share * (ratio - 1)
    if rise <= 1 or payments <= 0:
        return 0.0, 0.0
    by_chance = math.sqrt(2 * payments * (rise * math.log(rise) - rise + 1))
    hours = max(1.0, (end - start) / 60)
    scatter = math.hypot(tenant.day_sigma, tenant.hour_sigma / math.sqrt(hours))
    by_days = math.log(rise) / scatter
    return 1 / math.hypot(1 / by_chance, 1 / by_days), expected * tenant.usd_a_call * (rise - 1)


Planner = Callable[[World, np.random.Generator, int, bool, Tenant], Event | None]


def _lasting(dice: np.random.Generator, low_minutes: float, high_minutes: float) -> int:
    return round(log_uniform(dice, low_minutes, high_minutes))


def _feature(dice: np.random.Generator, tenant: Tenant) -> Feature:
    return tenant.features[int(dice.integers(len(tenant.features)))]


# -- money


def cost_spike(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """More calls, or dearer ones; negatives: 1.3 times for hours, a mix that moves, one dear call, a launch."""
    end = start + _lasting(dice, 20, 360)
    who = (tenant.name, "")
    if positive:
        size = money_size(dice)
        kind = "calls" if dice.random() < 0.5 else "price"
        world.effects.put(who, "volume" if kind == "calls" else "price", start, end, "mul", size)
        seen, usd = visibility(tenant, world.weekday, start, end, size)
        return Event("cost.spike", True, start, end, tenant.name, size=size, kind=kind, visibility=seen, excess_usd=usd)
    kind = str(dice.choice(["a busy day", "another mix", "dear call", "launch"]))
    if kind == "a busy day":
        end = start + _lasting(dice, 240, 1_200)
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


def plain_calls(
    feature: int, minute: Any, usd: Any, tenant: Tenant, dice: np.random.Generator, user: int = -1
) -> Columns:
    """Calls that come on top of others, in order of minutes."""
    # A feature that has only now come is as fast as the first.
    known = tenant.features[feature if feature < len(tenant.features) else 0]
    count, (middle, sigma) = len(minute), known.latency_ms
    return {
        "minute": minute,
        "feature": np.full(count, feature),
        "nano": (usd * 1e9).astype(np.int64),
        "latency": middle * np.exp(sigma * dice.standard_normal(count)),
        "status": np.zeros(count, int),
        "user": np.full(count, user),
        "unpriced": np.zeros(count, bool),
    }


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
    minutes = _lasting(dice, 40, 240)
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
    minutes, number = _lasting(dice, 30, 300), len(tenant.features)
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
    minutes = _lasting(dice, 40, 360)
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


# -- trouble


def _whom(world: World, dice: np.random.Generator, tenant: Tenant) -> tuple[tuple[str, str], dict[str, Any]]:
    """Whom trouble concerns: a provider's model, a tenant, or one feature."""
    draw = dice.random()
    if draw < 0.5:
        provider = world.providers[int(dice.integers(len(world.providers)))]
        return ("", "/".join(provider)), {"provider": provider, "kind": "provider"}
    if draw < 0.75:
        return (tenant.name, ""), {"tenant": tenant.name, "kind": "tenant"}
    feature = _feature(dice, tenant)
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
        share, minutes = log_uniform(dice, 0.08, 0.6), _lasting(dice, 20, 180)
    elif dice.random() < 0.5:
        share, minutes = dice.uniform(0.02, 0.035), _lasting(dice, 20, 180)
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
        size, minutes = max(2.3, money_size(dice)), _lasting(dice, 20, 360)
    elif dice.random() < 0.6:
        size, minutes = dice.uniform(1.1, 1.4), _lasting(dice, 20, 360)
    else:
        size, minutes = dice.uniform(2, 4), 6
    world.effects.put(who, "latency", start, start + minutes, "mul", size)
    return Event("latency.p95", positive, start, start + minutes, size=size, **named)


def provider_degraded(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """One model fails in 3 to 4.6 %, or is 1.65 to 1.9 times as slow; negatives: all of them at once, or less."""
    provider = world.providers[int(dice.integers(len(world.providers)))]
    minutes, fails = _lasting(dice, 60, 360), dice.random() < 0.5
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
        share, minutes = dice.uniform(0.035, 0.045), _lasting(dice, 360, 720)
    elif dice.random() < 0.5:
        share, minutes = dice.uniform(0.02, 0.04), 20
    else:
        share, minutes = 0.003, _lasting(dice, 120, 600)
    world.effects.put((tenant.name, feature.name), "fails", start, start + minutes, "add", share)
    return Event("slo.burn", positive, start, start + minutes, tenant.name, feature.name, size=share)


def rate_limit_storm(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """A limit refuses calls, and they come again at once; negatives: they wait, or there are few."""
    number = int(dice.integers(len(tenant.features)))
    feature, minutes = tenant.features[number], _lasting(dice, 15, 60)
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
    feature, minutes = _feature(dice, tenant), _lasting(dice, 180, 720)
    size = log_uniform(dice, 2.4, 6) if positive else dice.uniform(1.1, 1.4)
    world.effects.put((tenant.name, feature.name), "runs", start, start + minutes, "mul", size)
    return Event("run.latency", positive, start, start + minutes, tenant.name, feature.name, size=size)


def error_novel(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """A few calls fail with a message that was not there before; negatives: with one that was, or one call."""
    minutes, calls = _lasting(dice, 60, 240), int(dice.integers(6, 30))
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


# -- answers


def _share_rule(rule: str, what: str, high: tuple[float, float]) -> Planner:
    """Rules over shares: by 3 to 8 times and to at least `high[0]`; negatives: by 1.05 to 1.3 times."""

    def plan(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
        feature, minutes = _feature(dice, tenant), _lasting(dice, 180, 1_440)
        assert feature.answers is not None
        usual = getattr(feature.answers, what)
        size = (
            max(usual * log_uniform(dice, 3, 8), dice.uniform(*high)) if positive else usual * dice.uniform(1.05, 1.3)
        )
        size = min(0.95, size)
        world.effects.put((tenant.name, feature.name), what, start, start + minutes, "set", size)
        return Event(rule, positive, start, start + minutes, tenant.name, feature.name, size=size, kind=f"{usual:.3f}")

    return plan


def _score_rule(rule: str, name: str) -> Planner:
    """Rules over scores: lower by 0.8 to 2.5 deviations; negatives: by up to 0.15."""

    def plan(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
        feature, minutes = _feature(dice, tenant), _lasting(dice, 180, 1_440)
        assert feature.answers is not None
        size = log_uniform(dice, 0.8, 2.5) if positive else dice.uniform(0.0, 0.15)
        fall = -size * feature.answers.scores[name][1]
        world.effects.put((tenant.name, feature.name), f"score {name}", start, start + minutes, "add", fall)
        return Event(rule, positive, start, start + minutes, tenant.name, feature.name, size=size)

    return plan


def model_changed(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Another model answers 40 to 100 %; negatives: 1 to 10 %, as in a trial."""
    feature, minutes = _feature(dice, tenant), _lasting(dice, 360, 1_440)
    share = dice.uniform(0.4, 1.0) if positive else dice.uniform(0.01, 0.1)
    who = (tenant.name, feature.name)
    world.effects.put(who, "model", start, start + minutes, "set", start)
    world.effects.put(who, "model share", start, start + minutes, "set", share)
    return Event("model.changed", positive, start, start + minutes, tenant.name, feature.name, size=share)


def input_shift(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """40 to 90 % of the questions are about something else; negatives: 3 to 8 %."""
    feature, minutes = _feature(dice, tenant), _lasting(dice, 360, 1_440)
    assert feature.answers is not None
    share = dice.uniform(0.4, 0.9) if positive else dice.uniform(0.03, 0.08)
    other = (1 - share) * feature.answers.topics + share * dice.dirichlet(np.full(TOPICS, 0.15))
    world.effects.put((tenant.name, feature.name), "topics", start, start + minutes, "set", other)
    return Event("input.shift", positive, start, start + minutes, tenant.name, feature.name, size=share)


def output_length(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Twice to five times as long, or short; negatives: by a tenth."""
    feature, minutes = _feature(dice, tenant), _lasting(dice, 240, 1_440)
    doublings = log_uniform(dice, 1.0, 2.3) if positive else dice.uniform(0.05, 0.2)
    moved = 2 * doublings * float(dice.choice([-1, 1]))
    world.effects.put((tenant.name, feature.name), "length", start, start + minutes, "add", moved)
    return Event("output.length", positive, start, start + minutes, tenant.name, feature.name, size=doublings)


def output_shift(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """30 to 80 % of the labels, or of the languages, are another; negatives: 2 to 7 %."""
    feature, minutes = _feature(dice, tenant), _lasting(dice, 240, 1_440)
    assert feature.answers is not None
    what = "labels" if dice.random() < 0.6 else "languages"
    usual = feature.answers.labels if what == "labels" else feature.answers.languages
    share = dice.uniform(0.3, 0.8) if positive else dice.uniform(0.02, 0.07)
    rare = np.zeros(len(LABELS if what == "labels" else LANGUAGES))
    rare[int(np.argsort(usual)[int(dice.integers(2))])] = 1.0
    other = (1 - share) * usual + share * rare
    world.effects.put((tenant.name, feature.name), what, start, start + minutes, "set", other)
    return Event("output.shift", positive, start, start + minutes, tenant.name, feature.name, size=share, kind=what)


def canary_failed(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Most canaries fail for 20 minutes to 3 hours; negatives: a single one."""
    minutes = _lasting(dice, 20, 180) if positive else 5
    world.canaries.setdefault(tenant.name, []).append((start, start + minutes, 0.9 if positive else 1.0))
    return Event("canary.failed", positive, start, start + minutes, tenant.name)


def redaction_failed(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """In 4 to 30 % of the records; negatives: in 0.2 to 0.5 %."""
    minutes = _lasting(dice, 45, 300)
    share = log_uniform(dice, 0.04, 0.3) if positive else dice.uniform(0.002, 0.005)
    world.redaction.setdefault(tenant.name, []).append((start, start + minutes, share))
    return Event("redaction.failed", positive, start, start + minutes, tenant.name, size=share)


PLANNERS: Final[dict[str, Planner]] = {
    "cost.spike": cost_spike,
    "cost.daily": cost_daily,
    "user.cost": user_cost,
    "call.outlier": call_outlier,
    "price.unknown": price_unknown,
    "traffic.silence": traffic_silence,
    "error.rate": error_rate,
    "latency.p95": latency_p95,
    "provider.degraded": provider_degraded,
    "slo.burn": slo_burn,
    "rate_limit.storm": rate_limit_storm,
    "run.latency": run_latency,
    "error.novel": error_novel,
    "refusal.rate": _share_rule("refusal.rate", "refused", (0.1, 0.3)),
    "schema.validity": _share_rule("schema.validity", "invalid", (0.12, 0.4)),
    "guardrail.rate": _share_rule("guardrail.rate", "guarded", (0.12, 0.4)),
    "retrieval.hit_rate": _share_rule("retrieval.hit_rate", "missed", (0.4, 0.8)),
    "feedback.negative": _share_rule("feedback.negative", "disliked", (0.5, 0.8)),
    "evaluation.drop": _score_rule("evaluation.drop", "faithfulness"),
    "safety.regression": _score_rule("safety.regression", "safety"),
    "sentiment.shift": _score_rule("sentiment.shift", "sentiment"),
    "model.changed": model_changed,
    "input.shift": input_shift,
    "output.length": output_length,
    "output.shift": output_shift,
    "canary.failed": canary_failed,
    "redaction.failed": redaction_failed,
}
