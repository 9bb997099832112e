"""Told against true: which anomaly belongs to which event, and what precision, recall and delay come to. Pure.

An anomaly of the event's rule and subject, from its beginning until a while after its end (windows still hold it), has
found the event. One that is neither in a positive event of its rule nor a true consequence of another positive event is
false, wherever it is: in a hard negative or on an ordinary day.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from bench.detection.play import Played, Told
from bench.detection.truth import CONSEQUENCES, Event
from bench.figures import Report

# Minutes after the end of an event in which it may still be told of.
GRACE: Final = 120
# Rules over answers look at windows of up to a day.
LONG_GRACE: Final = 24 * 60
LONG: Final = frozenset((
    "refusal.rate", "schema.validity", "guardrail.rate", "retrieval.hit_rate", "feedback.negative", "evaluation.drop",
    "safety.regression", "sentiment.shift", "model.changed", "input.shift", "output.length", "output.shift",
    "run.latency", "cost.daily", "slo.burn",
))  # fmt: skip
# A cause of these is told once, by the rule that explains the others; and what is none of one rule may be of another.
TROUBLE: Final = frozenset(("error.rate", "latency.p95", "provider.degraded", "slo.burn", "rate_limit.storm"))
MONTH: Final = 30


@dataclass
class Score:
    """What a rule did in some worlds.

    Attributes:
        positives: Events that it should find.
        found: Of these, how many were told, by it or by a rule that explains it.
        found_by_own: Of these, how many it told itself.
        negatives: Hard negatives.
        taken: Of these, how many it took for positive ones.
        right: Anomalies that belong to a positive event.
        false: Anomalies that belong to nothing.
        delays: Minutes from the beginning of an event to its anomaly.
        visible: Positive events that anybody could see.
        visible_found: Of these, how many were found.
        usd: What the positive events cost.
        usd_found: What those cost that were found.
        tenant_months: Tenants times thirty days.
    """

    positives: int = 0
    found: int = 0
    found_by_own: int = 0
    negatives: int = 0
    taken: int = 0
    right: int = 0
    false: int = 0
    delays: list[float] = field(default_factory=list)
    visible: int = 0
    visible_found: int = 0
    usd: float = 0.0
    usd_found: float = 0.0
    tenant_months: float = 0.0

    @property
    def recall(self) -> float:
        """Share of the positive events that were found."""
        return self.found / self.positives if self.positives else math.nan

    @property
    def precision(self) -> float:
        """Share of the anomalies that are right."""
        told = self.right + self.false
        return self.right / told if told else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both > 0 else 0.0


def concerns(event: Event, told: Told) -> bool:
    """Whether an anomaly is about whom an event is about: the same tenant or provider, or a part of it."""
    if event.kind == "everywhere":
        return True
    if event.provider != ("", "") and not event.tenant:
        # A provider's trouble may be told of the provider, or of everyone who asks it.
        return told.provider in (event.provider, ("", "")) or bool(told.tenant)
    if told.tenant:
        return told.tenant == event.tenant and (not event.feature or told.feature in ("", event.feature))
    # A tenant's trouble may be a good part of its provider's.
    return told.provider != ("", "") and event.rule in CONSEQUENCES and not _is_money(event.rule)


def _is_money(rule: str) -> bool:
    return rule in ("cost.spike", "cost.daily", "user.cost", "call.outlier")


def is_in(event: Event, told: Told) -> bool:
    """Whether an anomaly falls into an event or shortly after."""
    return event.start <= told.minute <= event.end + (LONG_GRACE if told.rule in LONG else GRACE)


def _is_told_by(event: Event, rule: str) -> bool:
    """Whether a rule may tell of an event in the place of its own, because one cause is one finding."""
    return event.rule in (*TROUBLE, "user.cost") and rule in CONSEQUENCES[event.rule]


def explains(event: Event, told: Told) -> bool:
    """Whether an anomaly is a true consequence of an event of another rule."""
    if not event.positive and event.rule not in TROUBLE:
        return False
    return told.rule in CONSEQUENCES.get(event.rule, ()) and is_in(event, told) and concerns(event, told)


def score(worlds: Iterable[Played], rule: str) -> Score:
    """What a rule did in worlds."""
    found = Score()
    for one in worlds:
        _add(found, one, rule)
    return found


def _add(into: Score, world: Played, rule: str) -> None:
    told = sorted((one for one in world.told if one.rule == rule), key=lambda one: one.minute)
    events = [one for one in world.events if one.rule == rule]
    into.tenant_months += world.tenants * world.days / MONTH
    belongs: set[int] = set()
    for event in (one for one in events if one.positive):
        mine = [at for at, one in enumerate(told) if is_in(event, one) and concerns(event, one)]
        belongs.update(mine)
        into.positives += 1
        into.visible += event.is_visible
        into.usd += 0.0 if math.isnan(event.excess_usd) else event.excess_usd
        told_by = [
            one.minute
            for one in world.told
            if _is_told_by(event, one.rule) and event.start <= one.minute <= event.end + GRACE and concerns(event, one)
        ]
        into.found_by_own += bool(mine)
        if mine or told_by:
            into.found += 1
            into.visible_found += event.is_visible
            into.usd_found += 0.0 if math.isnan(event.excess_usd) else event.excess_usd
            into.delays.append(min([*(told[at].minute for at in mine[:1]), *told_by]) - event.start)
    into.right += len(belongs)
    false = [
        one for at, one in enumerate(told) if at not in belongs and not any(explains(e, one) for e in world.events)
    ]
    into.false += len(false)
    for event in (one for one in events if not one.positive):
        into.negatives += 1
        into.taken += any(is_in(event, one) and concerns(event, one) for one in false)


def add(report: Report, name: str, one: Score, prefix: str = "") -> None:
    """The figures of a rule and source."""
    full = f"{prefix}{name}"
    low, high = interval(one.found, one.positives)
    report.add(f"{full}.recall", [low, one.recall, high], "1")
    report.add(f"{full}.precision", [one.precision], "1")
    report.add(f"{full}.f1", [one.f1], "1")
    if one.delays:
        ordered = sorted(one.delays)
        for label, at in (("p50", 0.5), ("p95", 0.95)):
            report.add(f"{full}.delay_{label}_s", [60.0 * ordered[min(len(ordered) - 1, int(at * len(ordered)))]], "s")
    if one.tenant_months:
        report.add(f"{full}.false_per_tenant_month", [one.false / one.tenant_months], "1")
    if one.found_by_own < one.found:
        report.add(f"{full}.recall_own", [one.found_by_own / one.positives], "1")
    report.add(f"{full}.positives", [one.positives], "events")
    report.add(f"{full}.negatives", [one.negatives], "events")
    report.add(f"{full}.negatives_taken", [one.taken], "events")
    if 0 < one.visible < one.positives:
        report.add(f"{full}.recall_visible", [one.visible_found / one.visible], "1")
    if one.usd:
        report.add(f"{full}.recall_usd", [one.usd_found / one.usd], "1")


def interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
