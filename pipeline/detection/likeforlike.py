"""Whether a key is worse, or only does something else: each of its parts against what is usual for that very part.

A provider's model answers short questions of one feature and long ones of another. When the second has a busy hour, the
model's latency and its share of failures rise, and nothing is wrong with it. Parts are `model` timelines: one tenant's
feature at one model. Asked only when a rule is about to open a finding. Pure.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from pipeline.detection.rule import Taint
from pipeline.detection.scene import Scene
from pipeline.windows import bucket as buckets
from pipeline.windows import sketch
from pipeline.windows.timeline import BLOCK_MINUTES, Timeline
from pipeline.windows.watermark import DAY_HOURS, HOUR_MINUTES
from schemas.partial import Bucket

# Calls of the last day that make something usual for a part.
USUAL_CALLS: Final = 30
# What is known must be at least this part of the key's calls, or nothing can be said.
KNOWN_SHARE: Final = 0.5


class Usual(NamedTuple):
    """What is usual for a part: calls of the last day, the share that failed, and latencies in ms."""

    calls: int
    failed: float
    median_ms: float
    p95_ms: float


def parts_of(scene: Scene) -> list[Timeline]:
    """What a provider's model, a tenant or a feature consists of."""
    if scene.key[0] == "provider":
        return scene.store.asking(scene.key)
    return scene.parts("model")


def usual_of(scene: Scene, part: Timeline) -> Usual | None:
    """What is usual for a part, made once an hour; None where too little is known."""
    now = scene.minute // HOUR_MINUTES

    def make() -> Usual | None:
        hours = [
            hour
            for hour in range(now - 1 - DAY_HOURS, now - 1)
            if part.has_hour(hour) and not part.tainted.get(hour, 0) & (Taint.LATENCY | Taint.FAILURES)
        ]
        total = buckets.merged(map(part.hour_total, hours))
        if total.calls < USUAL_CALLS:
            return None
        median, p95 = sketch.quantiles(total.latency, (0.5, 0.95))
        return Usual(total.calls, buckets.failed(total.errors) / total.calls, median or 0.0, p95 or 0.0)

    found: Usual | None = Scene(scene.store, part, scene.minute).remember("usual", make)
    return found


def _now(scene: Scene, length: int) -> list[tuple[Bucket, Usual]]:
    """The last `length` minutes of each part that something is known of."""
    count = length // BLOCK_MINUTES
    first = scene.minute // BLOCK_MINUTES - count + 1
    found = []
    for part in parts_of(scene):
        if part.last_minute < first * BLOCK_MINUTES:
            continue
        total = part.blocks_total(first, count)
        if total.calls:
            usual = usual_of(scene, part)
            if usual is not None:
                found.append((total, usual))
    return found


def slow_share(scene: Scene, length: int, ratio: float) -> float | None:
    """Share of the calls of the last `length` minutes that took longer than `ratio` times their part's usual p95.

    None where less than half of the calls are of parts that something is known of.
    """
    known, slow = 0, 0
    for total, usual in _now(scene, length):
        known += sum(total.latency.values())
        slow += sketch.above(total.latency, ratio * usual.p95_ms) if usual.p95_ms else 0
    return slow / known if known and known >= KNOWN_SHARE * scene.blocks(length).calls else None


def median_ratio(scene: Scene, length: int, least_calls: int = 5) -> float | None:
    """By how much the medians of parts have risen, weighted by calls; None as for `slow_share`."""
    weight, total_log = 0, 0.0
    for total, usual in _now(scene, length):
        calls = sum(total.latency.values())
        median = sketch.quantile(total.latency, 0.5)
        if calls >= least_calls and median and usual.median_ms:
            weight += calls
            total_log += calls * math.log(median / usual.median_ms)
    return math.exp(total_log / weight) if weight and weight >= KNOWN_SHARE * scene.blocks(length).calls else None


def usual_failures(scene: Scene, length: int) -> float:
    """Share of these very calls that would usually have failed; 0 where nothing is known of them."""
    known, failed = 0, 0.0
    for total, usual in _now(scene, length):
        known += total.calls
        failed += total.calls * usual.failed
    return failed / known if known else 0.0
