"""Mergeable quantiles: a map from logarithmic bucket to count, as in DDSketch.

Masson, Rim, Lee: "DDSketch: A fast and fully-mergeable quantile sketch with relative-error guarantees", PVLDB 12(12),
2019. A value x > 0 belongs to bucket ceil(log_gamma(x)) with gamma = (1 + a) / (1 - a); a quantile read from the middle
of its bucket is then within the relative accuracy a of the true one. Counts are integers and merging is addition, so
the result is the same in whatever order sketches are merged, which t-digests do not promise.

A sketch is a plain `dict[int, int]`: it is JSON as it is. Values are clamped to LOWEST..HIGHEST, which bounds a sketch
at 1,153 buckets without ever collapsing any. Must not know what it counts, nor a clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from math import ceil, log
from typing import Final

ACCURACY: Final = 0.01
LOWEST: Final = 0.1
HIGHEST: Final = 1e9

_GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GAMMA: Final = math.log(_GAMMA)
_PER_LOG: Final = 1 / _LOG_GAMMA
_MIDDLE: Final = 2 / (_GAMMA + 1)

Sketch = dict[int, int]


def index(value: float) -> int:
    """Bucket of a value; zero and below count as LOWEST."""
    if LOWEST < value < HIGHEST:
        return ceil(log(value) * _PER_LOG)
    return ceil(log(LOWEST if value <= LOWEST else HIGHEST) * _PER_LOG)


def add(sketch: Sketch, value: float, count: int = 1) -> None:
    """Count a value."""
    where = index(value)
    sketch[where] = sketch.get(where, 0) + count


def merge(into: Sketch, other: Mapping[int, int]) -> None:
    """Add another sketch's counts to `into`."""
    if not into:
        into.update(other)
        return
    known = into.get
    for where, count in other.items():
        into[where] = known(where, 0) + count


def quantile(sketch: Mapping[int, int], q: float) -> float | None:
    """The value at rank floor(q * (n - 1)), within 1 %; None for an empty sketch."""
    return quantiles(sketch, (q,))[0]


def quantiles(sketch: Mapping[int, int], wanted: Iterable[float]) -> list[float | None]:
    """Several quantiles, rising, with one pass."""
    total = sum(sketch.values())
    if not total:
        return [None for _ in wanted]
    found: list[float | None] = []
    places = iter(sorted(sketch))
    place, seen = 0, 0
    for q in wanted:
        rank = math.floor(q * (total - 1))
        while seen <= rank:
            place = next(places)
            seen += sketch[place]
        found.append(value_of(place))
    return found


def value_of(place: int) -> float:
    """What a bucket stands for: the value with the same relative distance to both of its ends."""
    return _MIDDLE * math.exp(place * _LOG_GAMMA)


def above(sketch: Mapping[int, int], value: float) -> int:
    """How many counted values lie above the bucket of `value`."""
    where = index(value)
    return sum(count for place, count in sketch.items() if place > where)
