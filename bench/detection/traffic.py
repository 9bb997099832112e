"""Invented tenants and their calls, minute by minute: the ordinary part of the worlds of `bench detection`.

`office` traffic has working hours of any time zone, weekends, growth, days and hours that differ, calls in runs and
costs of any skew. `other` traffic is made by other means, which nothing was chosen by: shifts, working weeks that begin
on Sunday, evenings, nightly batches, agents in heavy-tailed bursts, noise that lasts, holidays, latencies with two
humps. What happens to them stands in `truth`; here are only the means to make it happen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DAY: Final = 1_440
WEEK: Final = 7 * DAY
STATUSES: Final = ("ok", "error", "timeout", "rate_limited", "refused")
TOPICS: Final = 64
LABELS: Final = ("billing", "delivery", "complaint", "praise", "other")
LANGUAGES: Final = ("en", "de", "fr", "es")
FINISHES: Final = ("stop", "length", "tool_calls")
EVALUATIONS: Final = ("faithfulness", "safety", "sentiment")
MOST_CALLS_A_DAY: Final = 40_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Answers:
    """How a feature's answers are: usual shares and distributions.

    Attributes:
        refused: Share of refusals.
        invalid: Share of answers with a wrong form.
        guarded: Share of calls in which a guardrail is triggered.
        missed: Share of retrievals that find nothing.
        disliked: Share of feedback that is negative.
        rated: Share of calls with feedback.
        judged: Share of calls with an evaluation.
        scores: Mean and deviation of the scores, by name.
        labels: Probabilities of LABELS; so for the other distributions.
        length: Middle of the lengths, in length buckets, and their deviation.
        run_minutes: Middle duration of runs.
    """

    refused: float
    invalid: float
    guarded: float
    missed: float
    disliked: float
    rated: float
    judged: float
    scores: dict[str, tuple[float, float]]
    labels: Floats
    languages: Floats
    finishes: Floats
    topics: Floats
    length: tuple[float, float]
    run_minutes: float


@dataclass(frozen=True)
class Feature:
    """One feature of a tenant.

    Attributes:
        name: Its name.
        provider: Provider and model that it asks.
        share: Its part of the tenant's calls.
        price: Cost of a call, against the tenant's mean.
        latency_ms: Middle latency and the deviation of its logarithm.
        fails: Usual share of failed calls.
        answers: How its answers are; None where nobody looks.
        born: Day from which on there are calls.
        weekly: Its traffic by minute of the week, against its mean, where it differs from the tenant's.
    """

    name: str
    provider: tuple[str, str]
    share: float
    price: float
    latency_ms: tuple[float, float]
    fails: float
    answers: Answers | None = None
    born: int = 0
    weekly: Floats | None = None


@dataclass(frozen=True)
class Tenant:
    """One tenant.

    Attributes:
        name: Its name.
        usd_a_day: What a mean day costs.
        calls_a_day: Calls of a mean day.
        features: Its features.
        weekly: Traffic by minute of the week, against its mean.
        growth: Factor by week.
        day_sigma: Deviation of days, as a logarithm; so for hours.
        run: Mean calls of a run.
        cost_sigma: Deviation of a call's cost as a logarithm; half of it is the run's.
        users: How many people; 0 where nobody says who.
        batches: (minute of the day, minutes, factor) of what runs every night.
        lasting: How much of an hour's noise the next hour keeps.
        heavy: Whether runs have a heavy tail.
    """

    name: str
    usd_a_day: float
    calls_a_day: float
    features: tuple[Feature, ...]
    weekly: Floats
    growth: float = 1.0
    day_sigma: float = 0.08
    hour_sigma: float = 0.08
    run: float = 3.0
    cost_sigma: float = 0.8
    users: int = 0
    batches: tuple[tuple[int, int, float], ...] = ()
    lasting: float = 0.0
    heavy: bool = False

    @property
    def usd_a_call(self) -> float:
        """What a call costs in the mean."""
        return self.usd_a_day / self.calls_a_day


@dataclass(frozen=True)
class Effect:
    """A change of something for a while: `mul`, `set` or `add`, by a number or a distribution."""

    start: int
    end: int
    how: str
    value: Any


@dataclass
class Effects:
    """All changes, by whom they concern ((tenant, feature), (tenant, "") or ("", provider/model)) and of what."""

    known: dict[tuple[str, str, str], list[Effect]] = field(default_factory=dict)

    def put(self, who: tuple[str, str], what: str, start: int, end: int, how: str, value: Any) -> None:
        """Note a change from minute `start` to minute `end`."""
        self.known.setdefault((*who, what), []).append(Effect(start, end, how, value))

    def of(self, tenant: Tenant, feature: Feature, what: str, day: int) -> list[Effect]:
        """Changes of something that fall into a day."""
        first, last = day * DAY, (day + 1) * DAY
        whom = ((tenant.name, feature.name), (tenant.name, ""), ("", "/".join(feature.provider)))
        return [one for who in whom for one in self.known.get((*who, what), ()) if one.start < last and one.end > first]

    def vector(self, tenant: Tenant, feature: Feature, what: str, day: int, base: float) -> Floats:
        """A number for each minute of a day."""
        found = np.full(DAY, base)
        for one in self.of(tenant, feature, what, day):
            part = slice(max(0, one.start - day * DAY), min(DAY, one.end - day * DAY))
            if one.how == "mul":
                found[part] *= one.value
            elif one.how == "add":
                found[part] += one.value
            else:
                found[part] = one.value
        return found


class Noise:
    """A tenant's days and hours, which are never quite alike; asked for in order of time."""

    def __init__(self, tenant: Tenant, dice: np.random.Generator) -> None:
        self._tenant, self._dice, self._last = tenant, dice, 0.0

    def day(self) -> Floats:
        """A factor for each minute of the next day."""
        tenant, dice = self._tenant, self._dice
        whole = math.exp(tenant.day_sigma * dice.standard_normal() - tenant.day_sigma**2 / 2)
        hours = np.empty(24)
        fresh = math.sqrt(1 - tenant.lasting**2)
        for hour in range(24):
            self._last = tenant.lasting * self._last + fresh * dice.standard_normal()
            hours[hour] = math.exp(tenant.hour_sigma * self._last - tenant.hour_sigma**2 / 2)
        factors = whole * np.repeat(hours, 60)
        for begin, length, factor in tenant.batches:
            start = int(np.clip(begin + dice.normal(0, 6), 0, DAY - length))
            factors[start : start + length] *= factor * math.exp(0.25 * dice.standard_normal())
        return factors


