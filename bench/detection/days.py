"""Thirty days of a world of `bench detection`, as the partials that `meter` would have made of its calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from bench.detection.cells import Places, cells, join, judged_cells, run_cells, source
from bench.detection.traffic import DAY, EVALUATIONS, Columns, Feature, Floats, Noise, Tenant, calls_of, rate
from bench.detection.truth import World, plain_calls
from schemas.partial import Bucket, Cell, Partials

# Monday, 00:00 UTC, in minutes since 1970.
MONDAY: Final = 20_402 * DAY
CANARY_EVERY: Final = 5


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
