"""Columns of calls as the cells that `meter` would make of them: the same sums, without a fact for every call.

`tests/unit/test_bench_detection.py` holds both sides against each other. What is left out is the minute that goes on,
which `meter` shows in glimpses: a finding may come up to a minute later here than it would.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.detection.traffic import EVALUATIONS, FINISHES, LABELS, LANGUAGES, STATUSES, Columns, Feature, Tenant
from pipeline.windows import sketch
from pipeline.windows.bucket import FAILURES
from schemas.partial import Bucket, Cell, Failure, Judged, Quality, Shape, Source

_GAMMA_LOG: Final = math.log((1 + sketch.ACCURACY) / (1 - sketch.ACCURACY))
INPUT_TOKENS: Final = 100
OUTPUT_TOKENS: Final = 20


def source(tenant: Tenant, feature: Feature, kind: str = "call") -> Source:
    """As what a feature's calls are counted."""
    return (kind, tenant.name, feature.name, *feature.provider, "", "", "", "", "")


def join(parts: list[Columns]) -> Columns:
    """Columns of several features, or of what was added to them, as one."""
    names = sorted({name for part in parts for name in part})
    found: Columns = {}
    for name in names:
        kind = next(part[name].dtype for part in parts if name in part)
        empty = -1 if name in ("label", "language", "finish", "topic", "length") else 0
        found[name] = np.concatenate(
            [part[name] if name in part else np.full(len(part["minute"]), empty, kind) for part in parts]
        )
    return found


class Places:
    """Source offsets: every call has one of its own, and those of a later minute are higher."""

    BITS: Final = 18

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}

    def take(self, minute: int, count: int) -> int:
        """The first of so many of a minute since 1970."""
        used = self._taken.get(minute, 0)
        self._taken[minute] = used + count
        return (minute << self.BITS) + used

    def passed(self, minute: int) -> int:
        """The offset that has been reached at the end of a minute, which then has no more."""
        self._taken.pop(minute, None)
        return (minute + 1) << self.BITS


def cells(tenant: Tenant, columns: Columns, day: int, base: int, places: Places) -> dict[int, list[Cell]]:
    """Cells of one tenant's day by minute since 1970; `base` is the first minute of the world."""
    by_minute: dict[int, list[Cell]] = {}
    count = len(columns["minute"])
    if not count:
        return by_minute
    order = np.argsort(columns["minute"] * len(tenant.features) + columns["feature"], kind="stable")
    ordered = {name: values[order] for name, values in columns.items()}
    group = ordered["minute"] * len(tenant.features) + ordered["feature"]
    for at, begin, end in _groups(group):
        minute, number = divmod(at, len(tenant.features))
        feature = tenant.features[number]
        whole = feature.answers is not None
        bucket = Bucket(quality=Quality(), shape=Shape()) if whole else Bucket()
        start = base + day * 1_440 + minute
        first = places.take(start, end - begin)
        _money(bucket, ordered, begin, end, first)
        if whole:
            _answers(bucket, ordered, begin, end, first, feature)
        by_minute.setdefault(start, []).append(
            Cell(source(tenant, feature), False, start, first, first + end - begin - 1, bucket)
        )
    if tenant.users:
        _users(tenant, columns, day, base, places, by_minute)
    return by_minute


