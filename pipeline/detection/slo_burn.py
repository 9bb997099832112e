"""`slo.burn`: an error budget is used up too fast, by failed calls or by slow ones.

Multi-window, multi-burn-rate alerts as in Google's SRE Workbook, chapter 5 (Alerting on SLOs), table 5-8: a burn rate
of 1 uses the whole budget of the period; a long window shows that it matters, a short one that it goes on.

    budget used   long window   short window   burn rate   becomes
    2 %           1 h           5 min          14.4        a page
    5 %           6 h           30 min         6           a page
    10 %          3 d           6 h            1           a ticket

Objectives stand in the rules file; without one the rule is silent. Pure: see `rule`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Positive, Taint, Tier
from pipeline.detection.scene import Scene
from pipeline.windows import bucket as buckets
from pipeline.windows import sketch
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span
from schemas.partial import Bucket

Part = Annotated[float, Meta(gt=0, lt=1)]


class Objective(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was promised of a feature or of a provider's model.

    Attributes:
        tenant: Of a feature: whose. None: everybody's.
        feature: Its name; None for an objective of providers.
        provider: Its name; None for an objective of features.
        model: One of the provider's models; None: each of them.
        success: Share of calls that must work, as 0.995.
        latency_ms: Calls must be as fast as this ...
        fast: ... in this share, as 0.95.
    """

    tenant: str | None = None
    feature: str | None = None
    provider: str | None = None
    model: str | None = None
    success: Part | None = None
    latency_ms: Positive | None = None
    fast: Part | None = None

    def __post_init__(self) -> None:
        if (self.feature is None) == (self.provider is None):
            raise ValueError("an objective names a feature or a provider")
        if self.success is None and self.latency_ms is None:
            raise ValueError("an objective says `success`, or `latency_ms` and `fast`")
        if (self.latency_ms is None) != (self.fast is None):
            raise ValueError("`latency_ms` and `fast` go together")

    def is_about(self, timeline: Timeline) -> bool:
        """Whether it was promised of this key."""
        key = timeline.key
        if key[0] == "feature":
            return self.feature == key[2] and self.tenant in (None, key[1])
        return key[0] == "provider" and self.provider == key[1] and self.model in (None, key[2])


