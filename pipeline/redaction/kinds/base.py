"""Our recognisers in Presidio's form: what is sought (`shape`), searched with a bound on time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import regex
from presidio_analyzer import AnalysisExplanation, EntityRecognizer, RecognizerResult

from pipeline.redaction.kinds.shape import Shape, Sought

SECONDS = 1.0
"""Processor time that one pattern may take on one piece of text; set by `hardening`."""


class Needed(NamedTuple):
    """A pattern that matches near every finding: in the same unit of text, or in one that is larger.

    Attributes:
        pattern: in the dialect of `regex`.
        flags: of the pattern.
        of: another pattern that a finding lies in a match of, where it is not the same one.
    """

    pattern: str
    flags: int
    of: tuple[str, int] | None = None


def _needed(shape: Shape) -> Needed:
    if shape.cue is None or not shape.cue.is_rarer:
        return Needed(shape.pattern, shape.flags)
    # As `Cue` has it, but for what looks around: borders are characters here.
    words = rf"(?:\A|[^A-Za-z])(?:{shape.cue.words})(?:\b|[^A-Za-z])"
    return Needed(words, int(regex.IGNORECASE), (shape.pattern, shape.flags))


PATTERN: Final = "pattern"
"""Where a result says which pattern found it, among its metadata."""


class Kind(EntityRecognizer):  # type: ignore[misc]
    """A recogniser of one entity type by shapes."""

    def __init__(self, sought: Sought) -> None:
        super().__init__(
            supported_entities=[sought.entity],
            name=f"tokentrail.{sought.entity}",
            supported_language="en",
            context=list(sought.context),
            version="1",
        )
        self.whole_text = sought.whole_text
        self.shapes = sought.shapes
        compiled = [(shape, regex.compile(shape.pattern, shape.flags)) for shape in self.shapes]
        self._compiled = [(shape, pattern, "v" in pattern.groupindex) for shape, pattern in compiled]

    def load(self) -> None:
        """Nothing to load."""

    def necessary_patterns(self) -> list[Needed]:
        """What texts hold that have findings, shape by shape."""
        return [_needed(shape) for shape in self.shapes]

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
        part = text[start:end]
        results = []
        for low, high in ((0, len(part)),) if shape.near is None else shape.near(part):
            for match in pattern.finditer(part, low, high, timeout=SECONDS):
                a, b = match.span("v") if has_value else match.span()
                a, b = a + start, b + start
                if shape.accepts(text, a, b):
                    spans = ((a, b),) if shape.inside is None else shape.inside(text, a, b)
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
