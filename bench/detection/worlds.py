"""Worlds of `bench detection`: tenants, whom `plan` lets things happen to, and of whom `days` makes partials.

Three sorts, because rules need different tenants: `money` (from $0.50 to $5,000 a day), `trouble` (three providers,
whom six tenants share) and `answers` (features whose answers are looked at). A world is judged by the rules that it is
about; where these look at blocks of five minutes, calls are counted in the last minute of their block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np

from bench.detection.plan import SHARES, Sort, plan
from bench.detection.traffic import (
    MOST_CALLS_A_DAY,
    Feature,
    Floats,
    Tenant,
    answers,
    flat_week,
    office_week,
    other_week,
)
from bench.detection.truth import World, log_uniform
from pipeline.detection.registry import RULES

Style = Literal["office", "other"]

DAYS: Final = 30
# Minutes that are counted as one: rules over trouble and answers look every five minutes.
STEP: Final[dict[Sort, int]] = {"money": 1, "trouble": 5, "answers": 5}


def world(sort: Sort, style: Style, seed: int) -> World:
    """A world with its truth."""
    dice = np.random.default_rng([seed, hash_of(sort), hash_of(style)])
    made = {"money": _money, "trouble": _trouble, "answers": _answers}[sort](dice, style)
    made.name, made.weekday, made.step = f"{sort}.{style}.{seed}", int(dice.integers(7)), STEP[sort]
    plan(made, sort, dice)
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