class Burn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pair of windows.

    Attributes:
        long_minutes: The window that shows that it matters.
        short_minutes: The window that shows that it goes on.
        rate: Burn rate, at least, in both.
        tier: What it becomes: 1 a page, 2 a ticket.
    """

    long_minutes: Annotated[int, Meta(ge=30)]
    short_minutes: Annotated[int, Meta(ge=5)]
    rate: Positive
    tier: Tier = 1


class Used(NamedTuple):
    """Calls that count, and those that used up the budget."""

    calls: float
    bad: float


class SloBurn(KeyRecipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        objectives: What was promised.
        burns: Pairs of windows.
        period_days: What the error budget is for; at most 35.
        least_bad: Calls that used up budget in the long window, at least: with few calls one failure is a burn rate.
    """

    rule = "slo.burn"
    tier = 1
    taint: ClassVar[int] = Taint.NONE

    clear_minutes: NotNegative = 20.0
    longest_hours: Positive = 336.0
    objectives: tuple[Objective, ...] = ()
    burns: tuple[Burn, ...] = (Burn(60, 5, 14.4), Burn(360, 30, 6.0), Burn(4_320, 360, 1.0, 2))
    period_days: Annotated[int, Meta(ge=7, le=35)] = 28
    least_bad: Count = 8

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge every objective of the key; see `KeyRecipe`."""
        for objective in self.objectives:
            if not objective.is_about(scene.timeline):
                continue
            if objective.latency_ms is not None:
                # From now on hours are numbered by it.
                scene.timeline.objective_ms = objective.latency_ms
            for kind, allowed in _promises(objective):
                for burn in self.burns:
                    found = self._judge(scene, objective, kind, allowed, burn, firing)
                    if found is not None:
                        return found
        return None

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`; nothing has to be learned."""
        return "" if any(one.is_about(scene.timeline) for one in self.objectives) else "an objective"

    @property
    def warms_up(self) -> bool:
        """A new objective is judged at once."""
        return False

    def _judge(
        self, scene: Scene, objective: Objective, kind: str, allowed: float, burn: Burn, firing: bool
    ) -> Finding | None:
        short = _used(scene, objective, kind, burn.short_minutes)
        # An open finding is over when the short window has stopped burning.
        bound = burn.rate * (0.8 if firing else 1.0)
        if not short.calls or short.bad < bound * allowed * short.calls:
            return None
        long = _used(scene, objective, kind, burn.long_minutes)
        if long.bad < self.least_bad or long.bad < bound * allowed * long.calls:
            return None
        return self._finding(scene, objective, kind, allowed, burn, long)

    def _finding(
        self, scene: Scene, objective: Objective, kind: str, allowed: float, burn: Burn, long: Used
    ) -> Finding:
        rate = long.bad / long.calls / allowed
        used = self._budget_used(scene, kind, allowed)
        promised = (
            f"{100 * (1 - allowed):g} % of calls work"
            if kind == "success"
            else f"{100 * (1 - allowed):g} % of calls take at most {objective.latency_ms:,.0f} ms"
        )
        first = scene.minute - burn.long_minutes + 1
        days = self.period_days / rate
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(rate, 2),
            baseline=1.0,
            threshold=burn.rate,
            unit="burn rate",
            severity="SEV1" if burn.rate >= 10 else "SEV2" if burn.tier == 1 else "SEV3",
            why=f"{scene.who}: the promise that {promised} is broken {rate:.1f} times as fast as its budget allows, "
            f"over {_span(burn.long_minutes)} and still over {_span(burn.short_minutes)}; at this rate "
            f"{self.period_days} days of budget last {_span(round(days * 1_440))}; {100 * used:.0f} % of it are used.",
            began_at=first * MINUTE_MS,
            evidence=(
                scene.timeline.newest_failed(first, burn.long_minutes)
                if kind == "success"
                else scene.timeline.slowest(first, burn.long_minutes)
            ),
            details={
                "objective": kind,
                "calls": long.calls,
                "bad": long.bad,
                "long_minutes": burn.long_minutes,
                "short_minutes": burn.short_minutes,
                "budget_used": round(used, 4),
            },
            tier=burn.tier,
        )

    def _budget_used(self, scene: Scene, kind: str, allowed: float) -> float:
        """Part of the period's error budget that is used, as far as the period is known."""
        today, calls, bad = scene.minute // 1_440, 0.0, 0.0
        for day in range(today - self.period_days + 1, today + 1):
            known = scene.timeline.day(day)
            calls += known.calls
            bad += known.failed if kind == "success" else known.slow
        return bad / (allowed * calls) if calls else 0.0


def _promises(objective: Objective) -> Iterator[tuple[str, float]]:
    """(what was promised, share of calls that may break it)."""
    if objective.success is not None:
        yield "success", 1 - objective.success
    if objective.fast is not None:
        yield "latency", 1 - objective.fast


def _used(scene: Scene, objective: Objective, kind: str, minutes: int) -> Used:
    """What the last so many minutes used up: by blocks up to an hour, by whole hours beyond."""
    if minutes <= HOUR_MINUTES:
        return _of(scene.blocks(minutes), objective, kind)
    hours = minutes // HOUR_MINUTES
    if hours <= 24:
        return _of(scene.hours(hours), objective, kind)
    now, calls, bad = scene.minute // HOUR_MINUTES, 0.0, 0.0
    for hour in range(now - hours + 1, now + 1):
        known = scene.timeline.hour(hour)
        calls += known.calls
        bad += known.failed if kind == "success" else known.slow
    return Used(calls, bad)


def _of(bucket: Bucket, objective: Objective, kind: str) -> Used:
    if kind == "success":
        return Used(bucket.calls, buckets.failed(bucket.errors))
    assert objective.latency_ms is not None
    return Used(sum(bucket.latency.values()), sketch.above(bucket.latency, objective.latency_ms))


def _span(minutes: int) -> str:
    if minutes < 2 * HOUR_MINUTES:
        return f"{minutes} minutes"
    return f"{minutes // HOUR_MINUTES} hours" if minutes < 2_880 else f"{minutes // 1_440} days"
