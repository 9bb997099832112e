"""One text as it stands, judged by every recogniser that may find something in it; must not replace or log texts.

The findings are those of Presidio's `AnalyzerEngine.analyze` over the same recognisers. What is not sure raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from presidio_analyzer import EntityRecognizer
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.predefined_recognizers import SpacyRecognizer

from pipeline.redaction import recognizers
from pipeline.redaction.context import Context
from pipeline.redaction.gates import Search
from pipeline.redaction.hardening import LogWatch
from pipeline.redaction.kinds import lean, model
from pipeline.redaction.kinds.base import Kind
from pipeline.redaction.language import Language
from pipeline.redaction.values import RECOGNISER_ERROR, Finding

Results = list[Any]
"""Presidio's results."""


class Doubt(Exception):
    """Something about one text is not sure; the argument is the reason code."""


class Searching:
    """Recognisers, the words before a finding that raise its score, and thresholds.

    Args:
        patterns: the recognisers by pattern, in the order of their results.
        spacy: the recogniser of what the model finds.
        language: tokens and the model.
        watch: tells whether the analyser doubted something.
        entities: the types that are wanted.
        strict: whether rules drop some of the model's findings (`kinds.model`).
    """

    def __init__(
        self,
        patterns: Sequence[Any],
        spacy: SpacyRecognizer,
        language: Language,
        watch: LogWatch,
        entities: Sequence[str],
        *,
        strict: bool,
    ) -> None:
        self._patterns = list(patterns)
        self._spacy = spacy
        self._language = language
        self._watch = watch
        self._entities = list(entities)
        self._strict = strict
        self._types = {e for r in patterns for e in r.supported_entities} | set(spacy.supported_entities)
        self._by_id = {r.id: r for r in [*patterns, spacy]}
        self._enhancer = LemmaContextAwareEnhancer()
        self._context = Context(language, [*patterns, spacy])
        # A recogniser of the user's may read tokens; the default ones never do.
        self._eager = any(recognizers.reads_tokens(r) for r in patterns)
        self.score_threshold = 0.0

    def find(
        self, text: str, searches: Sequence[Search], doc: Any = None, *, told: Callable[[Results], None] | None = None
    ) -> list[Finding]:
        """Findings in a text.

        Args:
            text: as it stands.
            searches: what has to be done about it.
            doc: its tokens with the model's entities; None: without names.
            told: is given the results behind the findings.

        Raises:
            Doubt: nothing is sure about the text.
        """
        if not self._watch.is_listening():
            raise Doubt(RECOGNISER_ERROR)
        self._watch.reset()
        artifacts = None
        if self._eager:
            artifacts = self._language.artifacts(doc if doc is not None else self._language.tokenize(text))
        results: Results = []
        needs_context = False
        last: Any = None
        own: Results = []  # of the last recogniser
        for search in searches:
            if search.recognizer is not last:
                results += _once(own)
                last, own = search.recognizer, []
            found = self.run(search, text, artifacts)
            if found:
                own += found
                needs_context = needs_context or bool(last.context)
        results += _once(own)
        if doc is not None:
            named = self._spacy.analyze(text, self._entities, self._language.spans(doc))
            if self._strict:
                named = [r for r in named if model.keeps(text, r.entity_type, r.start, r.end)]
            results.extend(named)
        if results:
            if self._eager:
                results = self._with_context(text, results, artifacts)
            elif needs_context:
                self._context.enhance(text, results, doc)
            results = [r for r in results if not r.score < self._threshold(r)]  # a score that is no number is a doubt
            results = EntityRecognizer.remove_duplicates(results) if len(results) > 1 else _scored(results)
        if told is not None:
            told(results)
        findings = [finding(r) for r in results]
        if not all(
            0 <= f.start < f.end <= len(text) and 0 <= f.score <= 1 and f.entity in self._types for f in findings
        ):
            raise Doubt(RECOGNISER_ERROR)
        if self._watch.doubt is not None:
            raise Doubt(self._watch.doubt)
        return findings

    def run(self, search: Search, text: str, artifacts: Any = None) -> Results:
        """Results of one search, at offsets of the text."""
        recognizer, number = search.recognizer, search.pattern
        if number is not None:
            if isinstance(recognizer, Kind):
                return recognizer.search(number, text, search.start, search.end)
            return lean.search(recognizer, number, text, search.start, search.end)
        found: Results = recognizer.analyze(text[search.start : search.end], self._entities, artifacts) or []
        for result in found:
            result.start += search.start
            result.end += search.start
            result.recognition_metadata = {
                result.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
                **(result.recognition_metadata or {}),
            }
        return found

    def finder(self, result: Any) -> Any:
        """The recogniser that a result is of; None: it says none that is known."""
        return self._by_id.get((result.recognition_metadata or {}).get(result.RECOGNIZER_IDENTIFIER_KEY))

    def _with_context(self, text: str, results: Results, artifacts: Any) -> Results:
        """Scores raised by words before a finding, by the recogniser's own rule and then by the common one."""
        recognizers_used = [*self._patterns, self._spacy]
        enhanced: Results = []
        for recognizer in recognizers_used:
            own = [r for r in results if r.recognition_metadata[r.RECOGNIZER_IDENTIFIER_KEY] == recognizer.id]
            others = [r for r in results if r.recognition_metadata[r.RECOGNIZER_IDENTIFIER_KEY] != recognizer.id]
            enhanced.extend(
                recognizer.enhance_using_context(
                    text=text,
                    raw_recognizer_results=own,
                    other_raw_recognizer_results=others,
                    nlp_artifacts=artifacts,
                    context=None,
                )
            )
        enhanced_results: Results = self._enhancer.enhance_using_context(
            text=text,
            raw_results=enhanced,
            nlp_artifacts=artifacts,
            recognizers=recognizers_used,
            context=None,
        )
        return enhanced_results

    def _threshold(self, result: Any) -> float:
        recognizer = self._by_id.get(result.recognition_metadata[result.RECOGNIZER_IDENTIFIER_KEY])
        thresholds = recognizer.score_thresholds if recognizer is not None else {}
        own = thresholds.get(result.entity_type, thresholds.get("default")) if thresholds else None
        return self.score_threshold if own is None else float(own)


def finding(result: Any) -> Finding:
    """A result without what only Presidio needs."""
    return Finding(str(result.entity_type), int(result.start), int(result.end), float(result.score))


def _once(results: Results) -> Results:
    """What one recogniser found, as it would give it: without what lies in a better one."""
    return EntityRecognizer.remove_duplicates(results) if len(results) > 1 else results


def _scored(results: Results) -> Results:
    """As `remove_duplicates` leaves a single result: one of score 0 is none."""
    return [r for r in results if r.score != 0]
