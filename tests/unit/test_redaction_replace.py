"""Replacing: no character of a finding survives, and what was not found stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.redaction import Finding, apply


def test_a_finding_becomes_its_type_in_angle_brackets() -> None:
    text = "Ask Jane Doe at 10.0.0.1."
    findings = [Finding("IP_ADDRESS", 16, 24, 0.6), Finding("PERSON", 4, 12, 0.85)]
    assert apply(text, findings) == ("Ask <PERSON> at <IP_ADDRESS>.", {"PERSON": 1, "IP_ADDRESS": 1})


def test_overlapping_findings_become_one_replacement_named_after_the_surest() -> None:
    text = "to jane@example.com now"
    findings = [Finding("URL", 8, 19, 0.5), Finding("EMAIL_ADDRESS", 3, 19, 1.0)]
    assert apply(text, findings) == ("to <EMAIL_ADDRESS> now", {"EMAIL_ADDRESS": 1})


def test_equally_sure_findings_are_named_after_the_longest() -> None:
    assert apply("abcdef", [Finding("SHORT", 0, 2, 0.5), Finding("LONG", 1, 6, 0.5)]) == ("<LONG>", {"LONG": 1})


def test_a_chain_of_overlaps_leaves_nothing_between() -> None:
    chain = [Finding("A", 0, 3, 0.1), Finding("B", 2, 6, 0.9), Finding("C", 5, 8, 0.2)]
    assert apply("0123456789", chain) == ("<B>89", {"B": 1})


def test_findings_that_only_touch_are_replaced_each() -> None:
    assert apply("abcd", [Finding("X", 0, 2, 0.5), Finding("X", 2, 4, 0.5)]) == ("<X><X>", {"X": 2})


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (0, 5), (2, 2), (3, 1)])
def test_impossible_offsets_are_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        apply("abcd", [Finding("X", start, end, 0.5)])


@given(st.data())
def test_exactly_the_characters_outside_of_all_findings_survive_in_order(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 40))
    text = "".join(chr(0x4E00 + i) for i in range(size))  # every character is different
    spans = data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.integers(1, size)), max_size=8))
    findings = [Finding(f"T{i % 3}", min(a, b - 1), max(a + 1, b), 0.1 * (i % 4)) for i, (a, b) in enumerate(spans)]
    replaced, counts = apply(text, findings)
    covered = {i for f in findings for i in range(f.start, f.end)}
    assert [c for c in replaced if ord(c) >= 0x4E00] == [c for i, c in enumerate(text) if i not in covered]
    assert sum(counts.values()) == replaced.count("<")