def _groups(group: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    edges = np.flatnonzero(np.diff(group)) + 1
    begins = [0, *edges.tolist()]
    ends = [*edges.tolist(), len(group)]
    for begin, end in zip(begins, ends, strict=True):
        yield int(group[begin]), begin, end


def _money(bucket: Bucket, columns: Columns, begin: int, end: int, first: int) -> None:
    nano, status = columns["nano"][begin:end], columns["status"][begin:end]
    priced = nano[~columns["unpriced"][begin:end]]
    bucket.calls = bucket.facts = end - begin
    bucket.unpriced = int(end - begin - len(priced))
    bucket.input_tokens, bucket.output_tokens = INPUT_TOKENS * bucket.calls, OUTPUT_TOKENS * bucket.calls
    if len(priced):
        bucket.cost_nano_usd = int(priced.sum())
        micro = priced // 1_000
        bucket.cost_squares = int((micro * micro).sum())
        most = int(priced.max())
        bucket.max_cost_nano_usd = most
        where = np.flatnonzero((nano == most) & ~columns["unpriced"][begin:end])
        bucket.max_cost_at = first + int(where[-1])
    latency = columns["latency"][begin:end]
    place = np.ceil(np.log(np.clip(latency, sketch.LOWEST, sketch.HIGHEST)) / _GAMMA_LOG).astype(int)
    bucket.latency = _counts(place)
    slowest = latency.max()
    bucket.slowest_ms = int(slowest)
    bucket.slowest_at = first + int(np.flatnonzero(latency == slowest)[-1])
    if status.any():
        bucket.errors = {STATUSES[code]: count for code, count in _counts(status).items() if code}
        bucket.failed_at = first + int(np.flatnonzero(status)[-1])
    if "patient" in columns:
        bucket.patient = int((columns["patient"][begin:end] > 0).sum())
        bucket.impatient = int((columns["patient"][begin:end] < 0).sum())


def _answers(bucket: Bucket, columns: Columns, begin: int, end: int, first: int, feature: Feature) -> None:
    quality, shape = bucket.quality, bucket.shape
    assert quality is not None and shape is not None
    part = slice(begin, end)
    well = columns["status"][part] == 0
    number = end - begin
    quality.refusals = int((columns["refused"][part] & well).sum())
    quality.schema_checked, quality.schema_invalid = int(well.sum()), int((columns["invalid"][part] & well).sum())
    quality.guarded, quality.guard_hits = number, int(columns["guarded"][part].sum())
    if quality.guard_hits:
        quality.guardrails = {"pii": quality.guard_hits}
    quality.retrievals, quality.misses = number, int(columns["missed"][part].sum())
    quality.requested, quality.hits = 4 * number, 4 * (number - quality.misses)
    for name in ("label", "language", "finish", "topic", "length"):
        values = columns[name][part]
        values = values[well & (values >= 0)]
        counts = _counts(values)
        if name == "label":
            shape.labels = {LABELS[code]: count for code, count in counts.items()}
        elif name == "language":
            shape.languages = {LANGUAGES[code]: count for code, count in counts.items()}
        elif name == "finish":
            shape.finishes = {FINISHES[code]: count for code, count in counts.items()}
        elif name == "topic":
            shape.topics = counts
        else:
            shape.lengths = counts
    failures = columns["failure"][part]
    for at in np.flatnonzero(failures).tolist():
        name = str(failures[at])
        if name in quality.failures:
            quality.failures[name].count += 1
        elif len(quality.failures) < FAILURES:
            quality.failures[name] = Failure(1, 0, "api_error", 500, words_of(int(failures[at])))
        else:
            continue
        quality.failures[name].at = first + at
    models = _counts(columns["model"][part][well])
    shape.models = {feature.provider[1] if not code else f"other-{code}": count for code, count in models.items()}


def words_of(kind: int) -> tuple[str, ...]:
    """Hashed words of a kind of error's message."""
    return tuple(f"{kind:06x}{place:02x}" for place in range(4 + kind % 5))


def _counts(values: NDArray[Any]) -> dict[int, int]:
    if len(values) == 1:
        return {int(values[0]): 1}
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _users(
    tenant: Tenant, columns: Columns, day: int, base: int, places: Places, by_minute: dict[int, list[Cell]]
) -> None:
    """Cells of users, which count money and nothing else."""
    known = columns["user"] >= 0
    minute, user = columns["minute"][known], columns["user"][known]
    nano, unpriced = columns["nano"][known], columns["unpriced"][known]
    most = int(user.max(initial=0)) + 1
    order = np.argsort(minute * most + user, kind="stable")
    group = (minute * most + user)[order]
    ordered = {
        "nano": nano[order],
        "unpriced": unpriced[order],
        "status": columns["status"][known][order],
        "latency": columns["latency"][known][order],
    }
    if not len(group):
        return
    for at, begin, end in _groups(group):
        minute_of, number = divmod(at, most)
        bucket, start = Bucket(), base + day * 1_440 + minute_of
        first = places.take(start, end - begin)
        _money(bucket, ordered, begin, end, first)
        by_minute.setdefault(start, []).append(
            Cell(("user", tenant.name, f"u{number}"), False, start, first, first + end - begin - 1, bucket)
        )


def judged_cells(
    tenant: Tenant,
    feature: Feature,
    columns: Columns,
    shares: dict[str, NDArray[np.float64]],
    day: int,
    base: int,
    places: Places,
    dice: np.random.Generator,
) -> dict[int, list[Cell]]:
    """What people and evaluators say of a feature's answers: cells by minute.

    Args:
        tenant: The tenant.
        feature: The feature.
        columns: Its calls of the day.
        shares: By minute of the day: share of bad feedback as `disliked`, and how far the mean of each score is moved.
        day: The day.
        base: First minute of the world.
        places: Source offsets.
        dice: Chance.
    """
    answers = feature.answers
    assert answers is not None
    minute = columns["minute"]
    rated = minute[dice.random(len(minute)) < answers.rated]
    disliked = dice.random(len(rated)) < shares["disliked"][rated]
    found: dict[int, Quality] = {}
    facts: dict[int, int] = {}
    for at, bad in zip(rated.tolist(), disliked.tolist(), strict=True):
        quality = found.setdefault(at, Quality())
        quality.rated += 1
        quality.liked += not bad
        quality.disliked += bad
        facts[at] = facts.get(at, 0) + 1
    for name in EVALUATIONS:
        mean, deviation = answers.scores[name]
        asked = minute[dice.random(len(minute)) < answers.judged]
        scores = np.clip(mean + shares[name][asked] + deviation * dice.standard_normal(len(asked)), 0, 1)
        for at, score in zip(asked.tolist(), scores.tolist(), strict=True):
            judged = found.setdefault(at, Quality()).judged.setdefault(name, Judged())
            judged.count += 1
            judged.thousandths += round(score * 1_000)
            judged.squares += round(score * score * 1_000)
            facts[at] = facts.get(at, 0) + 1
    by_minute: dict[int, list[Cell]] = {}
    for at, quality in sorted(found.items()):
        start = base + day * 1_440 + at
        first = places.take(start, facts[at])
        bucket = Bucket(facts=facts[at], quality=quality, shape=Shape())
        cell = Cell(source(tenant, feature, "judged"), False, start, first, first + facts[at] - 1, bucket)
        by_minute.setdefault(start, []).append(cell)
    return by_minute


def run_cells(
    tenant: Tenant, feature: Feature, ended: NDArray[Any], minutes: NDArray[Any], day: int, base: int, places: Places
) -> dict[int, list[Cell]]:
    """Durations of runs, counted in the minute in which they were known to be over."""
    by_minute: dict[int, list[Cell]] = {}
    for at in sorted(set(ended.tolist())):
        start, taken = base + day * 1_440 + at, minutes[ended == at]
        quality = Quality()
        for one in taken.tolist():
            sketch.add(quality.runs, 60_000.0 * one)
        first = places.take(start, 1)
        bucket = Bucket(facts=1, quality=quality, shape=Shape())
        by_minute.setdefault(start, []).append(
            Cell(source(tenant, feature, "judged"), False, start, first, first, bucket)
        )
    return by_minute
