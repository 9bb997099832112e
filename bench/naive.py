"""Presidio as its documentation sets it up: the other side of the benches, made of stock parts only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import presidio_analyzer
import spacy
import yaml
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpEngine, NoOpNlpEngine, SpacyNlpEngine


def analyzer(model: str | None) -> AnalyzerEngine:
    """An engine with Presidio's default recognisers.

    Args:
        model: package or folder of a spaCy model, all of whose pipes run; None: no model at all.
    """
    if model is None:
        engine: NlpEngine = NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
        registry = RecognizerRegistry(supported_languages=["en"])
        registry.load_predefined_recognizers(languages=["en"], nlp_engine=None)
        registry.recognizers = [one for one in registry.recognizers if one.name != "SpacyRecognizer"]
        return AnalyzerEngine(nlp_engine=engine, registry=registry)
    return AnalyzerEngine(nlp_engine=_with_model(model))


def _with_model(model: str) -> Any:
    """Presidio's default configuration with another model (its own is large and downloaded from elsewhere)."""
    conf = yaml.safe_load((Path(presidio_analyzer.__file__).parent / "conf" / "default.yaml").read_text())
    engine = SpacyNlpEngine(
        models=[{"lang_code": "en", "model_name": model}],
        ner_model_configuration=NerModelConfiguration(**conf["ner_model_configuration"]),
    )
    engine.nlp = {"en": spacy.load(model)}
    return engine
