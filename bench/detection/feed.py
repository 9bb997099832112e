"""Recorded calls as partials: what parts (c) and (d) of `bench detection` let the judge see, minute by minute."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from bench.detection.cells import Places
from bench.detection.play import Series, Told, rules, told_of
from pipeline.detection.judging import Judge
from pipeline.detection.registry import RULES
from pipeline.windows import sketch
from schemas.partial import Bucket, Cell, Partials, Source

DAY_MINUTES: Final = 1_440


class Spent(NamedTuple):
    """One call: who made it with which model, and its cost in nano-dollars; None where the price is unknown."""

    tenant: str
    feature: str
    provider: tuple[str, str]
    nano_usd: int | None


def judged(
    calls: Mapping[int, list[Spent]], first: int, last: int, only: Iterable[str] = (), step: int = 1
) -> tuple[list[Told], Series]:
    """What the rules tell of calls.

    Args:
        calls: By minute since 1970.
        first: First minute.
        last: Last minute, exclusive.
        only: Rules that are asked; all where none is named.
        step: Minutes between two records.

    Returns:
        First revisions of anomalies in minutes since `first`, and what naive rules need.
    """
    named = tuple(only)
    others = (entry.name for entry in RULES if named and entry.stage == "judge" and entry.name not in named)
    judge = Judge(1, rules("".join(f'["{name}"]\nenabled = false\n' for name in others)), publishes=False)
    series, told = Series(), list[Told]()
    for record in _records(calls, first, last, step):
        series.take(record, first, last - first)
        assert record.watermark is not None
        verdict = judge.apply(record, record.watermark + 300)
        told += [told_of(one, first) for one in verdict.anomalies if one.state == "open" and one.revision == 1]
    return told, series


def _records(calls: Mapping[int, list[Spent]], first: int, last: int, step: int) -> Iterator[Partials]:
    places = Places()
    for begin in range(first, last, step):
        cells: list[Cell] = []
        reached = 0
        for minute in range(begin, begin + step):
            by_source: dict[Source, list[int | None]] = {}
            for one in calls.get(minute, ()):
                source: Source = ("call", one.tenant, one.feature, *one.provider, "", "", "", "", "")
                by_source.setdefault(source, []).append(one.nano_usd)
            for source, nanos in by_source.items():
                place = places.take(minute, len(nanos))
                cells.append(Cell(source, False, minute, place, place + len(nanos) - 1, _bucket(nanos, place)))
            reached = places.passed(minute)
        yield Partials(0, 1, reached, "", tuple(cells), watermark=(begin + step) * 60_000)


def _bucket(nanos: list[int | None], place: int) -> Bucket:
    priced = [nano for nano in nanos if nano is not None]
    made = Bucket(calls=len(nanos), facts=len(nanos), unpriced=len(nanos) - len(priced))
    if priced:
        made.cost_nano_usd, made.cost_squares = sum(priced), sum((nano // 1_000) ** 2 for nano in priced)
        made.max_cost_nano_usd, made.max_cost_at = max(priced), place
    for _ in nanos:
        sketch.add(made.latency, 1_000.0)
    return made
