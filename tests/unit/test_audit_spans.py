"""Which offsets have a row, as text: exact, short, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.spans import read, write


@given(st.integers(0, 2**60), st.sets(st.integers(0, 3000)))
def test_what_is_written_is_read(first: int, places: set[int]) -> None:
    offsets = [first + place for place in sorted(places)]
    assert read(first, write(first, offsets)) == offsets


def test_rows_without_a_hole_take_a_few_characters_and_the_worst_case_a_bit_an_offset() -> None:
    assert write(5, range(5, 10_005)) == "rAJBO"
    every_other = write(0, range(0, 10_000, 2))
    assert len(every_other) <= 10_000 / 8 * 4 / 3 + 4


@pytest.mark.parametrize("text", ["x", "rA", "r!", "bé", "r/w==", "q////"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read(0, text)