def rate(tenant: Tenant, feature: Feature, effects: Effects, day: int, weekday: int, noise: Floats) -> Floats:
    """Expected calls of a feature in each minute of a day."""
    if day < feature.born:
        return np.zeros(DAY)
    weekly = tenant.weekly if feature.weekly is None else feature.weekly
    shape = weekly[weekday * DAY : (weekday + 1) * DAY]
    base = tenant.calls_a_day / DAY * feature.share * tenant.growth ** (day / 7)
    return np.asarray(base * shape * noise * effects.vector(tenant, feature, "volume", day, 1.0))


def run_sizes(tenant: Tenant, count: int, dice: np.random.Generator) -> Ints:
    """How many calls each of so many runs makes."""
    if tenant.heavy:
        # Pareto with about the same mean, cut off.
        return np.minimum(1 + dice.pareto(1.6, count) * 0.6 * (tenant.run - 1), 200).astype(int)
    return dice.geometric(1 / tenant.run, count)


def calls_of(
    tenant: Tenant, number: int, effects: Effects, day: int, rates: Floats, dice: np.random.Generator
) -> Columns:
    """One feature's calls of a day, in order of minutes; `number` is its place among the tenant's features."""
    feature = tenant.features[number]
    begun = dice.poisson(rates / tenant.run)
    starts = np.repeat(np.arange(DAY), begun)
    sizes = run_sizes(tenant, len(starts), dice)
    run = np.repeat(np.arange(len(starts)), sizes)
    count = len(run)
    step = dice.exponential(0.6, count)
    order = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if len(sizes) else np.zeros(0, int)
    passed = np.cumsum(step) - np.repeat((np.cumsum(step) - step)[order], sizes) if count else step
    minute = np.minimum(np.repeat(starts, sizes) + passed.astype(int), DAY - 1)
    half = tenant.cost_sigma / math.sqrt(2)
    spread = half * dice.standard_normal(count) + half * dice.standard_normal(len(starts))[run]
    price = effects.vector(tenant, feature, "price", day, 1.0)[minute]
    usd = tenant.usd_a_call * feature.price * np.exp(spread - tenant.cost_sigma**2 / 2) * price
    middle, sigma = feature.latency_ms
    slow = effects.vector(tenant, feature, "latency", day, 1.0)[minute]
    latency = middle * np.exp(sigma * dice.standard_normal(count)) * slow
    if tenant.heavy:
        latency = np.where(dice.random(count) < 0.15, 2.5 * latency, latency)
    columns: Columns = {
        "minute": minute,
        "feature": np.full(count, number),
        "nano": np.maximum(1, usd * 1e9).astype(np.int64),
        "latency": latency,
        "status": statuses(tenant, feature, effects, day, minute, dice),
        "user": _users(tenant, dice, len(starts))[run] if tenant.users else np.full(count, -1),
        "unpriced": np.zeros(count, bool),
    }
    if feature.answers is not None:
        columns |= _answers(tenant, feature, feature.answers, effects, day, columns, dice)
    return columns


