"""Gates skip work and nothing else: with and without them the findings are the same, for every pattern there is."""

from __future__ import annotations

import base64
import random
import re
import sys
from dataclasses import replace
from typing import Any

import phonenumbers
import pytest
import regex
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from presidio_analyzer import Pattern, PatternRecognizer

from pipeline.redaction import Engine, RedactionConfig, derive, gates, recognizers
from pipeline.redaction.derive import Underivable, necessity, stand_in
from pipeline.redaction.gates import Gates, patterns_of
from pipeline.redaction.kinds import phones
from pipeline.redaction.kinds.base import Kind
from pipeline.redaction.kinds.matcher import NEEDS as PHONE_NEEDS
from pipeline.redaction.kinds.shape import Sought
from pipeline.redaction.sieve import Sieve
from tests.unit import redaction_faults as faults

ALL = recognizers.load(RedactionConfig())
STOCK = [
    r for r in recognizers.load(RedactionConfig(recognizers="presidio")) if type(r).__name__ in recognizers.REPLACED
]
PATTERNS = [(r, need.pattern, need.flags) for r in [*ALL, *STOCK] for need in patterns_of(r) or []]
BOTH = [pytest.param(True, id="hyperscan"), pytest.param(False, id="python")]


@pytest.fixture(scope="module")
def ungated() -> Engine:
    return Engine(RedactionConfig(ner=False, gates=False))


@pytest.fixture(scope="module", params=BOTH)
def gated(request: pytest.FixtureRequest) -> Engine:
    return Engine(RedactionConfig(ner=False, hyperscan=request.param))


def same(gated: Engine, ungated: Engine, texts: list[str]) -> None:
    for text, one, other in zip(texts, gated.find(texts), ungated.find(texts), strict=True):
        assert one == other, repr(text)


def test_every_recogniser_of_ours_and_of_presidios_is_gated() -> None:
    assert Gates(ALL, hyperscan=False).complete
    assert Gates(recognizers.load(RedactionConfig(recognizers="presidio")), hyperscan=False).complete


def test_a_text_without_anything_telling_is_not_searched_at_all() -> None:
    gates_ = Gates(ALL)
    text = "nothing to see here.\nmove along, please"
    assert gates_.look(f"{text} - you: thanks!").searches == []
    assert Sieve.load(gates_.sieve.dump()).is_silent("nothing to see here")
    assert not gates_.sieve.is_silent("jane.doe@example.com")


def test_a_recogniser_with_a_search_of_its_own_is_never_skipped_even_with_a_known_name() -> None:
    fake = type("EmailRecognizer", (faults.Badge,), {"__module__": "elsewhere", "analyze": lambda *_: []})()
    (search,) = Gates([fake], hyperscan=False).look("no sign of it").searches
    assert (search.recognizer, search.start, search.end) == (fake, 0, 13)


@pytest.mark.parametrize(
    "pattern", [r"x*", r"[[:alpha:]]+", r"(?:foo){e<=1}", r"\p{Lu}x", r"(?|a|b)", r"a(?R)?b", r"(?P<n>a)(?P>n)"]
)
def test_a_pattern_that_may_match_nothing_or_is_in_another_dialect_is_never_skipped(pattern: str) -> None:
    with pytest.raises(Underivable):
        necessity(pattern)
    strange = PatternRecognizer("STRANGE", patterns=[Pattern("strange", pattern, 0.5)])
    assert not Gates([strange], hyperscan=False).complete


@pytest.mark.parametrize("folded", ["\u017f", "\u212a", "\u0130", "\u0131", "\u0663"])
def test_a_text_with_characters_taken_for_ascii_ones_is_searched_by_all(folded: str) -> None:
    assert [s.recognizer for s in Gates(ALL, hyperscan=False).look(f"a {folded} b").searches] == ALL


def test_the_characters_taken_for_ascii_ones_are_all_that_there_are() -> None:
    ascii_letters = regex.compile("[a-z0-9]", regex.IGNORECASE)
    digit = regex.compile(r"\d")
    for number in range(0x80, sys.maxunicode + 1):
        char = chr(number)
        if not 0xD800 <= number <= 0xDFFF and (ascii_letters.match(char) or digit.match(char)):
            assert stand_in(char) is None, hex(number)


def test_a_stand_in_says_of_every_character_what_patterns_ask_of_it() -> None:
    word, space = regex.compile(r"\w"), regex.compile(r"\s")
    every = "".join(chr(n) for n in range(0x80, 0x3000) if stand_in(chr(n)) is not None)
    for char, plain in zip(every, stand_in(every) or "", strict=True):
        assert plain == (derive.WORD if word.match(char) else derive.OTHER), hex(ord(char))
        assert not (space.match(char) and plain != derive.OTHER)


AROUND = ["", " ", "\n", "a", "1", "é", ".", "-", "\u00a0", "日", "\u200b"]


