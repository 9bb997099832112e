"""Find personal data in texts, however they are written, in this process; must not replace, cache or log texts.

An engine cuts long texts, has the model name what it can, looks at every way in which a text reads (`readings`), and
makes of every doubt about a text an answer. What recognisers find in one text as it stands is `searching`'s.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from typing import Any

from presidio_analyzer.predefined_recognizers import SpacyRecognizer

from pipeline.redaction import chunks, recognizers, selftest
from pipeline.redaction.errors import EngineError
from pipeline.redaction.gates import Gates
from pipeline.redaction.hardening import harden
from pipeline.redaction.kinds import base
from pipeline.redaction.language import Language
from pipeline.redaction.readings import readings
from pipeline.redaction.searching import Doubt, Searching, finding
from pipeline.redaction.values import (
    RECOGNISER_ERROR,
    REGEX_TIMEOUT,
    TOO_LONG,
    Answer,
    Finding,
    Reason,
    RedactionConfig,
)


class Engine:
    """Presidio's recognisers, ours and, if wanted, a named entity model, ready to judge texts.

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
        watch = harden(config.regex_timeout_s)
        self._language = Language(config)
        spacy = SpacyRecognizer(
            supported_language=config.language, supported_entities=self._language.get_supported_entities()
        )
        self._select(recognizers.load(config), spacy)
        self._reads = config.recognizers == "tokentrail"
        self._whole = frozenset(id(r) for r in self._patterns if getattr(r, "whole_text", False))
        self._gates = Gates(
            self._patterns, on=config.gates, database=database, hyperscan=config.hyperscan, reads=self._reads
        )
        self._sees_all = config.gates and self._gates.complete
        self._search = Searching(
            self._patterns, spacy, self._language, watch, self._entities, strict=config.recognizers == "tokentrail"
        )
        self._lock = threading.Lock()
        self._explaining = threading.Lock()
        self._reasons: list[Reason] | None = None  # where somebody asks for them
        self._offset = 0  # of the piece at work
        self.manifest = self._digest()
        # The self-test is about recognisers, whatever the threshold.
        selftest.check(self.find, self._patterns, self._entities, config, names=self._ner)
        self._search.score_threshold = config.score_threshold

    def _select(self, patterns: list[Any], spacy: SpacyRecognizer) -> None:
        """Keep the recognisers of wanted types.

        Raises:
            EngineError: nothing finds a wanted type.
        """
        pattern_types = {e for r in patterns for e in r.supported_entities}
        types = pattern_types | (set(spacy.supported_entities) if self._config.ner else set())
        wanted = types if self._config.entities is None else set(self._config.entities)
        if unknown := wanted - types:
            raise EngineError(f"nothing here finds {', '.join(sorted(unknown))}; known are {', '.join(sorted(types))}")
        self._entities = sorted(wanted)
        self._patterns = [r for r in patterns if wanted & set(r.supported_entities)]
        self._ner = self._config.ner and bool(wanted & set(spacy.supported_entities))

    def _digest(self) -> str:
        c = self._config
        described = [
            recognizers.describe(self._patterns, c),
            [c.language, self._ner, self._language.model_digest, self._entities, c.score_threshold],
            self._language.ner_model_configuration.to_dict() if self._ner else None,
            [c.max_chars, c.chunk_chars, c.overlap_chars],
        ]
        return hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=16).hexdigest()

    def sieve(self) -> bytes:
        """What tells without this engine that a text has no findings but names (`Sieve.load`); empty if nothing can."""
        return self._gates.sieve.dump() if self._sees_all else b""

    def find(self, texts: Sequence[str], names: bool = True) -> list[Answer]:
        """Judge texts.

        Args:
            texts: valid Unicode each; best sent together, because the model works in batches.
            names: False: what only the model finds is not looked for.

        Returns:
            For each text its findings ordered by place, or the reason code of a failure. One text's failure never
            touches another's findings.
        """
        names = names and self._ner
        with self._lock, self._language.zone():
            pieces = [
                chunks.split(text, self._config.chunk_chars, self._config.overlap_chars)
                if len(text) <= self._config.max_chars
                else []
                for text in texts
            ]
            parts = [piece.text for of_text in pieces for piece in of_text]
            docs = iter(self._recognised(parts) if names else [None] * len(parts))
            return [
                self._judge(text, of_text, [next(docs) for _ in of_text], names)
                for text, of_text in zip(texts, pieces, strict=True)
            ]

    def _recognised(self, texts: list[str]) -> list[Any]:
        """A spaCy document for each text, with its entities; None where spaCy failed."""
        docs: list[Any] = [None] * len(texts)
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

    def _judge(self, text: str, pieces: list[chunks.Chunk], docs: list[Any], names: bool) -> Answer:
        if not pieces:
            return TOO_LONG
        self._offset = 0
        try:
            if names and any(doc is None for doc in docs):
                return RECOGNISER_ERROR
            if len(pieces) == 1:
                return _ordered(self._find_in(text, docs[0]))
            found = []
            for piece, doc in zip(pieces, docs, strict=True):
                self._offset = piece.offset
                found.append(self._find_in(piece.text, doc))
            self._offset = 0
            merged = chunks.merge(text, pieces, found)
            searches = [s for s in self._gates.look(text).searches if id(s.recognizer) in self._whole]
            whole = [finding(r) for s in searches for r in self._search.run(s, text)]
            return _ordered([*merged, *whole]) if whole else merged
        except Doubt as doubt:
            return str(doubt)
        except TimeoutError:
            return REGEX_TIMEOUT
        except Exception:  # the message may hold text, so it goes no further than here
            return RECOGNISER_ERROR

    def _find_in(self, text: str, doc: Any) -> list[Finding]:
        """Findings in one piece of text, as it stands and as it reads; `doc` is None without names."""
        look = self._gates.look(text)
        told = None if self._reasons is None else self._tell
        findings = self._search.find(text, look.searches, doc, told=told) if look.searches or doc is not None else []
        if not self._reads or (text.isascii() and not look.escapes and not look.runs):
            return findings
        seen = {(f.entity, f.start, f.end) for f in findings}
        for reading in readings(text, escapes=look.escapes, runs=look.runs):
            searches = self._gates.look(reading.text).searches
            for f in self._search.find(reading.text, searches, told=told) if searches else ():
                start, end = reading.place(f.start, f.end)
                if (f.entity, start, end) not in seen:
                    seen.add((f.entity, start, end))
                    findings.append(Finding(f.entity, start, end, f.score))
        return findings

    def explain(self, text: str) -> tuple[Answer, list[Reason]]:
        """The answer about one text, and for each finding who found it and by what; for people, not for streams.

        Offsets of reasons are those of the text, or of a reading of it where only that shows the value.
        """
        with self._explaining:
            self._reasons = []
            try:
                (answer,) = self.find([text])
                return answer, sorted(set(self._reasons), key=lambda r: (r.start, r.end, r.entity))
            finally:
                self._reasons = None

    def _tell(self, results: list[Any]) -> None:
        assert self._reasons is not None
        self._reasons += [self._reason(r) for r in results]

    def _reason(self, result: Any) -> Reason:
        about = result.recognition_metadata or {}
        finder = self._search.finder(result)
        who = str(about.get(result.RECOGNIZER_NAME_KEY) or getattr(finder, "name", "?"))
        why = about.get(base.PATTERN) or ("the model" if isinstance(finder, SpacyRecognizer) else "its own search")
        return Reason(
            str(result.entity_type),
            self._offset + result.start,
            self._offset + result.end,
            round(float(result.score), 2),
            who,
            why,
        )


def _ordered(findings: list[Finding]) -> list[Finding]:
    """Each finding once, by place."""
    if len(findings) < 2:
        return findings
    return sorted(set(findings), key=lambda f: (f.start, f.end, f.entity, f.score))
