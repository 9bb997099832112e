"""`loop.runaway`: a run that does the same again and again without getting on. The pure core of `guard`.

A step is what a run did and what came of it: the fingerprints of a call's tool calls together with their results, which
often arrive only with the next call; for a call without tools, of what was said to what. Steps are compared by a cycle
of one, two or three (A A A, A B A B, A B C A B C). The result is part of a step, so a poller whose answers change is no
loop. A failed call is a retry, not a step, and waiting longer each time is backing off, not looping.

Identity and revisions follow from the facts alone, so a replay gives the same anomalies.

Memory: at most `max_runs` runs, the least recently seen beyond that are forgotten; a run holds 64 steps, about 6 kB:
10,000 runs are 60 MB for a partition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.lifecycle import identity
from pipeline.detection.rule import Life
from schemas.anomaly import Anomaly, Severity, Span, State, SuggestedControl
from schemas.fact import Fact

LIFE: Final = Life("loop.runaway", 1)
STEPS_KEPT: Final = 64
NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LoopRule:
    """When a run is called a loop.

    Attributes:
        warn: Equal steps in a row that open a finding (SEV2), where the results are known to be equal.
        warn_blind: The same where results are not known, or there are no tools.
        cycles: Whole cycles of two or three steps that open one.
        escalate: Equal steps that make it SEV1, as does `escalate_usd`, spent inside the loop.
        quiet_ms: A run that is silent this long, or does something else for `other_steps` steps, is resolved.
        back_off: Each wait at least this many times the one before is backing off.
    """

    warn: int = 4
    warn_blind: int = 6
    cycles: int = 3
    escalate: int = 20
    escalate_usd: float = 1.0
    quiet_ms: int = 900_000
    other_steps: int = 3
    back_off: float = 1.4


class Step(msgspec.Struct, array_like=True, gc=False):
    """One step: its fingerprint, whether results are in it, when, where, and what it cost in nano-dollars."""

    mark: str
    known: bool
    at_ms: int
    offset: int
    cost: int


class Run(msgspec.Struct, gc=False):
    """What is remembered of one run."""

    tenant: str
    run: str
    feature: str = ""
    model: str = ""
    steps: list[Step] = []
    pending: Step | None = None
    seen_ms: int = 0
    others: int = 0
    told: int = 0
    last: Anomaly | None = None


class WatchState(msgspec.Struct):
    """A watch as it is kept in a snapshot."""

    epoch: int
    next_offset: int
    clock_ms: int
    runs: list[Run]


class LoopWatch:
    """The fold of one partition's facts.

    Args:
        mark: Next source position to apply.
        rule: The recipe.
        max_runs: Most runs held.
    """

    def __init__(self, mark: Mark, rule: LoopRule | None = None, max_runs: int = 10_000) -> None:
        self.mark = mark
        self.rule = rule or LoopRule()
        self._max_runs = max_runs
        self._runs: dict[tuple[str, str], Run] = {}
        self._open: dict[tuple[str, str], Run] = {}
        self._clock_ms = 0

    def fold(self, fact: Fact) -> list[Anomaly]:
        """Apply one fact; the revisions it leads to. Duplicates and facts behind a hole lead to none."""
        if self.mark.offer(fact.position, fact.next_offset) != "apply":
            return []
        out: list[Anomaly] = []
        if fact.type in ("call", "tick") and fact.event_ms > self._clock_ms:
            self._clock_ms = fact.event_ms
            out += self._resolve_quiet()
        if fact.type == "call" and fact.run and not fact.backfill:
            out += self._call(fact)
        return out

    def _call(self, fact: Fact) -> Iterator[Anomaly]:
        assert fact.run is not None
        name = fact.tenant, fact.run
        run = self._runs.pop(name, None) or Run(fact.tenant, fact.run)
        self._runs[name] = run  # most recently seen last
        if len(self._runs) > self._max_runs:
            oldest = next(iter(self._runs))
            self._open.pop(oldest, None)
            del self._runs[oldest]
        run.seen_ms = fact.event_ms
        run.feature, run.model = fact.feature or run.feature, fact.model or run.model
        for step in _steps(run, fact):
            run.steps.append(step)
            del run.steps[:-STEPS_KEPT]
            anomaly = self._judge(run, fact)
            if anomaly is not None:
                yield anomaly

    def _judge(self, run: Run, fact: Fact) -> Anomaly | None:
        period, length = _cycle(run.steps)
        part = run.steps[-length:] if length else []
        repeats = length // period if period else 0
        if not self._is_loop(period, repeats, part):
            if run.last is not None and run.last.state != "resolved":
                run.others += 1
                if run.others >= self.rule.other_steps:
                    return self._resolve(run, "the run does something else")
            return None
        run.others = 0
        if run.last is None or run.last.state == "resolved":
            run.told = repeats
            return self._publish(run, fact, "open", period, repeats, part)
        # Said again when it has doubled, and when it becomes severe.
        worse = self._severity(repeats, part) == "SEV1" and run.last.severity != "SEV1"
        if repeats >= 2 * run.told or worse:
            run.told = repeats
            return self._publish(run, fact, "update", period, repeats, part)
        return None

    def _is_loop(self, period: int, repeats: int, part: list[Step]) -> bool:
        if not period:
            return False
        if period > 1:
            return repeats >= self.rule.cycles and all(step.known for step in part)
        known = all(step.known for step in part)
        if repeats < (self.rule.warn if known else self.rule.warn_blind):
            return False
        return repeats >= 2 * self.rule.warn or not self._backs_off(part)

    def _backs_off(self, part: list[Step]) -> bool:
        waits = [later.at_ms - earlier.at_ms for earlier, later in pairwise(part)]
        return len(waits) >= 2 and all(
            later >= self.rule.back_off * max(earlier, 1) for earlier, later in pairwise(waits)
        )

    def _severity(self, repeats: int, part: list[Step]) -> Severity:
        spent = sum(step.cost for step in part) / NANO
        return "SEV1" if repeats >= self.rule.escalate or spent >= self.rule.escalate_usd else "SEV2"

    def _publish(self, run: Run, fact: Fact, state: State, period: int, repeats: int, part: list[Step]) -> Anomaly:
        before = run.last if state == "update" else None
        subject = {"tenant": run.tenant, "run": run.run}
        subject |= {"feature": run.feature} if run.feature else {}
        subject |= {"model": run.model} if run.model else {}
        began = part[0].at_ms if before is None else before.opened_at
        seconds = max(0, part[-1].at_ms - part[0].at_ms) / 1000
        spent = sum(step.cost for step in part) / NANO
        what = "the same step" if period == 1 else f"the same {period} steps in turn"
        where = f" of {run.feature}" if run.feature else ""
        run.last = Anomaly(
            id=identity(LIFE.rule, {"tenant": run.tenant, "run": run.run}, began) if before is None else before.id,
            rule=LIFE.rule,
            tier=LIFE.tier,
            severity=self._severity(repeats, part) if before is None or before.severity != "SEV1" else "SEV1",
            state=state,
            revision=1 if before is None else before.revision + 1,
            subject=subject,
            window=Span(began, part[-1].at_ms + 1),
            observed=float(repeats),
            baseline=None,
            threshold=float(self.rule.warn if period == 1 else self.rule.cycles),
            ratio=None,
            unit="repeats",
            evidence=tuple(f"{self.mark.epoch}/{fact.position.partition}/{step.offset}" for step in part[-8:]),
            why=(
                f"A run{where} at {run.tenant} has done {what} {repeats} times in {seconds:.0f} s "
                f"with the same outcome, for ${spent:.4f}."
            ),
            runbook=LIFE.runbook,
            opened_at=began,
            detected_at=fact.event_ms,
            suggested_control=SuggestedControl("switch", subject, "stop this run"),
            details={"period": period, "spent_usd": round(spent, 6)},
        )
        self._open[run.tenant, run.run] = run
        return run.last

    def _resolve_quiet(self) -> list[Anomaly]:
        quiet = [run for run in self._open.values() if self._clock_ms - run.seen_ms >= self.rule.quiet_ms]
        return [self._resolve(run, "the run is silent") for run in quiet]

    def _resolve(self, run: Run, reason: str) -> Anomaly:
        assert run.last is not None
        self._open.pop((run.tenant, run.run), None)
        run.others = run.told = 0
        run.last = msgspec.structs.replace(
            run.last,
            state="resolved",
            revision=run.last.revision + 1,
            detected_at=max(self._clock_ms, run.seen_ms),
            why=f"Resolved, {reason}. It was: {run.last.why}",
            suggested_control=None,
        )
        run.steps.clear()
        return run.last

    def keys_held(self) -> int:
        """Runs in memory, for metrics."""
        return len(self._runs)

    def state(self) -> WatchState:
        """The state for a snapshot."""
        return WatchState(self.mark.epoch, self.mark.next_offset, self._clock_ms, list(self._runs.values()))

    def restore(self, state: WatchState) -> None:
        """Continue from a state; the watch must be new."""
        self.mark = Mark(state.epoch, state.next_offset)
        self._clock_ms = state.clock_ms
        for run in state.runs:
            self._runs[run.tenant, run.run] = run
            if run.last is not None and run.last.state != "resolved":
                self._open[run.tenant, run.run] = run


def _steps(run: Run, fact: Fact) -> Iterator[Step]:
    """Steps that this fact completes: the one before, by its results, and its own where everything is known."""
    loop = fact.loop
    cost = fact.cost_nano_usd or 0
    if loop is None or fact.status != "ok":
        return  # a failed call is a retry; what it would have done is not known
    if run.pending is not None:
        known = bool(loop.results) and not loop.own_results
        step = run.pending
        run.pending = None
        yield Step(_join(step.mark, loop.results if known else ()), known, step.at_ms, step.offset, step.cost)
    if loop.actions:
        mark = _join("act", loop.actions)
        if loop.own_results:
            yield Step(_join(mark, loop.results), True, fact.event_ms, fact.position.offset, cost)
        else:
            run.pending = Step(mark, False, fact.event_ms, fact.position.offset, cost)
    elif loop.output:
        said = _join("say", (loop.output, loop.input_tail or ""))
        yield Step(said, False, fact.event_ms, fact.position.offset, cost)


def _join(head: str, marks: tuple[str, ...]) -> str:
    return f"{head}:{'.'.join(marks)}"


def _cycle(steps: list[Step]) -> tuple[Literal[0, 1, 2, 3], int]:
    """Period and length of the repetition that the steps end with; the period with most whole cycles wins."""
    best: tuple[Literal[0, 1, 2, 3], int] = (0, 0)
    periods: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    for period in periods:
        same = 0
        while same < len(steps) - period and steps[-1 - same].mark == steps[-1 - same - period].mark:
            same += 1
        length = same + period
        if same and length // period >= 2 and (best[0] == 0 or length // period > best[1] // best[0]):
            best = period, length
    return best