@pytest.mark.parametrize(
    ("recognizer", "pattern", "flags"),
    PATTERNS,
    ids=[f"{getattr(r, 'name', r)}-{i}" for i, (r, _, _) in enumerate(PATTERNS)],
)
def test_whatever_a_pattern_matches_is_in_a_part_that_is_searched(recognizer: Any, pattern: str, flags: int) -> None:
    check_pattern(recognizer, pattern, flags, examples=3)


def check_pattern(recognizer: Any, pattern: str, flags: int, examples: int) -> int:
    """Make strings from the pattern itself, so that every alternative is hit; how many matched."""
    compiled = regex.compile(pattern, flags)
    made = [Gates([recognizer], hyperscan=on) for on in ((True, False) if examples > 3 else (False,))]
    matched = 0

    @given(
        st.from_regex(re.compile(pattern, flags & (re.I | re.M | re.S))),
        st.sampled_from(AROUND),
        st.sampled_from(AROUND),
    )
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(text: str, before: str, after: str) -> None:
        nonlocal matched
        text = before + text + after
        plain = stand_in(text)
        try:
            found = [_without_borders(m) for m in compiled.finditer(text, timeout=0.5) if m.group()]
        except TimeoutError:  # the engine would replace the text
            return
        if plain is None or not found:
            return
        matched += 1
        for start, end in found:
            for one in made:
                assert any(s.start <= start and end <= s.end for s in one.look(text).searches)

    check()
    return matched


def _without_borders(match: Any) -> tuple[int, int]:
    """The span of a match without ends of lines around it: what is around a word for a value is part of the match."""
    text = match.group()
    return match.start() + len(text) - len(text.lstrip("\n")), match.end() - len(text) + len(text.rstrip("\n"))


MUTANTS = [
    ("least", lambda n: derive.Necessity(n.expression, n.nocase, tuple(x + 1 for x in n.least), n.window, n.unit, ())),
    ("window", lambda n: derive.Necessity(n.expression, n.nocase, n.least, n.window + "\\x01", n.unit, ())),
    ("expression", lambda n: derive.Necessity(n.expression + "\\x01", n.nocase, n.least, n.window, n.unit, ())),
    ("nocase", lambda n: derive.Necessity(n.expression.lower(), False, n.least, "\\x01", n.unit, ())),
    ("unit", lambda n: derive.Necessity(n.expression, n.nocase, n.least, n.window, "word", ())),
]


