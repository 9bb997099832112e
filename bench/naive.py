"""Presidio as its documentation sets it up: the other side of the benches, made of stock parts only."""

from __future__ import annotations

from typing import Any

from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpEngine, NlpEngineProvider, NoOpNlpEngine, SpacyNlpEngine


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
    if "/" in model:
        return AnalyzerEngine(nlp_engine=_of_folder(model))
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    return AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=configuration).create_engine())


def _of_folder(model: str) -> Any:
    import spacy

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    engine.nlp = {"en": spacy.load(model)}
    return engine
