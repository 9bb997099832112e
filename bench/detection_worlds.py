"""Worlds of `bench detection`: tenants, a plan of what happens to them, and thirty days of it as partials.

Three sorts, because rules need different tenants: `money` (from $0.50 to $5,000 a day), `trouble` (three providers,
whom six tenants share) and `answers` (features whose answers are looked at). A world is judged by the rules that it is
about; where these look at blocks of five minutes, calls are counted in the last minute of their block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np

from bench.detection_cells import Places, cells, join, judged_cells, run_cells, source
from bench.detection_traffic import (
    DAY,
    EVALUATIONS,
    MOST_CALLS_A_DAY,
    Columns,
    Feature,
    Floats,
    Noise,
    Tenant,
    answers,
    calls_of,
    flat_week,
    office_week,
    other_week,
    rate,
)
from bench.detection_truth import PLANNERS, Event, World, log_uniform, plain_calls
from pipeline.detection.registry import RULES
from schemas.partial import Bucket, Cell, Partials

Sort = Literal["money", "trouble", "answers"]
Style = Literal["office", "other"]

DAYS: Final = 30
# Nothing happens before: a week is what every baseline has seen once.
QUIET_DAYS: Final = 7
# Monday, 00:00 UTC, in minutes since 1970.
MONDAY: Final = 20_402 * DAY
CANARY_EVERY: Final = 5

# Minutes that are counted as one: rules over trouble and answers look every five minutes.
STEP: Final[dict[Sort, int]] = {"money": 1, "trouble": 5, "answers": 5}
SHARES: Final[dict[Sort, dict[str, float]]] = {
    "money": {"cost.spike": 4, "user.cost": 4, "call.outlier": 2.2, "price.unknown": 2, "traffic.silence": 1.7},
    "trouble": {
        "error.rate": 1, "latency.p95": 1, "provider.degraded": 1, "slo.burn": 0.8, "rate_limit.storm": 1,
    },
    "answers": dict.fromkeys(
        (
            "run.latency", "error.novel", "refusal.rate", "schema.validity", "guardrail.rate", "retrieval.hit_rate",
            "feedback.negative", "evaluation.drop", "safety.regression", "sentiment.shift", "model.changed",
            "input.shift", "output.length", "output.shift", "canary.failed", "redaction.failed",
        ),
        1.0,
    ),
}  # fmt: skip
# Hours between two events at the same tenant, or in the same world.
GAPS: Final[dict[Sort, tuple[float, float]]] = {"money": (8, 26), "trouble": (3, 8), "answers": (4, 10)}


def world(sort: Sort, style: Style, seed: int) -> World:
    """A world with its truth."""
    dice = np.random.default_rng([seed, hash_of(sort), hash_of(style)])
    made = {"money": _money, "trouble": _trouble, "answers": _answers}[sort](dice, style)
    made.name, made.weekday, made.step = f"{sort}.{style}.{seed}", int(dice.integers(7)), STEP[sort]
    _plan(made, sort, dice)
    made.rules += _only(sort)
    return made


def rules_of(sort: Sort) -> tuple[str, ...]:
    """The rules that a sort of world is about, and that judge it."""
    return (*SHARES[sort], "cost.daily") if sort == "money" else tuple(SHARES[sort])


def _only(sort: Sort) -> str:
    """A rules file that switches off what a world is not about, which saves time."""
    others = (entry.name for entry in RULES if entry.stage == "judge" and entry.name not in rules_of(sort))
    return "".join(f'["{name}"]\nenabled = false\n' for name in others)


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return int.from_bytes(text.encode()[:6], "little")


def _week(dice: np.random.Generator, style: Style) -> Floats:
    if style == "other":
        return other_week(dice)
    return flat_week(dice) if dice.random() < 0.2 else office_week(dice)


def _tenant(
    dice: np.random.Generator,
    style: Style,
    name: str,
    usd: float,
    calls: float,
    features: Iterable[Feature],
    **more: Any,
) -> Tenant:
    other = style == "other"
    values: dict[str, Any] = {
        "growth": dice.uniform(0.97, 1.12) if not other else dice.uniform(0.9, 1.2),
        "day_sigma": dice.uniform(0.03, 0.12),
        "hour_sigma": dice.uniform(0.03, 0.12) if not other else dice.uniform(0.05, 0.2),
        "run": dice.uniform(1.2, 6.0) if not other else dice.uniform(2, 9),
        "cost_sigma": dice.uniform(0.4, 1.1) if not other else dice.uniform(0.3, 1.4),
        "lasting": 0.8 if other else 0.0,
        "heavy": other and dice.random() < 0.5,
        **more,
    }
    if other and dice.random() < 0.4:
        values["batches"] = ((int(dice.integers(0, 5 * 60)), int(dice.integers(20, 90)), dice.uniform(3, 12)),)
    return Tenant(name, usd, calls, tuple(features), _week(dice, style), **values)


PROVIDERS: Final = [
    ("openai", "large"), ("openai", "small"), ("anthropic", "large"), ("anthropic", "small"), ("mistral", "large"),
    ("mistral", "small"),
]  # fmt: skip


def _feature(dice: np.random.Generator, name: str, provider: tuple[str, str], share: float, **more: Any) -> Feature:
    values: dict[str, Any] = {
        "price": log_uniform(dice, 0.5, 2.0),
        "latency_ms": (log_uniform(dice, 400, 4_000), dice.uniform(0.3, 0.7)),
        "fails": dice.uniform(0.001, 0.01),
        **more,
    }
    return Feature(name, provider, share, **values)


def _money(dice: np.random.Generator, style: Style) -> World:
    made = World("", [], 0, DAYS, providers=PROVIDERS)
    steps = np.linspace(math.log(0.5), math.log(5_000), 9)
    for number in range(8):
        usd = math.exp(dice.uniform(steps[number], steps[number + 1]))
        a_call = min(log_uniform(dice, 0.002, 0.08), usd / 40)
        calls = min(usd / a_call, MOST_CALLS_A_DAY)
        count = int(dice.integers(1, 4))
        shares = dice.dirichlet(np.full(count, 3.0))
        own = [PROVIDERS[int(dice.integers(6))] for _ in range(count)]
        features = [_feature(dice, f"f{at}", own[at], float(shares[at])) for at in range(count)]
        features = _mean_price_one(features)
        users = int(log_uniform(dice, 5, 150)) if calls < 3_000 else 0
        made.tenants.append(_tenant(dice, style, f"m{number}", usd, calls, features, users=users))
    for number in range(5):
        usd = log_uniform(dice, 3, 300)
        features = [_feature(dice, "f0", PROVIDERS[int(dice.integers(6))], 1.0, price=1.0)]
        made.tenants.append(_tenant(dice, style, f"d{number}", usd, min(usd / 0.01, 5_000), features))
    # Whole days are for the daily rule; nothing else may see them first.
    made.rules = "".join(f'[tenants.d{number}."cost.spike"]\nenabled = false\n' for number in range(5))
    return made


def _mean_price_one(features: list[Feature]) -> list[Feature]:
    mean = sum(one.share * one.price for one in features)
    return [replace(one, price=one.price / mean) for one in features]


def _trouble(dice: np.random.Generator, style: Style) -> World:
    made = World("", [], 0, DAYS, providers=PROVIDERS)
    objectives = []
    for number in range(6):
        calls = log_uniform(dice, 3_000, 15_000)
        shares = dice.dirichlet((4.0, 3.0, 2.0))
        features = [_feature(dice, f"f{at}", PROVIDERS[(number + 2 * at) % 6], float(shares[at])) for at in range(3)]
        features[0] = _feature(dice, "f0", features[0].provider, features[0].share, fails=dice.uniform(0.0005, 0.002))
        made.tenants.append(_tenant(dice, style, f"t{number}", calls * 0.01, calls, _mean_price_one(features)))
        objectives.append(f'{{ tenant = "t{number}", feature = "f0", success = 0.995 }}')
    made.rules = f'["slo.burn"]\nobjectives = [{", ".join(objectives)}]\n'
    return made


def _answers(dice: np.random.Generator, style: Style) -> World:
    made = World("", [], 0, DAYS, providers=PROVIDERS)
    for number in range(4):
        calls = log_uniform(dice, 1_500, 7_000)
        share = dice.uniform(0.35, 0.65)
        features = [
            _feature(dice, f"f{at}", PROVIDERS[(number + 3 * at) % 6], part, answers=answers(dice))
            for at, part in enumerate((share, 1 - share))
        ]
        made.tenants.append(_tenant(dice, style, f"a{number}", calls * 0.005, calls, _mean_price_one(features)))
    return made


# -- the truth


def _plan(made: World, sort: Sort, dice: np.random.Generator) -> None:
    """Events one after another at each tenant, or in the whole world where they concern providers."""
    shares, gaps = SHARES[sort], GAPS[sort]
    if sort == "trouble":
        _one_after_another(made, shares, gaps, lambda: made.tenants[int(dice.integers(len(made.tenants)))], dice)
        return
    for tenant in list(made.tenants):
        if tenant.name.startswith("d"):
            _one_after_another(made, {"cost.daily": 1.0}, (45, 80), partial(made.tenant, tenant.name), dice)
        elif sort == "money":
            _one_after_another(made, shares, gaps, partial(made.tenant, tenant.name), dice)
        else:
            # Features' answers have nothing to do with each other.
            for feature in tenant.features:
                alone = replace(tenant, features=(feature,))
                _one_after_another(made, shares, gaps, partial(_same, alone), dice)


def _same(tenant: Tenant) -> Tenant:
    return tenant


def _one_after_another(
    made: World,
    shares: dict[str, float],
    gaps: tuple[float, float],
    whom: Callable[[], Tenant],
    dice: np.random.Generator,
) -> None:
    names, weights = list(shares), np.array(list(shares.values()))
    at = QUIET_DAYS * DAY + int(dice.uniform(0, 60 * gaps[1]))
    order = iter(_shuffled(names, weights, dice))
    while at < made.days * DAY - 12 * 60:
        rule, positive = next(order)
        event = PLANNERS[rule](made, dice, at, positive, whom())
        if event is not None:
            made.events.append(event)
            at = min(event.end, at + 2 * DAY)
        at += int(dice.uniform(60 * gaps[0], 60 * gaps[1]))


def _shuffled(names: list[str], weights: Floats, dice: np.random.Generator) -> Iterator[tuple[str, bool]]:
    """Rules by their weights, as often with a positive event as with a negative one; never one for long."""
    while True:
        rounds = [(name, bool(flag)) for name in names for flag in (True, False)]
        chances = np.repeat(weights, 2) / (2 * weights.sum())
        count = max(8, len(rounds))
        for place in dice.choice(len(rounds), count, p=chances):
            yield rounds[int(place)]


# -- thirty days


def play(made: World, seed: int) -> Iterator[Partials]:
    """The world's records of partials, one for each minute."""
    dice = np.random.default_rng([seed, 7])
    base = MONDAY + made.weekday * DAY
    noises = {one.name: Noise(one, dice) for one in made.tenants}
    places = Places()
    for day in range(made.days):
        by_minute: dict[int, list[Cell]] = {}
        for tenant in made.tenants:
            for part in _day(made, tenant, day, base, noises[tenant.name], places, dice):
                for minute, found in part.items():
                    by_minute.setdefault(minute, []).extend(found)
        for minute in range(base + day * DAY, base + (day + 1) * DAY):
            reached = places.passed(minute)
            yield Partials(0, 1, reached, "", tuple(by_minute.get(minute, ())), watermark=(minute + 1) * 60_000)


