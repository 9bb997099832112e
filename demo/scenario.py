"""What a seed means: tenants, their features and models, and what goes wrong when. Frozen data; must know no event.

Times are milliseconds since the beginning of the played day, so that a scenario holds on any date. What is planted is
the truth that findings are compared with; a quarter of the seeds plant nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from demo.catalogue import BUSINESSES, CURVES, EMBEDDING, HOUSES, LARGE, SMALL, Offer, Shape, Work

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

# Nothing is planted before the rules have seen enough of the day, nor so late that it could not show.
EARLIEST_MS: Final = 8 * HOUR_MS
LATEST_END_MS: Final = 23 * HOUR_MS
# Incidents stand apart, so that what is found belongs to one of them.
APART_MS: Final = 75 * MINUTE_MS
QUIET_SHARE: Final = 0.25
EVENTS_A_DAY: Final = 7_600

# A provider's slowness is planted only where it gets this share of the day's calls in an hour: 84 of 7,000.
SLOW_NEEDS: Final = 0.012

# Calls of one unit of work (a talk, a search, a run of an agent), on average.
CALLS_A_UNIT: Final[dict[Work, float]] = {"chat": 2.3, "extract": 1.0, "search": 1.35, "agent": 6.5, "batch": 10.0}

# How much of a tenant's calls a feature of each kind takes, relative to the others: a run of an agent is many calls of
# which there are few.
WEIGHTS: Final[dict[Work, float]] = {"chat": 0.9, "extract": 1.3, "search": 1.3, "agent": 0.5, "batch": 1.0}

Kind = Literal["loop", "cost", "slow"]
LoopForm = Literal["same", "alternating", "volatile"]
LOOP_FORMS: Final[tuple[LoopForm, ...]] = ("same", "alternating", "volatile")


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of a tenant.

    Attributes:
        name: As events say it.
        work: What happens in it.
        offer: The model it uses.
        share: Of the tenant's calls.
        input_tokens: Median of a call.
        output_tokens: Median of a call.
        hashed: True when its producer sends keyed hashes instead of text.
    """

    name: str
    work: Work
    offer: Offer
    share: float
    input_tokens: int
    output_tokens: int
    hashed: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its ordinary day.

    Attributes:
        name: Readable identifier.
        trade: What it does; texts are chosen by it.
        shape: Curve of its day.
        team: Who runs it.
        calls_a_day: How many calls to expect without an incident.
        features: Each with its share.
    """

    name: str
    trade: str
    shape: Shape
    team: str
    calls_a_day: float
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Incident:
    """One planted thing that goes wrong.

    Attributes:
        kind: `loop`: an agent's run repeats itself. `cost`: a tenant's cost multiplies, spread over its features.
            `slow`: a provider's model answers slowly, for all tenants.
        start_ms: Beginning, since the beginning of the day.
        end_ms: End, exclusive.
        tenant: Subject of `loop` and `cost`.
        feature: Subject of `loop`.
        run: Subject of `loop`, as the event says it.
        form: How a loop repeats.
        provider: Subject of `slow`.
        model: Subject of `slow`.
        factor: By how much the cost (about) or the latency is multiplied.
        calls_factor: For `cost`, the share of the factor that comes from more calls; the rest are longer prompts.
    """

    kind: Kind
    start_ms: int
    end_ms: int
    tenant: str = ""
    feature: str = ""
    run: str = ""
    form: LoopForm = "same"
    provider: str = ""
    model: str = ""
    factor: float = 1.0
    calls_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A day."""

    seed: int
    tenants: tuple[Tenant, ...]
    incidents: tuple[Incident, ...]


def draw(seed: int, events: int = EVENTS_A_DAY) -> Scenario:
    """The scenario of a seed, with about `events` events in its day."""
    rng = Random(f"tokentrail scenario {seed}")
    tenants = _tenants(rng, events)
    return Scenario(seed, tenants, _incidents(rng, tenants))


def activity(shape: Shape, at_ms: float) -> float:
    """Relative traffic of a curve at a time of the day: 1 is its peak."""
    curve = CURVES[shape]
    hour = at_ms / HOUR_MS % 24
    whole = int(hour)
    return curve[whole] + (curve[(whole + 1) % 24] - curve[whole]) * (hour - whole)