@pytest.mark.parametrize(("what", "mutate"), MUTANTS, ids=[name for name, _ in MUTANTS])
def test_a_gate_with_one_rule_made_wrong_is_caught(what: str, mutate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = gates.necessity
    monkeypatch.setattr(gates, "necessity", lambda pattern, flags=0: mutate(honest(pattern, flags)))
    suspects = [r for r in ALL if type(r).__name__ in ("CreditCardRecognizer", "Mail", "UuidRecognizer")]
    caught = 0
    for recognizer in suspects:
        for text in ("4111 1111 1111 1111", "jane.doe@example.com", "7f3e8c1a-9b2d-4e5f-a6b7-C8D9E0F1A2B3"):
            text = f"before\tit {text} after"
            spans = [
                m.span()
                for need in patterns_of(recognizer) or []
                for m in regex.finditer(need.pattern, text, need.flags)
            ]
            for on in (True, False):
                work = Gates([recognizer], hyperscan=on).look(text).searches
                caught += any(not any(s.start <= start and end <= s.end for s in work) for start, end in spans)
    assert caught, f"nothing noticed that {what} was wrong"


VALUES = [
    *["jane.doe@example.com", "4111 1111 1111 1111", "(202) 555-0173", "192.168.17.45", "2001:db8::ff00:42:8329"],
    *["DE89 3704 0044 0532 0130 00", "856-45-6789", "00:1A:2B:3C:4D:5E", "001a.2b3c.4d5e", "12/05/1999", "MAY-99"],
    *["https://example.com/a", "A1234567", "943 476 5919", "BB1388568", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "::"],
    *["7f3e8c1a-9b2d-4e5f-a6b7-c8d9e0f1a2b3", "911-70-1234", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "1642"],
    *["sk-proj-Zk3vQ9xW2mT7rL5nB8cYd4Hs", "ghp_Qm4Zx8Vn2Lk6Rt9Wp3Yb7Hc5Jd1Fg0Sa2Ue", "AKIAZ7QK3MNP5RT2WX4Y", "my password is Tr0ub4dor&3"],
    *["postgres://app:s3cr3tpw@db.internal/x", "Authorization: Bearer c2VjcmV0LXRva2VuLTEyMzQ1", "Mr. John Smith", "12 Baker Street"],
    *["born on 3 May 1984", "aged 45", "Austin, TX 78701", "P.O. Box 123", "call 0680 298 70 63", "account 12345678", "zip 94105"],
]  # fmt: skip
LINES = ["for (i = 0; i < 10; i++) { self.in[i] = x2; }", "2024-05-01T10:11:12Z ERROR worker[12] took 3.5s at 10.0.0.7:8080",
         "Ünïcödé naïve café – “quotes” … 50 % — 日本語のテキスト", "| a | b | 1,234.56 | v1.2.3 | 12:30:45 |", "ФИО: Иван Петров, тел. 8 800 555",
         "\u00a0\u00a0tab\tseparated\tvalues\r", "x" * 600]  # fmt: skip


def mixtures(count: int, seed: int) -> list[str]:
    """Values among prose, code, logs, other scripts and base64, mutated character by character."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = draw.choices([*VALUES, *LINES], k=draw.randint(1, 5))
        if draw.random() < 0.1:
            parts.append(base64.b64encode(draw.randbytes(60)).decode())
        text = list(draw.choice([" ", "\n", ", ", "", "\t"]).join(parts))
        for _ in range(draw.randint(0, 4)):
            text[draw.randrange(len(text))] = draw.choice(" -.:/@\n_1aZ9é\u00a0x\u200b０")
        texts.append("".join(text))
    return texts


def test_on_mixtures_of_everything_the_findings_are_the_same(gated: Engine, ungated: Engine) -> None:
    texts = mixtures(150, 5)
    same(gated, ungated, texts)
    found = {f.entity for a in ungated.find(texts[:80]) for f in a if not isinstance(f, str)}
    assert len(found) >= 20


def test_with_one_pattern_left_out_of_the_gate_the_comparison_fails(
    ungated: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = Engine(RedactionConfig(ner=False, hyperscan=False))
    email = next(i for i, g in enumerate(blind._gates._gated) if g[0].recognizer.name == "Mail")
    monkeypatch.setattr(blind._gates.sieve, "_python", [p for p in blind._gates.sieve._python if p[0] != email])
    with pytest.raises(AssertionError):
        same(blind, ungated, mixtures(60, 5))


@given(
    st.lists(
        st.tuples(st.text(alphabet="-xX‐–−ー－ \u00a0\u200b\u3000()（）［］.[]/~", max_size=4), st.integers(0, 99_999)),
        min_size=1,
        max_size=7,
    )
)
@settings(max_examples=25, deadline=None)
def test_whatever_looks_like_a_phone_number_is_found_with_and_without(
    gated: Engine, ungated: Engine, groups: list[tuple[str, int]]
) -> None:
    text = "".join(f"{punctuation}{number}" for punctuation, number in groups)
    same(gated, ungated, [text, f"call +{text} now", f"(0){text}\nx{text}"])


# What stands around digits: words, punctuation that a number may hold or that ends it, line ends, other scripts' digits.
AROUND = [
    *["-", ". ", " (", ") ", "/", "+", " ", "\t", "\n", "\n\t  ", ", then ", " ext. ", " extension : ", "x", "call ", "(+", "12"],
    *["direct line", " or some more words that say nothing ", "my number is ", "phone: ", "mobile\n" + 70 * " ", " office", "5"],
    "\uff11\uff12",
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(AROUND), st.integers(0, 12)), min_size=1, max_size=24), st.randoms())
@settings(max_examples=400, deadline=None)
def test_where_a_number_may_be_is_never_too_little(parts: list[tuple[str, int]], draw: random.Random) -> None:
    text = "".join(around + "".join(draw.choices("0123456789", k=digits)) for around, digits in parts)
    with_near = [shape for shape in phones.phones().shapes if shape.near is not None]
    assert len(with_near) == 2
    for shape in with_near:
        # What the pattern matches, before any check throws it out.
        near, whole = (
            Kind(Sought("PHONE_NUMBER", (replace(shape, check=None, inside=None, near=parts),)))
            for parts in (shape.near, None)
        )
        for start in (0, len(text) // 3):
            one, other = ([(r.start, r.end) for r in kind.search(0, text, start, len(text))] for kind in (near, whole))
            assert one == other, repr(text)


def test_no_valid_number_of_presidios_regions_is_shorter_than_its_gate_says() -> None:
    six, pager = (regex.compile(pattern) for pattern in PHONE_NEEDS)
    short = 0
    for region in ("US", "GB", "DE", "FR", "IL", "IN", "CA", "BR"):
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        for kind in (
            "fixed_line",
            "mobile",
            "toll_free",
            "premium_rate",
            "shared_cost",
            "personal_number",
            "voip",
            "pager",
            "uan",
            "voicemail",
        ):
            description = getattr(metadata, kind)
            lengths = [n for n in (description.possible_length if description else ()) if 0 < n < 6]
            for size in lengths:
                national = re.compile(description.national_number_pattern or "")
                for number in range(10 ** (size - 1), 10**size):
                    if national.fullmatch(str(number)):
                        found = list(phonenumbers.PhoneNumberMatcher(str(number), region, leniency=1))
                        short += bool(found)
                        assert not found or pager.search(str(number)) or six.search(str(number))
    assert short >= 30
