"""Gates skip work and nothing else: with and without them the findings are the same, for every pattern there is."""

from __future__ import annotations

import random
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import Pattern

from pipeline.redaction import Engine, RedactionConfig, recognizers
from pipeline.redaction.gates import _GATES, PINNED, Gates, digest
from tests.unit import redaction_faults as faults

DEFAULTS = recognizers.load(RedactionConfig())
PATTERNS = [(r, p) for r in DEFAULTS for p in getattr(r, "patterns", ())]
PUNCTUATION = "-xX‐‑‒–—―−ー－ \u00a0\u00ad\u200b\u2060\u3000()（）［］.[]/~⁓∼～"


@pytest.fixture(scope="module")
def gated() -> Engine:
    return Engine(RedactionConfig(ner=False))


@pytest.fixture(scope="module")
def ungated() -> Engine:
    return Engine(RedactionConfig(ner=False, gates=False))


def by_name(recognizer: Any) -> str:
    return type(recognizer).__name__


def test_the_gates_are_made_for_the_patterns_that_are_installed() -> None:
    assert digest(DEFAULTS) == PINNED
    assert set(_GATES) == recognizers.EXPECTED


def test_if_a_pattern_changes_nothing_is_skipped() -> None:
    changed = recognizers.load(RedactionConfig())
    card = next(r for r in changed if by_name(r) == "CreditCardRecognizer")
    card.patterns = [Pattern("other", r"\bcard\b", 0.5)]
    assert digest(changed) != PINNED
    assert [by_name(r) for r, *_ in Gates(changed, pinned=False).work("none")] == [by_name(r) for r in changed]


def test_a_line_without_digits_dots_or_signs_is_not_searched_at_all() -> None:
    assert list(Gates(DEFAULTS, pinned=True).work("Nothing to see here.\nMove along - please: thanks!")) == []


def test_a_recogniser_of_the_users_is_never_skipped_even_with_a_known_name() -> None:
    fake = type("EmailRecognizer", (faults.Badge,), {"__module__": "elsewhere"})()
    assert list(Gates([*DEFAULTS, fake], pinned=True).work("no sign of it")) == [(fake, "no sign of it", 0)]


@pytest.mark.parametrize("folded", ["\u017f", "\u212a", "\u0130", "\u0131", "\u0663"])
def test_a_text_with_characters_taken_for_ascii_ones_is_searched_by_all(folded: str) -> None:
    done = [by_name(r) for r, *_ in Gates(DEFAULTS, pinned=True).work(f"a {folded} b")]
    assert sorted(done) == sorted(recognizers.EXPECTED)


@pytest.mark.parametrize(("recognizer", "pattern"), PATTERNS, ids=[f"{by_name(r)}-{p.name}" for r, p in PATTERNS])
def test_whatever_a_pattern_matches_passes_its_gate(recognizer: Any, pattern: Any) -> None:
    flags = recognizer.global_regex_flags
    compiled = regex.compile(pattern.regex, flags)
    gates = Gates([recognizer], pinned=True)
    matched = 0

    @given(st.from_regex(_for_stdlib(pattern.regex, flags)), st.sampled_from(["", " ", "\n", "a", "1", "é", "."]))
    @settings(max_examples=25, deadline=None, database=None)
    def check(text: str, around: str) -> None:
        nonlocal matched
        text = around + text + around
        found = [m.span() for m in compiled.finditer(text) if m.group()]
        if found:
            matched += 1
            parts = [(offset, offset + len(part)) for _, part, offset in gates.work(text)]
            for start, end in found:
                assert any(low <= start and end <= high for low, high in parts)

    check()
    assert matched > 0


def _for_stdlib(pattern: str, flags: int) -> Any:
    import re

    return re.compile(pattern, re.IGNORECASE if flags & regex.IGNORECASE else 0)


@given(st.lists(st.tuples(st.text(alphabet=PUNCTUATION, max_size=4), st.integers(0, 99_999)), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_whatever_looks_like_a_phone_number_is_found_with_and_without(
    gated: Engine, ungated: Engine, groups: list[tuple[str, int]]
) -> None:
    text = "".join(f"{punctuation}{number}" for punctuation, number in groups)
    variants = [text, f"+{text}", f"call {text} now", f"(0){text}\nx{text}"]
    assert gated.find(variants) == ungated.find(variants)


def test_years_and_other_short_numbers_are_found_with_and_without(gated: Engine, ungated: Engine) -> None:
    texts = [f"{prefix}{number}" for prefix in ("", "+", "0") for number in range(1_600, 1_700)]
    answers = gated.find(texts)
    assert answers == ungated.find(texts)
    assert any(answers)


def test_on_mutations_of_known_values_the_findings_are_the_same(gated: Engine, ungated: Engine) -> None:
    values = [
        *["jane.doe@example.com", "4111 1111 1111 1111", "(202) 555-0173", "192.168.17.45", "2001:db8::ff00:42:8329"],
        *["DE89 3704 0044 0532 0130 00", "856-45-6789", "00:1A:2B:3C:4D:5E", "001a.2b3c.4d5e", "12/05/1999", "MAY-99"],
        *["https://example.com/a", "A1234567", "943 476 5919", "BB1388568", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "::"],
        *["7f3e8c1a-9b2d-4e5f-a6b7-c8d9e0f1a2b3", "911-70-1234", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"],
    ]
    draw = random.Random(5)
    texts = []
    for _ in range(400):
        text = list(f"{draw.choice(values)}{draw.choice([' ', '', chr(10), ', '])}{draw.choice(values)}")
        for _ in range(draw.randint(0, 4)):
            text[draw.randrange(len(text))] = draw.choice(" -.:/@\n_1aZ9é\u00a0x")
        texts.append("".join(text))
    answers = gated.find(texts)
    assert answers == ungated.find(texts)
    assert len({f.entity for a in answers for f in a if not isinstance(f, str)}) >= 15
