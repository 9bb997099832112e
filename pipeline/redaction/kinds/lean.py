"""Search one pattern of a stock recogniser as Presidio does, without what nobody reads: clocks, logs, explanations."""

from __future__ import annotations

from typing import Any

import regex
from presidio_analyzer import AnalysisExplanation, RecognizerResult

from pipeline.redaction.kinds import base


def search(recognizer: Any, number: int, text: str, start: int, end: int) -> list[Any]:
    """Results of `recognizer.patterns[number]` in text[start:end], as `PatternRecognizer.analyze` has them.

    Raises:
        TimeoutError: the pattern took longer than it may.
    """
    pattern = recognizer.patterns[number]
    flags = recognizer.global_regex_flags
    if not pattern.compiled_regex or pattern.compiled_with_flags != flags:
        pattern.compiled_with_flags = flags
        pattern.compiled_regex = regex.compile(pattern.regex, flags=flags)
    accepts = getattr(recognizer, "accepts", None)
    part = text[start:end]
    results = []
    for match in pattern.compiled_regex.finditer(part, timeout=base.SECONDS):
        found = match.group()
        if not found:
            continue
        score = pattern.score
        verdict = recognizer.validate_result(found)
        if verdict is not None:
            score = 1.0 if verdict else 0.0
        if recognizer.invalidate_result(found):
            score = 0.0
        if score > 0.0 and (accepts is None or accepts(text, start + match.start(), start + match.end())):
            results.append(
                RecognizerResult(
                    entity_type=recognizer.supported_entities[0],
                    start=start + match.start(),
                    end=start + match.end(),
                    score=score,
                    analysis_explanation=AnalysisExplanation(recognizer=recognizer.name, original_score=score),
                    recognition_metadata={
                        base.PATTERN: pattern.name,
                        RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name,
                        RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
                    },
                )
            )
    return results
