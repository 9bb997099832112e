"""The engine fails closed: whatever is not sure about one text is an answer about this text only."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import tldextract
from presidio_analyzer.predefined_recognizers import EmailRecognizer
from presidio_analyzer.recognizer_registry import RecognizerRegistryProvider

from pipeline.redaction import Engine, EngineError, Finding, RedactionConfig, language
from pipeline.redaction.hardening import harden
from tests.unit import redaction_faults as faults

FAULTS = "tests.unit.redaction_faults:"
CARD = "pay with 4111 1111 1111 1111"


def patterns(**settings: Any) -> Engine:
    return Engine(RedactionConfig(ner=False, **settings))


@pytest.fixture(scope="module")
def faulty() -> Engine:
    return patterns(extra_recognizers=(FAULTS + "Faulty",))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(RedactionConfig(regex_timeout_s=0.2))


@pytest.mark.parametrize("trigger", [faults.RAISE, faults.WARN, faults.OUTSIDE, faults.OFFTYPE, faults.NOSCORE])
def test_doubt_about_one_text_is_a_failure_of_this_text_only(faulty: Engine, trigger: str) -> None:
    before, guilty, after = faulty.find([CARD, f"{CARD} {trigger}", CARD])
    assert guilty == "recogniser_error"
    assert before == after
    assert any(f.entity == "CREDIT_CARD" for f in before if isinstance(f, Finding))


def test_a_regular_expression_out_of_time_is_a_failure_of_its_text() -> None:
    engine = patterns(extra_recognizers=(FAULTS + "SlowPattern",), regex_timeout_s=0.1)
    guilty, innocent = engine.find([f"{faults.SLOW} {'a' * 60}", CARD])
    assert guilty == "regex_timeout"
    assert not isinstance(innocent, str)


def test_a_long_dotted_run_is_judged_in_bounded_time_or_fails(engine: Engine) -> None:
    text = "a." * 8_000 + " see john-doe.com/secret"  # the stock analyser gives up on it in silence
    (answer,) = engine.find([text])
    assert answer == "regex_timeout" or any(f.entity == "URL" and "john-doe" in text[f.start : f.end] for f in answer)


def test_if_somebody_silences_the_analysers_warnings_texts_fail(engine: Engine) -> None:
    log = logging.getLogger("presidio-analyzer")
    handlers = log.handlers
    try:
        log.handlers = []
        assert engine.find([CARD]) == ["recogniser_error"]
    finally:
        log.handlers = handlers
    assert not isinstance(engine.find([CARD])[0], str)


@pytest.mark.parametrize("symbols", ["_", ":", "!#$%&", "🙂"])
def test_a_long_run_of_symbols_is_judged_quickly_and_what_follows_it_is_found(engine: Engine, symbols: str) -> None:
    text = symbols * (12_000 // len(symbols)) + " My name is Robert Johnson and I live in Chicago."
    began = time.process_time()
    (found,) = engine.find([text])
    assert time.process_time() - began < 6  # uncut, each of them takes 20 seconds and more
    assert ("PERSON", "Robert Johnson") in {(f.entity, text[f.start : f.end]) for f in found if isinstance(f, Finding)}


def test_what_spacy_cannot_read_fails_and_its_neighbours_do_not(engine: Engine) -> None:
    answers = engine.find(["My name is John Smith", "\ud800 a lone surrogate", "I met Jane Miller in Paris"])
    assert [isinstance(a, str) for a in answers] == [False, True, False]


def test_a_text_over_the_limit_fails() -> None:
    assert patterns(max_chars=1_000).find(["x" * 1_001, "x" * 1_000]) == ["too_long", []]


def test_control_characters_are_text_like_any_other(engine: Engine) -> None:
    (found,) = engine.find(["nul \0 jane.doe@example.com \x1b[0m"])
    assert Finding("EMAIL_ADDRESS", 6, 26, 1.0) in found


def test_a_name_far_into_a_long_text_is_found(engine: Engine) -> None:
    filler = "The quarterly figures were fine and nobody complained about them. " * 900
    text = filler + "My name is Robert Johnson and I live in Chicago. " + filler
    (found,) = engine.find([text])
    assert ("PERSON", "Robert Johnson") in {(f.entity, text[f.start : f.end]) for f in found if isinstance(f, Finding)}


def test_a_missing_default_recogniser_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    create = RecognizerRegistryProvider.create_recognizer_registry

    def without_phone(provider: RecognizerRegistryProvider) -> Any:
        registry = create(provider)
        registry.remove_recognizer("PhoneRecognizer")
        return registry

    monkeypatch.setattr(RecognizerRegistryProvider, "create_recognizer_registry", without_phone)
    with pytest.raises(EngineError, match="PhoneRecognizer"):
        patterns()


def test_a_recogniser_that_finds_nothing_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmailRecognizer, "analyze", lambda *_: [])
    with pytest.raises(EngineError, match="EMAIL_ADDRESS was not found"):
        patterns()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("tests.unit.redaction_faults:Missing", "Missing"),
        ("no.such.module:Thing", "no.such"),
        ("nothing", "nothing"),
        (FAULTS + "Refuses", "dictionary file"),
        (FAULTS + "NoRecognizer", "must derive"),
    ],
)
def test_a_recogniser_of_the_users_that_cannot_be_had_stops_the_start(path: str, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        patterns(extra_recognizers=(path,))


def test_a_missing_model_stops_the_start_and_nothing_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("somebody used the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    for model in ("en_core_web_absent", str(tmp_path)):
        with pytest.raises(EngineError, match="cannot be loaded"):
            Engine(RedactionConfig(model=model))


def test_an_entity_that_nothing_finds_stops_the_start() -> None:
    with pytest.raises(EngineError, match="SHOE_SIZE"):
        patterns(entities=("PHONE_NUMBER", "SHOE_SIZE"))


def test_a_recogniser_of_the_users_works_like_the_others() -> None:
    engine = patterns(extra_recognizers=(FAULTS + "Badge", FAULTS + "Wordy"))
    plain, helped, word = engine.find(["see BDG-1234", "badge BDG-1234", "operation Zephyr begins"])
    assert plain == [Finding("BADGE", 4, 12, 0.4)]
    assert helped == [Finding("BADGE", 6, 14, 0.75)]
    assert word == [Finding("CODENAME", 10, 16, 0.7)]


def test_validating_an_email_uses_neither_network_nor_cache_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object) -> None:
        raise AssertionError("somebody used the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    harden(1.0)
    extractor = tldextract.tldextract.TLD_EXTRACTOR
    assert (extractor.suffix_list_urls, extractor._cache.enabled) == ((), False)
    assert EmailRecognizer().validate_result("jane@example.co.uk")


@pytest.mark.parametrize("before", ["reports/", "a?to=", "#", "/srv/mail/in/", "x=1&y=", ""])
def test_mail_is_found_whatever_stands_before_it(before: str) -> None:
    """Up to a slash, a question mark or a hash the list of public suffixes takes the whole for a host."""
    text = f"see {before}jane.doe@example.co.uk now"
    (found,) = patterns().find([text])
    assert any(f.entity == "EMAIL_ADDRESS" and f.end == len(text) - 4 and f.start <= text.index("jane") for f in found)


def test_the_phone_matcher_does_not_give_up_after_many_bad_candidates(engine: Engine) -> None:
    from presidio_analyzer.predefined_recognizers.generic import phone_recognizer

    matcher = phone_recognizer.phonenumbers.PhoneNumberMatcher("x", "US", leniency=1)
    assert matcher._max_tries > 1_000_000


def test_words_of_texts_are_forgotten(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_KEPT_WORDS", 0)
    strings = engine._language.get_nlp("en").vocab.strings
    before = len(strings)
    engine.find([f"quixotic{i} zephyrian{i} on 12/05/1999" for i in range(100)])
    assert len(strings) == before
    assert "zephyrian7" not in strings


def test_the_manifest_names_what_can_change_findings_and_nothing_else(engine: Engine) -> None:
    same = Engine(RedactionConfig(cache_bytes=0, timeout_base_s=9, nice=0, batch_chars=999))
    assert same.manifest == engine.manifest
    assert len(engine.manifest) == 32
    others = [
        patterns(),
        patterns(score_threshold=0.3),
        patterns(entities=("US_SSN",)),
        patterns(extra_recognizers=(FAULTS + "Badge",)),
    ]
    assert len({engine.manifest, *(o.manifest for o in others)}) == 5
