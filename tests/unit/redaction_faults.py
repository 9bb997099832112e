"""Recognisers that misbehave on request, for tests: each does its worst on a text that holds its trigger word."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, RecognizerResult

HANG, RAISE, DIE, WARN, SLOW = "hangnow", "raisenow", "dienow", "warnnow", "slownow"
OUTSIDE, OFFTYPE, NOSCORE = "outsidenow", "offtypenow", "noscorenow"


class Faulty(EntityRecognizer):
    """Hangs, raises, dies, warns or answers nonsense when a text asks for it."""

    def __init__(self) -> None:
        super().__init__(supported_entities=["FAULT"])

    def load(self) -> None:
        pass

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:
        if HANG in text:
            while True:
                pass
        if RAISE in text:
            raise RuntimeError(f"cannot read {text!r}")
        if DIE in text:
            os.kill(os.getpid(), signal.SIGKILL)
        if WARN in text:
            logging.getLogger("presidio-analyzer").warning("skipping %s", text)
        if OUTSIDE in text:
            return [RecognizerResult("FAULT", 0, len(text) + 1, 1.0)]
        if OFFTYPE in text:
            return [RecognizerResult(text, 0, 1, 1.0)]
        if NOSCORE in text:
            return [RecognizerResult("FAULT", 0, 1, float("nan"))]
        return []


class SlowPattern(PatternRecognizer):
    """A pattern that never comes to an end on a long row of the letter a behind its trigger word."""

    def __init__(self) -> None:
        pattern = Pattern("slow", rf"{SLOW} (?:a|a|aa|aaa)+(?<=b)", 0.5)
        super().__init__(supported_entity="SLOW", patterns=[pattern], context=["slow"])


class Badge(PatternRecognizer):
    """A user's own recogniser that works: badge numbers."""

    def __init__(self) -> None:
        super().__init__(
            supported_entity="BADGE", patterns=[Pattern("badge", r"\bBDG-\d{4}\b", 0.4)], context=["badge"]
        )


class Wordy(EntityRecognizer):
    """Reads tokens, as only a user's recogniser does."""

    def __init__(self) -> None:
        super().__init__(supported_entities=["CODENAME"])

    def load(self) -> None:
        pass

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any) -> list[RecognizerResult]:
        return [
            RecognizerResult("CODENAME", t.idx, t.idx + len(t), 0.7) for t in nlp_artifacts.tokens if t.text == "Zephyr"
        ]


class Refuses(EntityRecognizer):
    """Cannot be made."""

    def __init__(self) -> None:
        raise OSError("its dictionary file is missing")


class NoRecognizer:
    """Something else altogether."""
