"""When what happens in a world of `bench detection`: events one after another, as often positive as hard negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final, Literal

import numpy as np

from bench.detection import answers, money, trouble
from bench.detection.traffic import DAY, Floats, Tenant
from bench.detection.truth import Event, Planner, World

Sort = Literal["money", "trouble", "answers"]

# Nothing happens before: a week is what every baseline has seen once.
QUIET_DAYS: Final = 7
SHARES: Final[dict[Sort, dict[str, float]]] = {
    "money": {"cost.spike": 4, "user.cost": 4, "call.outlier": 2.2, "price.unknown": 2, "traffic.silence": 1.7},
    "trouble": dict.fromkeys(("error.rate", "latency.p95", "provider.degraded", "slo.burn", "rate_limit.storm"), 1.0),
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

PLANNERS: Final[dict[str, Planner]] = {
    "cost.spike": money.cost_spike,
    "cost.daily": money.cost_daily,
    "user.cost": money.user_cost,
    "call.outlier": money.call_outlier,
    "price.unknown": money.price_unknown,
    "traffic.silence": money.traffic_silence,
    "error.rate": trouble.error_rate,
    "latency.p95": trouble.latency_p95,
    "provider.degraded": trouble.provider_degraded,
    "slo.burn": trouble.slo_burn,
    "rate_limit.storm": trouble.rate_limit_storm,
    "run.latency": trouble.run_latency,
    "error.novel": trouble.error_novel,
    "refusal.rate": answers.share_rule("refusal.rate", "refused", (0.1, 0.3)),
    "schema.validity": answers.share_rule("schema.validity", "invalid", (0.12, 0.4)),
    "guardrail.rate": answers.share_rule("guardrail.rate", "guarded", (0.12, 0.4)),
    "retrieval.hit_rate": answers.share_rule("retrieval.hit_rate", "missed", (0.4, 0.8)),
    "feedback.negative": answers.share_rule("feedback.negative", "disliked", (0.5, 0.8)),
    "evaluation.drop": answers.score_rule("evaluation.drop", "faithfulness"),
    "safety.regression": answers.score_rule("safety.regression", "safety"),
    "sentiment.shift": answers.score_rule("sentiment.shift", "sentiment"),
    "model.changed": answers.model_changed,
    "input.shift": answers.input_shift,
    "output.length": answers.output_length,
    "output.shift": answers.output_shift,
    "canary.failed": answers.canary_failed,
    "redaction.failed": answers.redaction_failed,
}


def plan(made: World, sort: Sort, dice: np.random.Generator) -> None:
    """Plan events one after another at each tenant, or in the whole world where they concern providers."""
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
    """Rules as often with a positive event as with a negative one, and never one for long.

    Where all weigh the same every rule comes once in each way before any comes again, so that none is left with few
    events; else they are drawn by their weights.
    """
    rounds = [(name, flag) for name in names for flag in (True, False)]
    if (weights == weights[0]).all() and len(names) > 1:
        while True:
            for place in dice.permutation(len(rounds)):
                yield rounds[int(place)]
    chances = np.repeat(weights, 2) / (2 * weights.sum())
    while True:
        for place in dice.choice(len(rounds), max(8, len(rounds)), p=chances):
            yield rounds[int(place)]


def counted(events: Iterable[Event], rule: str) -> tuple[int, int]:
    """(positive, negative) events of a rule."""
    known = [one.positive for one in events if one.rule == rule]
    return sum(known), len(known) - sum(known)
