"""Facts of one source partition in, anomalies out that cannot wait for a window: loops, and records that are gone.

The pure core of `guard`.

Like every fold here a function of the facts in their order: ticks make time pass, wall time never enters, so a replay
gives the same anomalies with the same revisions.

Memory: at most `max_runs` runs of at most 1 kB each with everything about them, measured by `bench detection` (a run is
kept as bytes, but for the newest ones: `awake`); a run is forgotten after IDLE_MS of event time without a call. What
runs of a feature usually spend is kept for at most MOST_PEERS features, 1 kB each.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.awake import RunKey, Runs
from pipeline.detection.lifecycle import Case, close, step
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loss_detected import LossDetected
from pipeline.detection.rule import Finding
from pipeline.detection.run import Run
from pipeline.detection.run_velocity import Peers, RunVelocity
from pipeline.detection.runs import observe
from pipeline.detection.versions import Versions
from pipeline.windows.watermark import MINUTE_MS
from schemas.anomaly import Anomaly
from schemas.fact import Fact

IDLE_MS: Final = 2 * 3_600_000
MOST_PEERS: Final = 4_000

# Rule and run.
CaseKey = tuple[str, RunKey]


class WatchState(msgspec.Struct):
    """A watch as it is kept in a snapshot; runs in the order in which they were last seen."""

    epoch: int
    next_offset: int
    watermark: int
    runs: list[tuple[RunKey, bytes]]
    cases: list[tuple[CaseKey, Case]]
    peers: list[tuple[tuple[str, str], Peers]]
    forgotten: int


class LoopWatch:
    """The watch over the runs of one source partition.

    Args:
        mark: Next source position to apply.
        versions: The rules; may be replaced by one that knows more versions. A fact is judged by those in force when it
            was received.
        max_runs: Most runs held.
    """

    def __init__(self, mark: Mark, versions: Versions | None = None, max_runs: int = 25_000) -> None:
        self.mark = mark
        self.versions = versions or Versions()
        self._rules = self.versions.at(0)[1]
        self._found: dict[str, tuple[LoopRunaway | None, RunVelocity | None]] = {}
        self.watermark = 0
        self.runs = Runs()
        self.cases: dict[CaseKey, Case] = {}
        self.peers: OrderedDict[tuple[str, str], Peers] = OrderedDict()
        self.forgotten = 0
        self._max_runs = max_runs

    def fold(self, fact: Fact) -> list[Anomaly]:
        """Apply one fact; the anomalies it leads to. Duplicates and facts behind a hole are skipped."""
        if self.mark.offer(fact.position, fact.next_offset) != "apply":
            return []
        rules = self.versions.at(fact.received_at)[1]
        if rules is not self._rules:
            self._rules = rules
            self._found.clear()
        if fact.type == "gap":
            loss = self._rules.find(LossDetected, "partition")
            page = None if loss is None else loss.evaluate(fact)
            return [] if page is None else [page]
        if fact.backfill or fact.type not in ("call", "tick"):
            return []
        at_ms = fact.event_ms
        found = self._advance(at_ms) if at_ms > self.watermark else []
        if fact.type == "call" and (fact.run or fact.session):
            found += self._call(run_key(fact), fact, at_ms)
        return found

    def _call(self, key: RunKey, fact: Fact, at_ms: int) -> list[Anomaly]:
        run = self.runs.wake(key)
        found: list[Anomaly] = []
        if run is None:
            oldest = self.runs.oldest() if len(self.runs) >= self._max_runs else None
            if oldest is not None:
                found = self._forget(oldest)
            run = Run(stretch_ms=at_ms)
            self.runs.add(key, run)
        run.seen_ms = self.watermark
        stretch = run.stretch_ms, run.stretch_cost, run.stretch_tokens
        circles = observe(run, fact, at_ms)
        if run.stretch_ms != stretch[0]:
            self._peers(fact).add(stretch[1], stretch[2])
        loops, velocity = self._recipes(fact.tenant)
        partition = fact.position.partition
        if circles:
            subject = self._subject((LoopRunaway.rule, key), fact)
            finding = None if loops is None else loops.evaluate(run, circles, subject, partition)
            found += self._judged((LoopRunaway.rule, key), subject, finding)
        elif self.cases and (LoopRunaway.rule, key) in self.cases:
            found += self._judged((LoopRunaway.rule, key), {}, None)
        fast = velocity is not None and velocity.is_fast(run)
        name = (RunVelocity.rule, key)
        if fast or (self.cases and name in self.cases):
            subject = self._subject(name, fact)
            peers = self.peers.get((fact.tenant, fact.feature or ""))
            finding = velocity.evaluate(run, peers, subject, partition) if velocity is not None and fast else None
            found += self._judged(name, subject, finding)
        return found

    def _recipes(self, tenant: str) -> tuple[LoopRunaway | None, RunVelocity | None]:
        """The tenant's recipes by the rules in force, looked up once."""
        found = self._found.get(tenant)
        if found is None:
            if len(self._found) >= MOST_PEERS:
                self._found.clear()
            rules = self._rules
            found = self._found[tenant] = rules.find(LoopRunaway, "run", tenant), rules.find(RunVelocity, "run", tenant)
        return found

    def _peers(self, fact: Fact) -> Peers:
        name = fact.tenant, fact.feature or ""
        peers = self.peers.get(name)
        if peers is None:
            if len(self.peers) >= MOST_PEERS:
                self.peers.popitem(last=False)
            peers = self.peers[name] = Peers()
        self.peers.move_to_end(name)
        return peers

    def _subject(self, key: CaseKey, fact: Fact) -> dict[str, str]:
        """Who it is about; what was said at first stands."""
        case = self.cases.get(key)
        return case.last.subject if case is not None and case.last is not None else _subject(fact)

    def _judged(self, key: CaseKey, subject: dict[str, str], finding: Finding | None) -> list[Anomaly]:
        case = self.cases.get(key)
        if finding is None and case is None:
            return []
        if not subject and case is not None and case.last is not None:
            subject = case.last.subject
        return self._step(key, case or Case(), subject, finding)

    def _step(self, key: CaseKey, case: Case, subject: dict[str, str], finding: Finding | None) -> list[Anomaly]:
        life = self._rules.life(key[0], "run", subject["tenant"])
        kept, anomaly = step(life, case, subject, finding, self.watermark)
        if kept is None:
            self.cases.pop(key, None)
        else:
            self.cases[key] = kept
        return [] if anomaly is None else [anomaly]

    def _advance(self, event_ms: int) -> list[Anomaly]:
        """Once a minute of event time: what has been quiet is resolved, what is idle is forgotten."""
        before, self.watermark = self.watermark, event_ms
        if before // MINUTE_MS == self.watermark // MINUTE_MS:
            return []
        found: list[Anomaly] = []
        for key, case in list(self.cases.items()):
            seen_ms = self.runs.seen_ms(key[1])
            if case.last is not None and (seen_ms is None or self.watermark - seen_ms >= MINUTE_MS):
                found += self._step(key, case, case.last.subject, None)
        while (oldest := self.runs.oldest()) is not None:
            seen_ms = self.runs.seen_ms(oldest)
            if seen_ms is None or self.watermark - seen_ms < IDLE_MS:
                break
            found += self._forget(oldest)
        return found

    def _forget(self, key: RunKey) -> list[Anomaly]:
        self.runs.drop(key)
        self.forgotten += 1
        found = []
        for rule in (LoopRunaway.rule, RunVelocity.rule):
            case = self.cases.pop((rule, key), None)
            if case is not None and case.firing:
                found.append(close(case, self.watermark, "the run has been idle"))
        return found

    def keys_held(self) -> int:
        """Runs in memory, for metrics."""
        return len(self.runs)

    def state(self) -> WatchState:
        """The state for a snapshot."""
        return WatchState(
            self.mark.epoch,
            self.mark.next_offset,
            self.watermark,
            self.runs.items(),
            list(self.cases.items()),
            list(self.peers.items()),
            self.forgotten,
        )

    def restore(self, state: WatchState) -> None:
        """Continue from a state; the watch must be new."""
        self.mark = Mark(state.epoch, state.next_offset)
        self.watermark = state.watermark
        self.runs, self.cases = Runs(state.runs), dict(state.cases)
        self.peers = OrderedDict(state.peers)
        self.forgotten = state.forgotten


def run_key(fact: Fact) -> RunKey:
    """Which run a call belongs to: its run, else its session."""
    name = fact.run or fact.session or ""
    try:
        # A keyed hash of tenant, kind and name already.
        return int(name[:16], 16) if len(name) == 32 else _hashed(fact.tenant, name)
    except ValueError:
        return _hashed(fact.tenant, name)


def _hashed(tenant: str, name: str) -> RunKey:
    return int.from_bytes(blake2b(f"{tenant}\x1f{name}".encode(), digest_size=8).digest(), "big")


def _subject(fact: Fact) -> dict[str, str]:
    named = {"tenant": fact.tenant, "feature": fact.feature, "run": fact.run, "session": fact.session}
    if fact.run is not None:
        del named["session"]
    return {name: value for name, value in named.items() if value}
