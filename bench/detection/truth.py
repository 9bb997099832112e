"""What happens in the worlds of `bench detection`, written down before anything is judged, and who could see it.

What happens is planned by rule in `money`, `trouble` and `answers`; here is what an event and a world are. For each
rule: `positive` events, which it should find, and hard negatives, which look like them and are none. Sizes of money
incidents are log-uniform from 2.1 to 10, half of them below 3; they last 20 minutes to 6 hours and begin at any time,
also at night, when there may be next to nothing that could double. Whether an incident can be seen at all is worked out
from the tenant's own noise (`visibility`), before it is judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bench.detection.traffic import DAY, WEEK, Columns, Effects, Feature, Tenant, run_sizes

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


def lasting(dice: np.random.Generator, low_minutes: float, high_minutes: float) -> int:
    """Minutes, log-uniform."""
    return round(log_uniform(dice, low_minutes, high_minutes))


def any_feature(dice: np.random.Generator, tenant: Tenant) -> Feature:
    """One of a tenant's features."""
    return tenant.features[int(dice.integers(len(tenant.features)))]


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