def _day(
    made: World, tenant: Tenant, day: int, base: int, noise: Noise, places: Places, dice: np.random.Generator
) -> Iterator[dict[int, list[Cell]]]:
    weekday, factors = (made.weekday + day) % 7, noise.day()
    parts: list[Columns] = []
    for number, feature in enumerate(tenant.features):
        rates = rate(tenant, feature, made.effects, day, weekday, factors)
        columns = _in_steps(made, calls_of(tenant, number, made.effects, day, rates, dice))
        if not len(columns["minute"]):
            continue
        parts.append(columns)
        if feature.answers is not None:
            novel = _novel(made, tenant, feature, number, day, dice)
            if novel is not None:
                parts.append(_in_steps(made, novel))
            shares = {
                "disliked": made.effects.vector(tenant, feature, "disliked", day, feature.answers.disliked),
                **{name: made.effects.vector(tenant, feature, f"score {name}", day, 0.0) for name in EVALUATIONS},
            }
            yield judged_cells(tenant, feature, columns, shares, day, base, places, dice)
            yield _runs(made, tenant, feature, rates, day, base, places, dice)
    extras = (extra(day, dice) for extra in made.extras.get(tenant.name, ()))
    parts += [_in_steps(made, found) for found in extras if found is not None]
    if parts:
        yield cells(tenant, join(parts), day, base, places)
    if tenant.features[0].answers is not None:
        yield _canaries(made, tenant, day, base, places, dice)
        yield _redaction(made, tenant, day, base, places, dice, parts)