def _tenants(rng: Random, events: int) -> tuple[Tenant, ...]:
    # All tenants buy from the same few offers: a provider that slows down is felt by more than one of them.
    market = {"large": rng.sample(LARGE, 2), "small": rng.sample(SMALL, 2)}
    businesses = rng.sample(BUSINESSES, rng.randint(4, 5))
    houses = rng.sample(HOUSES, len(businesses))
    sizes = [rng.uniform(0.8, 1.25) for _ in businesses]
    tenants = []
    for business, house, size in zip(businesses, houses, sizes, strict=True):
        templates = rng.sample(business.features, rng.randint(3, len(business.features)))
        if not any(template.work == "agent" for template in templates):
            templates[-1] = next(template for template in business.features if template.work == "agent")
        shares = [WEIGHTS[template.work] * rng.uniform(0.75, 1.25) for template in templates]
        # Where everything else is cheap, agents are, too: nobody's cost hangs on a few runs an hour.
        thrifty = all(template.tier == "small" for template in templates if template.work != "agent")
        offers = {tier: rng.choice(choice) for tier, choice in market.items()}
        features = tuple(
            Feature(
                template.name,
                template.work,
                offers["small" if template.work == "agent" and thrifty else template.tier],
                share / sum(shares),
                round(template.input_tokens * rng.uniform(0.85, 1.2)),
                round(template.output_tokens * rng.uniform(0.85, 1.2)),
                hashed=template.work == "agent" and rng.random() < 0.25,
            )
            for template, share in zip(templates, shares, strict=True)
        )
        calls = events * size / sum(sizes)
        tenants.append(
            Tenant(f"{house}-{business.trade}", business.trade, business.shape, business.team, calls, features)
        )
    return tuple(tenants)


def _incidents(rng: Random, tenants: tuple[Tenant, ...]) -> tuple[Incident, ...]:
    if rng.random() < QUIET_SHARE:
        return ()
    kinds: list[Kind] = ["loop", "cost", "slow"]
    rng.shuffle(kinds)
    planted: list[Incident] = []
    for kind in kinds[: rng.choice((1, 2, 2, 3, 3))]:
        for _ in range(200):
            incident = _incident(rng, kind, tenants)
            if incident is not None and all(_apart(incident, other) for other in planted):
                planted.append(incident)
                break
    return tuple(sorted(planted, key=lambda incident: incident.start_ms))


def _incident(rng: Random, kind: Kind, tenants: tuple[Tenant, ...]) -> Incident | None:
    """One attempt; None where too little is going on at the drawn time for it to mean anything."""
    minutes = {"loop": (8, 14), "cost": (150, 210), "slow": (75, 120)}[kind]
    length_ms = round(rng.uniform(*minutes) * MINUTE_MS)
    start_ms = round(rng.uniform(EARLIEST_MS, LATEST_END_MS - length_ms))
    end_ms = start_ms + length_ms
    tenant = rng.choice(tenants)
    if kind == "loop":
        feature = next(feature for feature in tenant.features if feature.work == "agent")
        if feature.hashed:  # call identifiers are in these hashes, so nothing in them repeats
            return None
        run = f"run-{rng.getrandbits(48):012x}"
        form = rng.choice(LOOP_FORMS)
        return Incident(kind, start_ms, end_ms, tenant.name, feature.name, run, form)
    if kind == "cost":
        if _least(lambda at: activity(tenant.shape, at), start_ms, end_ms) < 0.5:
            return None
        return Incident(
            kind, start_ms, end_ms, tenant.name, factor=rng.uniform(2.7, 3.3), calls_factor=rng.uniform(1.5, 1.8)
        )
    offers = sorted({feature.offer for one in tenants for feature in one.features}, key=lambda one: one.model)
    offer = rng.choice(offers)
    if _least(lambda at: calls_an_hour(tenants, offer, at), start_ms, end_ms) < SLOW_NEEDS * _all_calls(tenants):
        return None
    return Incident(kind, start_ms, end_ms, provider=offer.provider, model=offer.model, factor=rng.uniform(2.8, 3.4))


def calls_an_hour(tenants: tuple[Tenant, ...], offer: Offer, at_ms: float) -> float:
    """How many calls an offer gets, over all tenants, at a time of the day."""
    total = 0.0
    for tenant in tenants:
        hourly = tenant.calls_a_day / sum(CURVES[tenant.shape]) * activity(tenant.shape, at_ms)
        total += sum(hourly * feature.share * _part(feature, offer) for feature in tenant.features)
    return total


def _part(feature: Feature, offer: Offer) -> float:
    if feature.work == "search":
        return 0.74 if offer == feature.offer else 0.26 if offer == EMBEDDING else 0.0
    return 1.0 if feature.offer == offer else 0.0


def _all_calls(tenants: tuple[Tenant, ...]) -> float:
    return sum(tenant.calls_a_day for tenant in tenants)


def _least(value: Callable[[float], float], start_ms: int, end_ms: int) -> float:
    return min(value(at) for at in range(start_ms, end_ms + 1, 10 * MINUTE_MS))


def _apart(one: Incident, other: Incident) -> bool:
    return one.end_ms + APART_MS <= other.start_ms or other.end_ms + APART_MS <= one.start_ms
