"""Find personal data with Presidio's own recognisers, in this process; must not replace, cache or log texts.

The findings are those of Presidio's `AnalyzerEngine.analyze` over the same recognisers and model. What differs is the
cost (named entities in batches, context only where a finding can use it) and that a doubt about a text is
an answer, not a shrug.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from typing import Any, Final

from presidio_analyzer import EntityRecognizer
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.predefined_recognizers import SpacyRecognizer

from pipeline.redaction import chunks, recognizers
from pipeline.redaction.context import Context
from pipeline.redaction.errors import EngineError
from pipeline.redaction.fold import fold, unfold
from pipeline.redaction.gates import Gates, Search
from pipeline.redaction.hardening import harden
from pipeline.redaction.kinds import base, lean, model
from pipeline.redaction.kinds.base import Kind
from pipeline.redaction.kinds.known import KNOWN
from pipeline.redaction.language import Language
from pipeline.redaction.values import (
    RECOGNISER_ERROR,
    REGEX_TIMEOUT,
    TOO_LONG,
    Answer,
    Finding,
    Reason,
    RedactionConfig,
)

_KNOWN_NAME: Final = ("PERSON", "I met ", "Robert Johnson", " in Chicago.")
# Presidio finds these without or with other words than our known values have.
_SAID_OTHERWISE: Final = frozenset({"PERSON", "LOCATION"})


class _Doubt(Exception):
    """Something about one text is not sure; the argument is the reason code."""


class Engine:
    """Presidio's recognisers and, if wanted, a named entity model, ready to judge texts.

    Safe to share between threads; they take turns.

    Attributes:
        manifest: digest of all that can change findings: recognisers, patterns, library versions, model, settings.
    """

    manifest: str

    def __init__(self, config: RedactionConfig, database: bytes | None = None) -> None:
        """Load everything and prove with known values that it works.

        Args:
            config: how.
            database: the gates of such an engine, compiled before (`sieve`); saves a second.

        Raises:
            EngineError: if a recogniser or the model is missing, or a known value is not found.
        """
        self._config = config
        self._watch = harden(config.regex_timeout_s)
        self._language = Language(config)
        self._patterns = recognizers.load(config)
        self._spacy = SpacyRecognizer(
            supported_language=config.language, supported_entities=self._language.get_supported_entities()
        )
        self._select_entities()
        self._whole = frozenset(id(r) for r in self._patterns if getattr(r, "whole_text", False))
        self._gates = Gates(self._patterns, on=config.gates, database=database, hyperscan=config.hyperscan)
        self._sees_all = config.gates and self._gates.complete and not self._ner
        self._by_id = {r.id: r for r in [*self._patterns, self._spacy]}
        self._enhancer = LemmaContextAwareEnhancer()
        self._context = Context(self._language, [*self._patterns, self._spacy])
        self._lock = threading.Lock()
        self._explaining = threading.Lock()
        self._reasons: list[Reason] | None = None  # where somebody asks for them
        self._offset = 0  # of the piece at work
        self.manifest = self._digest()
        self._score_threshold = 0.0  # the self-test is about recognisers, whatever the threshold
        self._self_test()
        self._score_threshold = config.score_threshold

    def _select_entities(self) -> None:
        pattern_types = {e for r in self._patterns for e in r.supported_entities}
        types = pattern_types | (set(self._spacy.supported_entities) if self._config.ner else set())
        self._types = types
        wanted = types if self._config.entities is None else set(self._config.entities)
        if unknown := wanted - types:
            raise EngineError(f"nothing here finds {', '.join(sorted(unknown))}; known are {', '.join(sorted(types))}")
        self._entities = sorted(wanted)
        self._patterns = [r for r in self._patterns if wanted & set(r.supported_entities)]
        self._ner = self._config.ner and bool(wanted & set(self._spacy.supported_entities))
        # A recogniser of the user's may read tokens; the default ones never do.
        self._eager = any(recognizers.reads_tokens(r) for r in self._patterns)
        self._folds = self._config.recognizers == "tokentrail"

    def _digest(self) -> str:
        c = self._config
        described = [
            recognizers.describe(self._patterns, c),
            [c.language, self._ner, self._language.model_digest, self._entities, c.score_threshold],
            self._language.ner_model_configuration.to_dict() if self._ner else None,
            [c.max_chars, c.chunk_chars, c.overlap_chars],
        ]
        return hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _self_test(self) -> None:
        ours = self._config.recognizers == "tokentrail"
        sought = {e for r in self._patterns if not recognizers.reads_tokens(r) for e in r.supported_entities}
        known = [
            *((e, *words) for e, words in KNOWN.items() if e in sought and (ours or e not in _SAID_OTHERWISE)),
            *([_KNOWN_NAME] if self._ner else []),
        ]
        if ours and (silent := sought - KNOWN.keys()):
            raise EngineError(f"self-test: no value is known of {', '.join(sorted(silent))}; add one to `kinds.known`")
        texts = [before + value + after for _, before, value, after in known]
        for (entity, before, value, _), answer in zip(known, self.find(texts), strict=True):
            if entity not in self._entities:
                continue
            if isinstance(answer, str):
                raise EngineError(f"self-test: looking for {entity} in a known text failed ({answer})")
            start, end = len(before), len(before) + len(value)
            if not any(f.entity == entity and f.start <= start and f.end >= end for f in answer):
                raise EngineError(f"self-test: the known {entity} was not found; a recogniser or the model is broken")

    def sieve(self) -> bytes:
        """What tells without this engine that a text has no findings (`Sieve.load`); empty if nothing can.

        It speaks for the text as it stands, without names: a text that reads otherwise than it stands (`fold`) has to
        come here.
        """
        return self._gates.sieve.dump() if self._sees_all else b""

    def find(self, texts: Sequence[str]) -> list[Answer]:
        """Judge texts.

        Args:
            texts: valid Unicode each; best sent together, because the model works in batches.

        Returns:
            For each text its findings ordered by place, or the reason code of a failure. One text's failure never
            touches another's findings.
        """
        if self._reasons is None and self._sees_all:
            loud = [
                i
                for i, text in enumerate(texts)
                if len(text) > min(self._config.chunk_chars, self._config.max_chars)
                or not self._gates.sieve.is_silent(text)
            ]
            if len(loud) < len(texts):
                answers: list[Answer] = [[] for _ in texts]
                for i, answer in zip(loud, self._find([texts[i] for i in loud]), strict=True):
                    answers[i] = answer
                return answers
        return self._find(texts)

    def _find(self, texts: Sequence[str]) -> list[Answer]:
        with self._lock, self._language.zone():
            pieces = [
                chunks.split(text, self._config.chunk_chars, self._config.overlap_chars)
                if len(text) <= self._config.max_chars
                else []
                for text in texts
            ]
            docs = iter(self._recognised([piece.text for of_text in pieces for piece in of_text]))
            return [
                self._judge(text, of_text, [next(docs) for _ in of_text])
                for text, of_text in zip(texts, pieces, strict=True)
            ]

    def _recognised(self, texts: list[str]) -> list[Any]:
        """A spaCy document for each text, with its entities; None where spaCy failed. Without names: all None."""
        docs: list[Any] = [None] * len(texts)
        if not self._ner:
            return docs
        for i, text in enumerate(texts):
            try:
                docs[i] = self._language.tokenize(text)
            except Exception:  # this text is replaced
                continue
        try:
            self._language.recognise([doc for doc in docs if doc is not None])
        except Exception:  # one of them: find out which
            for i, text in enumerate(texts):
                try:
                    docs[i] = self._language.tokenize(text)
                    self._language.recognise([docs[i]])
                except Exception:
                    docs[i] = None
        return docs

    def _judge(self, text: str, pieces: list[chunks.Chunk], docs: list[Any]) -> Answer:
        if not pieces:
            return TOO_LONG
        self._offset = 0
        try:
            if len(pieces) == 1:
                return _ordered(self._find_in(text, docs[0]))
            found = []
            for piece, doc in zip(pieces, docs, strict=True):
                self._offset = piece.offset
                found.append(self._find_in(piece.text, doc))
            self._offset = 0
            merged = chunks.merge(text, pieces, found)
            whole = [
                self._finding(r)
                for s in self._gates.work(text)
                if id(s.recognizer) in self._whole
                for r in self._run(s, text)
            ]
            return _ordered([*merged, *whole]) if whole else merged
        except _Doubt as doubt:
            return str(doubt)
        except TimeoutError:
            return REGEX_TIMEOUT
        except Exception:  # the message may hold text, so it goes no further than here
            return RECOGNISER_ERROR

    def _find_in(self, text: str, doc: Any) -> list[Finding]:
        """Findings in one piece of text, as it stands and as a reader would take it; `doc` is None without names."""
        findings = self._find_as_it_stands(text, doc, ner=self._ner)
        folded = fold(text) if self._folds else None
        if folded is None:
            return findings
        plain, places = folded
        seen = {(f.entity, f.start, f.end) for f in findings}
        for f in self._find_as_it_stands(plain, None, ner=False):
            start, end = unfold(f.start, f.end, places)
            if (f.entity, start, end) not in seen:
                findings.append(Finding(f.entity, start, end, f.score))
        return findings

    def _find_as_it_stands(self, text: str, doc: Any, *, ner: bool) -> list[Finding]:
        if ner and doc is None:
            raise _Doubt(RECOGNISER_ERROR)
        if not self._watch.is_listening():
            raise _Doubt(RECOGNISER_ERROR)
        self._watch.reset()
        artifacts = None
        if self._eager:
            doc = doc if doc is not None else self._language.tokenize(text)
            artifacts = self._language.artifacts(doc)
        results: list[Any] = []
        needs_context = False
        last: Any = None
        own: list[Any] = []  # of the last recogniser
        for search in self._gates.work(text):
            if search.recognizer is not last:
                results += self._once(own)
                last, own = search.recognizer, []
            found = self._run(search, text, artifacts)
            if found:
                own += found
                needs_context = needs_context or bool(last.context)
        results += self._once(own)
        if ner:
            named = self._spacy.analyze(text, self._entities, self._language.spans(doc))
            if self._folds:
                named = [r for r in named if model.keeps(text, r.entity_type, r.start, r.end)]
            results.extend(named)
        if results and (needs_context or self._eager):
            if self._eager:
                results = self._with_context(text, results, artifacts)
            else:
                self._context.enhance(text, results, doc)
        results = [r for r in results if not r.score < self._threshold(r)]  # a score that is no number stays a doubt
        results = EntityRecognizer.remove_duplicates(results)
        if self._reasons is not None:
            self._reasons += [self._reason(r) for r in results]
        findings = [self._finding(r) for r in results]
        if not all(
            0 <= f.start < f.end <= len(text) and 0 <= f.score <= 1 and f.entity in self._types for f in findings
        ):
            raise _Doubt(RECOGNISER_ERROR)
        if self._watch.doubt is not None:
            raise _Doubt(self._watch.doubt)
        return findings

    def explain(self, text: str) -> tuple[Answer, list[Reason]]:
        """The answer about one text, and for each finding who found it and by what; for people, not for streams.

        Offsets of reasons are those of the text, or of its folded form where only that shows the value.
        """
        with self._explaining:
            self._reasons = []
            try:
                (answer,) = self.find([text])
                return answer, sorted(set(self._reasons), key=lambda r: (r.start, r.end, r.entity))
            finally:
                self._reasons = None

    def _reason(self, result: Any) -> Reason:
        about = result.recognition_metadata or {}
        finder = self._by_id.get(about.get(result.RECOGNIZER_IDENTIFIER_KEY))
        who = str(about.get(result.RECOGNIZER_NAME_KEY) or getattr(finder, "name", "?"))
        why = about.get(base.PATTERN) or ("the model" if who == self._spacy.name else "its own search")
        return Reason(
            str(result.entity_type),
            self._offset + result.start,
            self._offset + result.end,
            round(float(result.score), 2),
            who,
            why,
        )

    def _run(self, search: Search, text: str, artifacts: Any = None) -> list[Any]:
        """Results of one search, at offsets of the text."""
        recognizer, number = search.recognizer, search.pattern
        if number is not None:
            if isinstance(recognizer, Kind):
                return recognizer.search(number, text, search.start, search.end)
            return lean.search(recognizer, number, text, search.start, search.end)
        found: list[Any] = recognizer.analyze(text[search.start : search.end], self._entities, artifacts) or []
        for result in found:
            result.start += search.start
            result.end += search.start
            result.recognition_metadata = {
                result.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
                **(result.recognition_metadata or {}),
            }
        return found

    @staticmethod
    def _once(results: list[Any]) -> list[Any]:
        """What one recogniser found, as it would give it: without what lies in a better one."""
        once: list[Any] = EntityRecognizer.remove_duplicates(results) if len(results) > 1 else results
        return once

    @staticmethod
    def _finding(result: Any) -> Finding:
        return Finding(str(result.entity_type), int(result.start), int(result.end), float(result.score))

    def _with_context(self, text: str, results: list[Any], artifacts: Any) -> list[Any]:
        """Scores raised by words before a finding, by the recogniser's own rule and then by the common one."""
        recognizers_used = [*self._patterns, self._spacy]
        enhanced: list[Any] = []
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
        enhanced_results: list[Any] = self._enhancer.enhance_using_context(
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
        own = thresholds.get(result.entity_type, thresholds.get("default"))
        return self._score_threshold if own is None else float(own)


def _ordered(findings: list[Finding]) -> list[Finding]:
    """Each finding once, by place."""
    return sorted(set(findings), key=lambda f: (f.start, f.end, f.entity, f.score))