def _in_steps(made: World, columns: Columns) -> Columns:
    columns["minute"] = _last_of(made, columns["minute"])
    return columns


def _last_of(made: World, minute: Any) -> Any:
    return minute // made.step * made.step + made.step - 1


def _novel(
    made: World, tenant: Tenant, feature: Feature, number: int, day: int, dice: np.random.Generator
) -> Columns | None:
    found = []
    for (who, of, what), effects in made.effects.known.items():
        if (who, of) != (tenant.name, feature.name) or not what.startswith("novel "):
            continue
        for one in effects:
            low, high = max(one.start, day * DAY), min(one.end, (day + 1) * DAY)
            if low >= high:
                continue
            count = dice.poisson(one.value * (high - low)) or (1 if one.value * (one.end - one.start) < 1.5 else 0)
            minute = np.sort(dice.integers(low % DAY, low % DAY + high - low, count))
            columns = plain_calls(number, minute, np.zeros(count), tenant, dice)
            columns["status"] = np.full(count, 1)
            columns["failure"] = np.full(count, 2 if what == "novel usual" else 1_000 + one.start)
            found.append(columns)
    return join(found) if found else None


def _runs(
    made: World,
    tenant: Tenant,
    feature: Feature,
    rates: Floats,
    day: int,
    base: int,
    places: Places,
    dice: np.random.Generator,
) -> dict[int, list[Cell]]:
    assert feature.answers is not None
    ended = np.repeat(np.arange(DAY), dice.poisson(rates / max(2.0, tenant.run)))
    longer = made.effects.vector(tenant, feature, "runs", day, 1.0)[ended]
    ended = _last_of(made, ended)
    return run_cells(
        tenant,
        feature,
        ended,
        feature.answers.run_minutes * np.exp(0.6 * dice.standard_normal(len(ended))) * longer,
        day,
        base,
        places,
    )


