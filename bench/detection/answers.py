"""What becomes of features' answers and questions in the worlds of `bench detection`.

Each planner writes one event down, and the effects that make it, before anything is judged.
"""

from __future__ import annotations

import numpy as np

from bench.detection.traffic import LABELS, LANGUAGES, TOPICS, Tenant
from bench.detection.truth import Event, Planner, World, any_feature, lasting, log_uniform


def share_rule(rule: str, what: str, high: tuple[float, float]) -> Planner:
    """Rules over shares: by 3 to 8 times and to at least `high[0]`; negatives: by 1.05 to 1.3 times."""

    def plan(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
        feature, minutes = any_feature(dice, tenant), lasting(dice, 180, 1_440)
        assert feature.answers is not None
        usual = getattr(feature.answers, what)
        size = (
            max(usual * log_uniform(dice, 3, 8), dice.uniform(*high)) if positive else usual * dice.uniform(1.05, 1.3)
        )
        size = min(0.95, size)
        world.effects.put((tenant.name, feature.name), what, start, start + minutes, "set", size)
        return Event(rule, positive, start, start + minutes, tenant.name, feature.name, size=size, kind=f"{usual:.3f}")

    return plan


def score_rule(rule: str, name: str) -> Planner:
    """Rules over scores: lower by 0.8 to 2.5 deviations; negatives: by up to 0.15."""

    def plan(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
        feature, minutes = any_feature(dice, tenant), lasting(dice, 180, 1_440)
        assert feature.answers is not None
        size = log_uniform(dice, 0.8, 2.5) if positive else dice.uniform(0.0, 0.15)
        fall = -size * feature.answers.scores[name][1]
        world.effects.put((tenant.name, feature.name), f"score {name}", start, start + minutes, "add", fall)
        return Event(rule, positive, start, start + minutes, tenant.name, feature.name, size=size)

    return plan


def model_changed(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Another model answers 40 to 100 %; negatives: 1 to 10 %, as in a trial."""
    feature, minutes = any_feature(dice, tenant), lasting(dice, 360, 1_440)
    share = dice.uniform(0.4, 1.0) if positive else dice.uniform(0.01, 0.1)
    who = (tenant.name, feature.name)
    world.effects.put(who, "model", start, start + minutes, "set", start)
    world.effects.put(who, "model share", start, start + minutes, "set", share)
    return Event("model.changed", positive, start, start + minutes, tenant.name, feature.name, size=share)


def input_shift(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """40 to 90 % of the questions are about something else; negatives: 3 to 8 %."""
    feature, minutes = any_feature(dice, tenant), lasting(dice, 360, 1_440)
    assert feature.answers is not None
    share = dice.uniform(0.4, 0.9) if positive else dice.uniform(0.03, 0.08)
    other = (1 - share) * feature.answers.topics + share * dice.dirichlet(np.full(TOPICS, 0.15))
    world.effects.put((tenant.name, feature.name), "topics", start, start + minutes, "set", other)
    return Event("input.shift", positive, start, start + minutes, tenant.name, feature.name, size=share)


def output_length(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """Twice to five times as long, or short; negatives: by a tenth."""
    feature, minutes = any_feature(dice, tenant), lasting(dice, 240, 1_440)
    doublings = log_uniform(dice, 1.0, 2.3) if positive else dice.uniform(0.05, 0.2)
    moved = 2 * doublings * float(dice.choice([-1, 1]))
    world.effects.put((tenant.name, feature.name), "length", start, start + minutes, "add", moved)
    return Event("output.length", positive, start, start + minutes, tenant.name, feature.name, size=doublings)


def output_shift(world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant) -> Event | None:
    """30 to 80 % of the labels, or of the languages, are another; negatives: 2 to 7 %."""
    feature, minutes = any_feature(dice, tenant), lasting(dice, 240, 1_440)
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
    minutes = lasting(dice, 20, 180) if positive else 5
    world.canaries.setdefault(tenant.name, []).append((start, start + minutes, 0.9 if positive else 1.0))
    return Event("canary.failed", positive, start, start + minutes, tenant.name)


def redaction_failed(
    world: World, dice: np.random.Generator, start: int, positive: bool, tenant: Tenant
) -> Event | None:
    """In 4 to 30 % of the records; negatives: in 0.2 to 0.5 %."""
    minutes = lasting(dice, 45, 300)
    share = log_uniform(dice, 0.04, 0.3) if positive else dice.uniform(0.002, 0.005)
    world.redaction.setdefault(tenant.name, []).append((start, start + minutes, share))
    return Event("redaction.failed", positive, start, start + minutes, tenant.name, size=share)