def statuses(
    tenant: Tenant, feature: Feature, effects: Effects, day: int, minute: Ints, dice: np.random.Generator
) -> Ints:
    """Codes of STATUSES: errors and time-outs as is usual, and what rate limits refuse."""
    draw = dice.random(len(minute))
    fails = effects.vector(tenant, feature, "fails", day, feature.fails)[minute]
    limited = effects.vector(tenant, feature, "limited", day, 0.0)[minute]
    found = np.where(draw < fails, np.where(dice.random(len(minute)) < 0.7, 1, 2), 0)
    return np.where((found == 0) & (draw > 1 - limited), 3, found)


def _users(tenant: Tenant, dice: np.random.Generator, runs: int) -> Ints:
    weights = 1 / np.arange(1, tenant.users + 1) ** 0.7
    return dice.choice(tenant.users, runs, p=weights / weights.sum())


def _answers(
    tenant: Tenant,
    feature: Feature,
    answers: Answers,
    effects: Effects,
    day: int,
    columns: Columns,
    dice: np.random.Generator,
) -> Columns:
    minute = columns["minute"]
    count = len(minute)

    def happens(what: str, base: float) -> NDArray[np.bool_]:
        return np.asarray(dice.random(count) < effects.vector(tenant, feature, what, day, base)[minute])

    def drawn(what: str, usual: Floats) -> Ints:
        found = dice.choice(len(usual), count, p=usual)
        for one in effects.of(tenant, feature, what, day):
            inside = (minute >= one.start - day * DAY) & (minute < one.end - day * DAY)
            found[inside] = dice.choice(len(one.value), int(inside.sum()), p=one.value)
        return found

    middle, deviation = answers.length
    longer = effects.vector(tenant, feature, "length", day, 0.0)[minute]
    failed = columns["status"] > 0
    return {
        # Three kinds of errors are usual.
        "failure": np.where(failed, 1 + dice.integers(0, 3, count), 0),
        "refused": happens("refused", answers.refused),
        "invalid": happens("invalid", answers.invalid),
        "guarded": happens("guarded", answers.guarded),
        "missed": happens("missed", answers.missed),
        "label": drawn("labels", answers.labels),
        "language": drawn("languages", answers.languages),
        "finish": drawn("finishes", answers.finishes),
        "topic": drawn("topics", answers.topics),
        "length": np.maximum(0, np.round(dice.normal(middle, deviation, count) + longer)).astype(int),
        "model": effects.vector(tenant, feature, "model", day, 0)[minute].astype(int)
        * (dice.random(count) < effects.vector(tenant, feature, "model share", day, 1.0)[minute]),
    }