def _canaries(
    made: World, tenant: Tenant, day: int, base: int, places: Places, dice: np.random.Generator
) -> dict[int, list[Cell]]:
    found: dict[int, list[Cell]] = {}
    feature = tenant.features[0]
    for minute in range(0, DAY, CANARY_EVERY):
        at, start = day * DAY + minute, base + day * DAY + minute + CANARY_EVERY - 1
        share = 0.003
        for begin, end, failing in made.canaries.get(tenant.name, ()):
            if begin <= at < end:
                share = failing
        first = places.take(start, 1)
        bucket = Bucket(calls=1, facts=1)
        if dice.random() < share:
            bucket.errors, bucket.failed_at = {"error": 1}, first
        found[start] = [Cell(source(tenant, feature, "canary"), False, start, first, first, bucket)]
    return found


def _redaction(
    made: World,
    tenant: Tenant,
    day: int,
    base: int,
    places: Places,
    dice: np.random.Generator,
    parts: list[Columns],
) -> dict[int, list[Cell]]:
    """Records with text, and those of which one was replaced whole."""
    found: dict[int, list[Cell]] = {}
    counts = np.bincount(np.concatenate([one["minute"] for one in parts]), minlength=DAY)
    shares = np.full(DAY, 0.0005)
    for begin, end, share in made.redaction.get(tenant.name, ()):
        low, high = max(begin, day * DAY), min(end, (day + 1) * DAY)
        if low < high:
            shares[low - day * DAY : high - day * DAY] = share
    failed = dice.binomial(counts, shares)
    for minute in np.flatnonzero(counts).tolist():
        start = base + day * DAY + minute
        first = places.take(start, 1)
        bucket = Bucket(calls=int(counts[minute]), facts=int(counts[minute]))
        if failed[minute]:
            bucket.errors, bucket.failed_at = {"timeout": int(failed[minute])}, first
        found[start] = [Cell(("redaction", tenant.name), False, start, first, first, bucket)]
    return found


def counted(events: Iterable[Event], rule: str) -> tuple[int, int]:
    """(positive, negative) events of a rule."""
    known = [one.positive for one in events if one.rule == rule]
    return sum(known), len(known) - sum(known)
