"""Plays a world of `bench detection` to the judge, in this process or in several, and keeps what was told.

Naive rules see the same numbers: what a tenant cost in each minute, what failed and how slow it was at a provider's
model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.detection.days import MONDAY, play
from bench.detection.plan import Sort
from bench.detection.traffic import DAY
from bench.detection.truth import Event
from bench.detection.worlds import Style, world
from pipeline.detection.judging import Judge
from pipeline.detection.versions import Versions
from pipeline.windows import sketch
from schemas.anomaly import Anomaly
from schemas.control import EFFECT_DELAY_MS, Control
from schemas.partial import Partials

MINUTE_MS: Final = 60_000
# Naive rules over latencies and failures look at so many minutes at a time.
BLOCK: Final = 15


@dataclass(frozen=True, slots=True)
class Told:
    """An anomaly when it was first told.

    Attributes:
        rule: Its rule.
        minute: Minute of the world in which it was told.
        tenant: Whom it concerns; empty for providers.
        feature: Which feature; empty for all.
        provider: Provider and model; empty where it is about a tenant.
        what: Its sentence.
    """

    rule: str
    minute: int
    tenant: str = ""
    feature: str = ""
    provider: tuple[str, str] = ("", "")
    what: str = ""


@dataclass
class Series:
    """What naive rules look at.

    Attributes:
        cost: Dollars by tenant and minute.
        calls: Calls by provider's model and block.
        failed: Failed calls likewise.
        latency: Latency sketches likewise.
    """

    cost: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    calls: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    failed: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)
    latency: dict[tuple[str, str], dict[int, dict[int, int]]] = field(default_factory=dict)

    def take(self, record: Partials, base: int, minutes: int) -> None:
        """Count a record's cells; `base` is the first minute of the world."""
        for cell in record.cells:
            if cell.source[0] != "call":
                continue
            tenant, provider, at, bucket = (
                cell.source[1],
                (cell.source[3], cell.source[4]),
                cell.start - base,
                cell.bucket,
            )
            if tenant not in self.cost:
                self.cost[tenant] = np.zeros(minutes)
            self.cost[tenant][at] += bucket.cost_nano_usd / 1e9
            if provider not in self.calls:
                self.calls[provider], self.failed[provider] = (np.zeros(minutes // BLOCK + 1) for _ in range(2))
                self.latency[provider] = {}
            block = at // BLOCK
            self.calls[provider][block] += bucket.calls
            self.failed[provider][block] += sum(
                count for status, count in bucket.errors.items() if status in ("error", "timeout", "rate_limited")
            )
            sketch.merge(self.latency[provider].setdefault(block, {}), bucket.latency)

    def p95(self, provider: tuple[str, str]) -> NDArray[np.float64]:
        """95th percentile by block, in ms; nan where there were no calls."""
        found = np.full(len(self.calls[provider]), np.nan)
        for block, counts in self.latency[provider].items():
            value = sketch.quantile(counts, 0.95)
            if value:
                found[block] = value
        return found


@dataclass
class Played:
    """A world, what was told of it and what naive rules need.

    Attributes:
        name: Which world.
        tenants: How many.
        days: How many.
        events: The truth.
        told: What the rules told.
        series: For naive rules.
    """

    name: str
    tenants: int
    days: int
    events: list[Event]
    told: list[Told]
    series: Series


def played(sort: Sort, style: Style, seed: int, days: int = 0) -> Played:
    """Make a world and let the judge see it; `days` cuts it short."""
    made = world(sort, style, seed)
    if days:
        made.days = days
        made.events = [one for one in made.events if one.end <= days * DAY]
    base, minutes = MONDAY + made.weekday * DAY, made.days * DAY
    judge, series, told = Judge(1, rules(made.rules), publishes=False), Series(), list[Told]()
    for record in play(made, seed):
        series.take(record, base, minutes)
        assert record.watermark is not None
        verdict = judge.apply(record, record.watermark + 300)
        told += [told_of(one, base) for one in verdict.anomalies if one.state == "open" and one.revision == 1]
    return Played(made.name, len(made.tenants), made.days, made.events, told, series)


def rules(text: str) -> Versions:
    """A rules file that has always been in force."""
    return Versions([(-EFFECT_DELAY_MS, Control("rules", version=1, body={"text": text}))] if text else [])


def told_of(one: Anomaly, base: int) -> Told:
    """An anomaly's first revision, in minutes since minute `base`."""
    subject = one.subject
    provider = ("", "") if subject.get("tenant") else (subject.get("provider", ""), subject.get("model", ""))
    return Told(
        one.rule, one.detected_at // MINUTE_MS - base, subject.get("tenant", ""), subject.get("feature", ""), provider,
        one.why,
    )  # fmt: skip
