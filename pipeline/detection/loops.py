"""Facts of one source partition in, anomalies out that cannot wait for a window: loops, and records that are gone.

The pure core of `guard`.

Like every fold here a function of the facts in their order: ticks make time pass, wall time never enters, so a replay
gives the same anomalies with the same revisions.

Memory: at most `max_runs` runs of about 1 kB; a run is forgotten after IDLE_MS of event time without a call.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.lifecycle import Case, close, step
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loss_detected import lost
from pipeline.detection.rule import Finding
from pipeline.detection.runs import Run, observe
from pipeline.windows.watermark import MINUTE_MS
from schemas.anomaly import Anomaly
from schemas.fact import Fact

IDLE_MS: Final = 2 * 3_600_000

# Tenant and keyed hash of the run.
RunKey = tuple[str, str]


class WatchState(msgspec.Struct):
    """A watch as it is kept in a snapshot; runs in the order in which they were last seen."""

    epoch: int
    next_offset: int
    watermark: int
    runs: list[tuple[RunKey, Run]]
    cases: list[tuple[RunKey, Case]]
    forgotten: int


class LoopWatch:
    """The watch over the runs of one source partition.

    Args:
        mark: Next source position to apply.
        rule: The recipe.
        max_runs: Most runs held.
    """

    def __init__(self, mark: Mark, rule: LoopRunaway | None = None, max_runs: int = 25_000) -> None:
        self.mark = mark
        self.rule = rule or LoopRunaway()
        self.watermark = 0
        self.runs: dict[RunKey, Run] = {}
        self.cases: dict[RunKey, Case] = {}
        self.forgotten = 0
        self._max_runs = max_runs

    def fold(self, fact: Fact) -> list[Anomaly]:
        """Apply one fact; the anomalies it leads to. Duplicates and facts behind a hole are skipped."""
        if self.mark.offer(fact.position, fact.next_offset) != "apply":
            return []
        if fact.type == "gap":
            page = lost(fact)
            return [] if page is None else [page]
        if fact.backfill or fact.type not in ("call", "tick"):
            return []
        found = self._advance(fact.event_ms)
        if fact.type == "call":
            name = fact.run or fact.session
            if name is not None:
                found += self._call((fact.tenant, name), fact)
        return found

    def _call(self, key: RunKey, fact: Fact) -> list[Anomaly]:
        run = self.runs.pop(key, None)
        found = []
        if run is None:
            run = Run()
            if len(self.runs) >= self._max_runs:
                found = self._forget(next(iter(self.runs)))
        # The newest at the end: the dictionary's order is the order of use.
        self.runs[key] = run
        run.seen_ms = self.watermark
        circles = observe(run, fact)
        if not circles:
            return found
        case = self.cases.get(key)
        subject = case.last.subject if case is not None and case.last is not None else _subject(fact)
        finding = self.rule.evaluate(run, circles, subject, fact.position.partition)
        if finding is not None or case is not None:
            found += self._step(key, case or Case(), subject, finding)
        return found

    def _step(self, key: RunKey, case: Case, subject: dict[str, str], finding: Finding | None) -> list[Anomaly]:
        kept, anomaly = step(self.rule.life, case, subject, finding, self.watermark)
        if kept is None:
            self.cases.pop(key, None)
        else:
            self.cases[key] = kept
        return [] if anomaly is None else [anomaly]

    def _advance(self, event_ms: int) -> list[Anomaly]:
        """Once a minute of event time: what has been quiet is resolved, what is idle is forgotten."""
        before, self.watermark = self.watermark, max(self.watermark, event_ms)
        if before // MINUTE_MS == self.watermark // MINUTE_MS:
            return []
        found: list[Anomaly] = []
        for key, case in list(self.cases.items()):
            run = self.runs.get(key)
            if case.last is not None and (run is None or self.watermark - run.seen_ms >= MINUTE_MS):
                found += self._step(key, case, case.last.subject, None)
        while self.runs:
            oldest = next(iter(self.runs))
            if self.watermark - self.runs[oldest].seen_ms < IDLE_MS:
                break
            found += self._forget(oldest)
        return found

    def _forget(self, key: RunKey) -> list[Anomaly]:
        del self.runs[key]
        self.forgotten += 1
        case = self.cases.pop(key, None)
        if case is None or not case.firing:
            return []
        return [close(case, self.watermark, "the run has been idle")]

    def keys_held(self) -> int:
        """Runs in memory, for metrics."""
        return len(self.runs)

    def state(self) -> WatchState:
        """The state for a snapshot."""
        return WatchState(
            self.mark.epoch,
            self.mark.next_offset,
            self.watermark,
            list(self.runs.items()),
            list(self.cases.items()),
            self.forgotten,
        )

    def restore(self, state: WatchState) -> None:
        """Continue from a state; the watch must be new."""
        self.mark = Mark(state.epoch, state.next_offset)
        self.watermark = state.watermark
        self.runs, self.cases = dict(state.runs), dict(state.cases)
        self.forgotten = state.forgotten


def _subject(fact: Fact) -> dict[str, str]:
    named = {"tenant": fact.tenant, "feature": fact.feature, "run": fact.run, "session": fact.session}
    if fact.run is not None:
        del named["session"]
    return {name: value for name, value in named.items() if value}
