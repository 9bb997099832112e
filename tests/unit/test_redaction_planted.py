"""Planted values and secrets do not come through, however they are written; crafted texts end in bounded time."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import pytest

from pipeline.redaction import Engine, RedactionConfig, Redactor, apply
from tests.planted import in_process, remains
from tests.plants import personal, secrets
from tests.plants.leaks import Search


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    made = Redactor(RedactionConfig(ner=False, cache_bytes=0), processes=0)
    made.start()
    return made


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(RedactionConfig(ner=False, regex_timeout_s=0.5))


def test_nothing_is_left_of_planted_values(redactor: Redactor) -> None:
    report = in_process(redactor, 3_000, seed=77)
    assert report["left"] == 0, report["examples"]


def test_the_search_finds_all_of_them_where_nothing_is_redacted() -> None:
    draw = random.Random(4)
    values = [make(draw) for _, make in {**personal.KINDS, **secrets.KINDS}.values() for _ in range(3)]
    search = Search(values)
    for number, value in enumerate(values):
        assert number in search.seen(f"before {value} after") and remains(value, f"x{value}")
        assert number in search.seen("".join(f"{c}\u200b" for c in value)), "zero-width characters hide nothing"
    assert search.seen("nothing that anybody planted stands here") == set()


@pytest.mark.parametrize("kind", secrets.KINDS)
def test_of_each_kind_of_secret_nearly_all_are_found(engine: Engine, kind: str) -> None:
    before, make = secrets.KINDS[kind]
    draw = random.Random(kind)
    texts = [(before + (value := make(draw)) + ('"' if before.endswith('"') else ""), value) for _ in range(60)]
    lost = 0
    for (text, value), findings in zip(texts, engine.find([text for text, _ in texts]), strict=True):
        assert not isinstance(findings, str)
        lost += remains(value, apply(text, findings)[0])
    assert lost <= 1, f"{lost} of 60"


def test_there_are_more_than_twenty_five_kinds_of_secrets() -> None:
    assert len(secrets.KINDS) >= 60


# What once came through, each with our own made-up values.
ESCAPES = Path(__file__).parent / "escapes.txt"


@pytest.mark.parametrize("line", [one for one in ESCAPES.read_text().splitlines() if one and not one.startswith("#")])
def test_what_once_came_through_does_not_again(engine: Engine, line: str) -> None:
    value, _, text = line.encode().decode("unicode_escape").partition(" | ")
    (findings,) = engine.find([text])
    assert not isinstance(findings, str)
    assert not remains(value, apply(text, findings)[0])


CRAFTED = {
    "dots": "a.", "at signs": "a@", "colons": "1:", "digits": "1 ", "long number": "7", "quotes": '"', "dashes": "-1",
    "capital words": "Aa Bb ", "street": "1 A ", "begin of a key": "-----BEGIN PRIVATE KEY-----", "jwt": "eyJ.", "plus": "+1",
    "password": "password=", "bearer": "bearer ", "url": "http://a:", "braces": "{", "names": "Mr. A ", "hex": "ab:", "semi": "Server=;",
    "spaces": " ", "newlines": "\n", "phones": "call 1", "look-alikes": "а１", "dates": "1/1/", "address is": "address ",
    "end of a key": "A" * 64, "lines of a key": "A" * 64 + "\n", "settings": "Host=a;User=b;", "assigned": "token: '",
}  # fmt: skip


@pytest.mark.parametrize("unit", CRAFTED.values(), ids=CRAFTED)
def test_two_kilobytes_of_anything_are_judged_quickly_or_replaced(engine: Engine, unit: str) -> None:
    begun = time.process_time()
    ends = "-----END RSA PRIVATE KEY" if "A" in unit else ""
    (answer,) = engine.find([unit * (2_000 // len(unit)) + f"{ends} jane.doe@example.com"])
    assert time.process_time() - begun < 4, "a pattern may take half a second, and then the text is replaced"
    assert answer == "regex_timeout" or any(f.entity == "EMAIL_ADDRESS" for f in answer if not isinstance(f, str))


@pytest.mark.parametrize("unit", ["a.", "1 ", "Aa Bb ", "password=", "-----BEGIN PRIVATE KEY-----", "а１"])
def test_two_hundred_kilobytes_too(engine: Engine, unit: str) -> None:
    begun = time.process_time()
    (answer,) = engine.find([unit * (200_000 // len(unit))])
    assert time.process_time() - begun < 60, "bounded by the worker's deadline (63 s), after which the text is replaced"
    assert answer is not None


def test_nothing_of_it_ever_uses_the_network(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("somebody used the network")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    draw = random.Random(6)
    for before, make in {**personal.KINDS, **secrets.KINDS}.values():
        assert not isinstance(engine.find([f"so {before}{make(draw)} it is"])[0], str)