# -- invented tenants


def office_week(dice: np.random.Generator, *, weekend: float | None = None) -> Floats:
    """Traffic by minute of the week (UTC, Monday first) of people who work by day somewhere; mean 1."""
    night = math.exp(dice.uniform(math.log(0.02), math.log(0.35)))
    quiet = dice.uniform(0.05, 0.8) if weekend is None else weekend
    zone, begin, end = dice.integers(-8, 10) * 60, dice.uniform(7, 9.5) * 60, dice.uniform(16.5, 20) * 60
    minute = np.arange(WEEK)
    local = (minute + zone) % WEEK
    hour = local % DAY
    day = 1 / (1 + np.exp(-(hour - begin) / 35)) * 1 / (1 + np.exp((hour - end) / 45))
    day -= dice.uniform(0, 0.25) * np.exp(-(((hour - 12.5 * 60) / 35) ** 2))
    shape = night + (1 - night) * np.maximum(0, day)
    shape = np.where(local >= 5 * DAY, shape * quiet, shape)
    return np.asarray(shape / shape.mean())


def flat_week(dice: np.random.Generator) -> Floats:
    """Traffic of machines and of people all over the world."""
    minute = np.arange(WEEK)
    wave = 1 + dice.uniform(0.05, 0.4) * np.sin(2 * math.pi * (minute / DAY + dice.random()))
    return np.asarray(wave / wave.mean())


def other_week(dice: np.random.Generator) -> Floats:
    """Two shifts, evenings of consumers, or offices that are closed on Friday and Saturday."""
    minute = np.arange(WEEK)
    kind = dice.integers(3)
    zone = dice.integers(-11, 13) * 60
    local = (minute + zone) % WEEK
    hour, day = local % DAY, local // DAY
    if kind == 0:
        shape = np.where((hour >= 6 * 60) & (hour < 22 * 60), 1.0, dice.uniform(0.0, 0.1))
        shape = np.where((hour >= 13.8 * 60) & (hour < 14.2 * 60), 0.5 * shape, shape)
        shape = np.where(day == 6, dice.uniform(0.0, 0.2) * shape, shape)
    elif kind == 1:
        shape = 0.1 + np.exp(-((((hour - 20.5 * 60 + 720) % DAY - 720) / 130) ** 2)) + 0.3 * (hour > 11 * 60)
        shape = np.where(day >= 5, dice.uniform(1.1, 1.9) * shape, shape)
    else:
        shape = 0.05 + np.clip((hour - 8 * 60) / 60, 0, 1) * np.clip((17 * 60 - hour) / 60, 0, 1)
        shape = np.where((day == 4) | (day == 5), dice.uniform(0.03, 0.3) * shape, shape)
    return np.asarray(shape / shape.mean())


def answers(dice: np.random.Generator) -> Answers:
    """How some feature answers."""
    return Answers(
        refused=dice.uniform(0.002, 0.04),
        invalid=dice.uniform(0.002, 0.04),
        guarded=dice.uniform(0.005, 0.05),
        missed=dice.uniform(0.03, 0.2),
        disliked=dice.uniform(0.05, 0.25),
        rated=dice.uniform(0.1, 0.3),
        judged=dice.uniform(0.1, 0.3),
        scores={name: (dice.uniform(0.75, 0.92), dice.uniform(0.06, 0.15)) for name in EVALUATIONS},
        labels=dice.dirichlet(np.full(len(LABELS), 2.0)),
        languages=dice.dirichlet((8.0, 1.0, 1.0, 0.6)),
        finishes=dice.dirichlet((12.0, 1.0, 2.0)),
        topics=dice.dirichlet(np.full(TOPICS, 0.35)),
        length=(dice.uniform(14, 22), dice.uniform(1.0, 2.5)),
        run_minutes=dice.uniform(0.5, 8.0),
    )
