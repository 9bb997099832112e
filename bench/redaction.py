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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.figures import Report, last_json_object
from bench.material import chats, texts
from bench.redaction_sides import OTHERS, Naive, batched, ours, with_cache
from pipeline.errors import UsageError

SIZES: Final = (200, 2_000, 10_000)
COUNTS: Final = {200: 200, 2_000: 40, 10_000: 12}
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
        naive, find = Naive(ner=ner, recognizers=recognizers), ours(ner=ner, recognizers=recognizers)
        kind, passes = ("ner", 1) if ner else ("patterns", 8)
        for size in SIZES:
            pieces = texts(size, COUNTS[size] // (4 if self.quick else 1))
            batches = batched(pieces)
            ratios, speeds, alone, other = [], [], [], []
            for round_ in range(self.rounds + 1):
                theirs_s, theirs = _timed(lambda: [naive.analyze(text) for text in pieces])  # noqa: B023 - called at once
                # The mean of enough passes for the clock; nothing is remembered in between.
                ours_s, mine = _timed(lambda: [f for batch in batches for f in find(batch)], passes)  # noqa: B023
                single_s, single = _timed(lambda: [find([t])[0] for t in pieces], passes)  # noqa: B023
                if round_ == 0:  # warm now
                    pairs = zip(pieces, theirs, mine, strict=True)
                    differing = [text for text, a, b in pairs if naive.complete(text, a) != b]
                    # Of the pipes beside the recogniser of names only the parser can change a finding, by where it lets
                    # a sentence begin: those are counted apart.
                    same_pipe = Naive(ner=ner, recognizers=recognizers, whole_pipeline=False) if differing else naive
                    self.differences.append(
                        sum(same_pipe.complete(text, same_pipe.analyze(text)) != find([text])[0] for text in differing)
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
        naive_s, _ = _timed(lambda: [naive.analyze(text) for text in distinct])
        # Without a cache each text is judged at each of its calls; its cost is the same every time, so once is
        # measured.
        cost = {text: _timed(lambda: naive.analyze(text))[0] for text in distinct}  # noqa: B023 - called at once
        whole_s = sum(cost[text] for call in calls for text in call)
        ratios, same = [], []
        for _ in range(self.rounds):
            redactor = Redactor(RedactionConfig(), processes=0)
            redactor.start()
            ours_s, _ = _timed(lambda: [redactor.redact_many_sync([("t", text) for text in call]) for call in calls])  # noqa: B023
            redactor.close()
            cached_s, _ = _timed(lambda: with_cache(naive, calls))
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
        for name, make in OTHERS.items():
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


def _timed(work: Callable[[], Any], passes: int = 1) -> tuple[float, Any]:
    """Processor seconds of a call, the mean of so many, and what the last one gave."""
    begun = time.process_time()
    for _ in range(passes):
        result = work()
    return (time.process_time() - begun) / passes, result


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
