"""The quantile sketch: within one per cent, merged in any order, bounded."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.windows import sketch

values = st.lists(st.floats(min_value=0.2, max_value=1e8), min_size=1, max_size=200)


def made(items: list[float]) -> sketch.Sketch:
    counts: sketch.Sketch = {}
    for item in items:
        sketch.add(counts, item)
    return counts


@given(values, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_within_one_per_cent_of_the_true_one(items: list[float], q: float) -> None:
    true = sorted(items)[math.floor(q * (len(items) - 1))]
    found = sketch.quantile(made(items), q)
    assert found is not None
    assert abs(found - true) <= sketch.ACCURACY * true * 1.0001


@given(values, values, values)
def test_merging_has_one_result_in_whatever_order(a: list[float], b: list[float], c: list[float]) -> None:
    one, other = made(a), made(c)
    sketch.merge(one, made(b))
    sketch.merge(one, made(c))
    sketch.merge(other, made(b))
    sketch.merge(other, made(a))
    assert one == other == made([*a, *b, *c])


def test_merging_leaves_the_other_sketch_alone() -> None:
    empty: sketch.Sketch = {}
    other = made([1.0, 2.0])
    sketch.merge(empty, other)
    sketch.add(empty, 1.0)
    assert other == made([1.0, 2.0])


def test_a_sketch_is_json_as_it_is() -> None:
    counts = made([random.Random(1).lognormvariate(7, 1) for _ in range(100)])
    assert {int(place): count for place, count in json.loads(json.dumps(counts)).items()} == counts


def test_no_value_makes_a_sketch_grow_without_bound() -> None:
    counts = made([10.0**power for power in range(-300, 300)] + [0.0, -5.0, math.inf])
    spread = max(counts) - min(counts)
    assert spread <= 1_152
    assert sum(counts.values()) == 603


def test_nothing_measured_has_no_quantiles() -> None:
    assert sketch.quantiles({}, (0.5, 0.95)) == [None, None]


def test_above_counts_what_is_beyond_a_value() -> None:
    assert sketch.above(made([1.0, 10.0, 100.0, 1000.0]), 50.0) == 2


@pytest.mark.parametrize("value", [1.0, 1.5, 999.9, 12_345.6])
def test_a_bucket_stands_for_its_values(value: float) -> None:
    assert sketch.value_of(sketch.index(value)) == pytest.approx(value, rel=sketch.ACCURACY)
