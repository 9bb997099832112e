"""What our recognisers share: patterns with a score, a part of the match that counts, and a check by code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import regex
from presidio_analyzer import AnalysisExplanation, EntityRecognizer, RecognizerResult

Check = Callable[[str, int, int], bool]
"""(text, start, end) of the value to whether it is one."""

SECONDS = 1.0
"""Processor time that one pattern may take on one piece of text; set by `hardening`."""


PATTERN: Final = "pattern"
"""Where a result says which pattern found it, among its metadata."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way a kind of value is written.

    Attributes:
        name: for explanations and the manifest.
        pattern: in `regex`'s dialect; a group named `v` is the value, else the whole match.
        score: of a finding, 0 to 1.
        check: what the pattern cannot say; part of the manifest by the source of its module.
        flags: of the pattern.
        inside: finds the values in a match, where they are not the match or its group.
    """

    name: str
    pattern: str
    score: float
    check: Check | None = None
    flags: int = regex.MULTILINE
    inside: Callable[[str, int, int], Sequence[tuple[int, int]]] | None = None


class Kind(EntityRecognizer):  # type: ignore[misc]
    """A recogniser of one entity type by shapes.

    Args:
        entity: the type of its findings.
        shapes: how it is written.
        context: words before a value that raise its score (by the common rule of the engine).
        whole_text: matches may be long or many lines; the engine shows it the text uncut.
    """

    def __init__(
        self, entity: str, shapes: Sequence[Shape], *, context: Sequence[str] = (), whole_text: bool = False
    ) -> None:
        super().__init__(
            supported_entities=[entity],
            name=f"tokentrail.{entity}",
            supported_language="en",
            context=list(context),
            version="1",
        )
        self.whole_text = whole_text
        self.shapes = tuple(shapes)
        compiled = [(shape, regex.compile(shape.pattern, shape.flags)) for shape in shapes]
        self._compiled = [(shape, pattern, "v" in pattern.groupindex) for shape, pattern in compiled]

    def load(self) -> None:
        """Nothing to load."""

    def necessary_patterns(self) -> list[tuple[str, int]]:
        """Every finding lies in a match of one of these."""
        return [(shape.pattern, shape.flags) for shape in self.shapes]

    def analyze(self, text: str, entities: Sequence[str], nlp_artifacts: Any = None) -> list[Any]:
        """Findings in a text.

        Raises:
            TimeoutError: a pattern took longer than it may; nothing is known about the text then.
        """
        results = [r for i in range(len(self.shapes)) for r in self.search(i, text, 0, len(text))]
        return EntityRecognizer.remove_duplicates(results) if len(results) > 1 else results

    def search(self, number: int, text: str, start: int, end: int) -> list[Any]:
        """Findings of one shape in text[start:end]; its check sees the whole text.

        Raises:
            TimeoutError: the pattern took longer than it may.
        """
        shape, pattern, has_value = self._compiled[number]
        entity = self.supported_entities[0]
        results = []
        for match in pattern.finditer(text[start:end], timeout=SECONDS):
            low, high = match.span("v") if has_value else match.span()
            low, high = low + start, high + start
            if low < high and (shape.check is None or shape.check(text, low, high)):
                spans = ((low, high),) if shape.inside is None else shape.inside(text, low, high)
                results += [self.result(entity, a, b, shape.score, shape.name) for a, b in spans]
        return results

    def result(self, entity: str, start: int, end: int, score: float, why: str) -> Any:
        """One finding as Presidio has them."""
        return RecognizerResult(
            entity_type=entity,
            start=start,
            end=end,
            score=score,
            analysis_explanation=AnalysisExplanation(recognizer=self.name, original_score=score, pattern_name=why),
            recognition_metadata={
                PATTERN: why,
                RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
                RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
            },
        )


def cue_before(words: str, reach: int = 60) -> Check:
    """A check that one of the words (alternatives of an expression, whole words) stands shortly before the value."""
    pattern = regex.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", regex.IGNORECASE)

    def check(text: str, start: int, end: int) -> bool:
        line = text.rfind("\n", 0, start) + 1
        return pattern.search(text, max(line, start - reach), start) is not None

    return check
