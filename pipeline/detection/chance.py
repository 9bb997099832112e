"""How surprising a difference is: the tests that rules share, on the scale of standard deviations.

Real rates are not coin tosses: failures come in runs, and users of a kind come together. `dispersion` measures by how
much more a key's own past varies than independent calls would, and every test is divided by it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

Counts = Sequence[tuple[float, float]]

# A rate that was never seen may still be: so many hits are taken for granted among all that is known.
_UNSEEN: Final = 0.5
# With fewer stretches than this the past says little of how it varies.
_FEW: Final = 4
# What is assumed then: calls come in clusters of about this size.
_ASSUMED: Final = 1.5

Class = TypeVar("Class", str, int)


def poisson(observed: float, expected: float, payment: float = 1.0) -> float:
    """Signed root of the Poisson deviance of an excess; 0 where there is none.

    The amount is taken as a number of independent payments of one size. Unlike (o - e) / sqrt(e) it does not take a
    second rare payment for a sensation. (McCullagh, Nelder: Generalized Linear Models, 2nd ed., 2.4.)
    """
    if payment <= 0 or observed <= expected or expected <= 0:
        return 0.0
    made, due = observed / payment, expected / payment
    return math.sqrt(2 * (made * math.log(made / due) - (made - due)))


def usual_rate(hits: float, count: float) -> float:
    """The rate that a past suggests, never quite zero."""
    return (hits + _UNSEEN) / (count + 2 * _UNSEEN)


def rise(hits: float, count: float, usual_hits: float, usual_count: float, dispersion: float = 1.0) -> float:
    """How surprising it is that a rate has risen: signed root of the G statistic of two samples, over the dispersion.

    0 where it has not risen. (Sokal, Rohlf: Biometry, 3rd ed., 17.4.)
    """
    if count <= 0 or usual_count <= 0:
        return 0.0
    usual_hits, usual_count = usual_hits + _UNSEEN, usual_count + 2 * _UNSEEN
    if hits / count <= usual_hits / usual_count:
        return 0.0
    together = (hits + usual_hits) / (count + usual_count)
    g = 2 * (
        _term(hits, count * together)
        + _term(count - hits, count * (1 - together))
        + _term(usual_hits, usual_count * together)
        + _term(usual_count - usual_hits, usual_count * (1 - together))
    )
    return math.sqrt(max(0.0, g) / dispersion)


def _term(observed: float, expected: float) -> float:
    return observed * math.log(observed / expected) if observed > 0 and expected > 0 else 0.0


def dispersion(past: Counts) -> float:
    """By how much rates vary from stretch to stretch of the past, against independent calls: at least 1.

    Args:
        past: (hits, count) of each stretch.
    """
    known = [(hits, count) for hits, count in past if count > 0]
    total, hits = sum(count for _, count in known), sum(hits for hits, _ in known)
    if len(known) < _FEW or not 0 < hits < total:
        return _ASSUMED
    rate = hits / total
    pearson = sum((hits - count * rate) ** 2 / (count * rate * (1 - rate)) for hits, count in known)
    # The shorter the past, the more of the assumption stays.
    weight = len(known) / (len(known) + _FEW)
    return max(1.0, weight * pearson / (len(known) - 1) + (1 - weight) * _ASSUMED)


def means(mean: float, variance: float, count: float, usual: float, usual_variance: float, usual_count: float) -> float:
    """Welch's statistic of two means: positive where the first is higher; 0 where one has fewer than two values."""
    if count < 2 or usual_count < 2:
        return 0.0
    error = variance / count + usual_variance / usual_count
    return (mean - usual) / math.sqrt(error) if error > 0 else 0.0


class Shift(NamedTuple):
    """How far a distribution has moved.

    Attributes:
        psi: Population stability index, less what chance alone would make of samples of these sizes; may be negative.
        surprise: The G statistic on the scale of standard deviations (Wilson and Hilferty).
        moved: The class whose share has changed most, "" where there is none.
        share: Its share now.
        usual: Its usual share.
    """

    psi: float
    surprise: float
    moved: str
    share: float
    usual: float


def shift(now: Mapping[Class, int], usual: Mapping[Class, int], spread: float = 1.0) -> Shift:
    """Compare a distribution with the usual one.

    Args:
        now: Counts by class.
        usual: Usual counts by class.
        spread: Dispersion: how many calls are one independent observation.

    The index of two samples of sizes n and m over b classes is about (b - 1)(1/n + 1/m) where nothing has moved
    (Yurdakul, Naranjo: Statistical properties of the population stability index, Journal of Risk Model Validation
    14(4), 2020): that is taken off. Classes of which few are expected are put together, or one rare label would be a
    sensation.
    """
    count, usual_count = sum(now.values()), sum(usual.values())
    if not count or not usual_count:
        return Shift(0.0, 0.0, "", 0.0, 0.0)
    psi, g, classes = 0.0, 0.0, 0
    moved, most, shares = "", 0.0, (0.0, 0.0)
    for name, observed, known in _grouped(now, usual, count, usual_count):
        classes += 1
        # Half a call each, so that a class that is new or gone has a logarithm.
        share, before = (observed + 0.5) / (count + 1), (known + 0.5) / (usual_count + 1)
        part = (share - before) * math.log(share / before)
        psi += part
        together = (observed + known) / (count + usual_count)
        g += 2 * (_term(observed, count * together) + _term(known, usual_count * together))
        if part > most and name:
            moved, most, shares = name, part, (observed / count, known / usual_count)
    if classes < 2:
        return Shift(0.0, 0.0, "", 0.0, 0.0)
    psi -= (classes - 1) * (1 / count + 1 / usual_count) * spread
    return Shift(psi, _normal(g / spread, classes - 1), moved, *shares)


def g_ratio(now: Mapping[Class, int], usual: Mapping[Class, int]) -> float:
    """The G statistic of two samples over its degrees of freedom: 1 where only chance makes them differ."""
    count, usual_count = sum(now.values()), sum(usual.values())
    if not count or not usual_count:
        return 1.0
    g, classes = 0.0, 0
    for _, observed, known in _grouped(now, usual, count, usual_count):
        classes += 1
        together = (observed + known) / (count + usual_count)
        g += 2 * (_term(observed, count * together) + _term(known, usual_count * together))
    return g / (classes - 1) if classes > 1 else 1.0


def _grouped(
    now: Mapping[Class, int], usual: Mapping[Class, int], count: int, usual_count: int
) -> Iterable[tuple[str, int, int]]:
    """(class, count now, usual count); those of which fewer than five are expected in either come as one, nameless."""
    least = 5 * (count + usual_count) / min(count, usual_count)
    rest, rest_usual = 0, 0
    for name in {**now, **usual}:
        observed, known = now.get(name, 0), usual.get(name, 0)
        if observed + known >= least:
            yield str(name), observed, known
        else:
            rest, rest_usual = rest + observed, rest_usual + known
    if rest or rest_usual:
        yield "", rest, rest_usual


def _normal(chi_square: float, freedom: int) -> float:
    """A chi-square value on the scale of a standard normal one (Wilson, Hilferty 1931)."""
    return (math.cbrt(chi_square / freedom) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
