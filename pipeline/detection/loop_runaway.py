"""`loop.runaway`: a run repeats itself without progress, and every round is paid for.

Warns early, where a person can still look at it, and escalates when it goes on or has become expensive. What is a
repeat is decided in `runs` and `nearness`; here are only the bounds. Pure: see `rule`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.detection.nearness import BOUNDS, Bounds
from pipeline.detection.rule import Finding, Life
from pipeline.detection.runs import ENOUGH, Circle, Run
from pipeline.detection.steps import BLIND, ERROR, FAILED, NAMES, TEXT, TOOL
from schemas.anomaly import Severity, Span, SuggestedControl

NANO: Final = 1_000_000_000
MINUTE_MS: Final = 60_000

# A run that loops again is the same finding for as long as it is remembered.
_LIFE: Final = Life("loop.runaway", 1, clear_ms=600_000, rejoin_ms=6 * 3_600_000, grow=2.0)


class Seen(NamedTuple):
    """A repeat that is beyond its bound.

    Attributes:
        how: `exact`, `near`, `again`, `errors`, `failed`, `blind`, `stalled`.
        rounds: How often.
        bound: From how often on.
        length: Steps in a round.
        words: What the run did, as it stands in the sentence.
    """

    how: str
    rounds: int
    bound: int
    length: int
    words: str


@dataclass(frozen=True, slots=True)
class LoopRunaway:
    """The recipe.

    Attributes:
        life: Tier and times.
        rounds: Rounds of exactly the same steps, tools with their results or answers with what they answer.
        near: Rounds of nearly the same steps that learn nothing.
        weak: The same where less speaks for it.
        blind: Rounds where nobody sent the tools' results, so that a poller cannot be told from a loop.
        failed: Rounds of the same failed call without back-off.
        errors: Rounds of nearly the same steps that all end in a tool's error.
        any_errors: Steps in a row that end in a tool's error, whatever was tried.
        again: How often one step, tools with their results, may be among the last `runs.REMEMBERED`.
        stalled: Of the last 24 steps, so many that brought nothing new, while the input grows.
        words: Of the words of late answers, so large a part must be new to the run.
        words_unprompted: The same where nothing is said to the run but to go on.
        unprompted: After so many messages in a row that say no more than to go on.
        patient: Bounds are this many times higher where people who take their time ask for the steps.
        escalate_rounds: From so many rounds on it is SEV1.
        escalate_usd: From this cost of the circle on it is SEV1.
        bounds: When two steps are near.
    """

    life: Life = _LIFE
    rounds: int = 4
    near: int = 7
    weak: int = 8
    blind: int = 10
    failed: int = 8
    errors: int = 8
    any_errors: int = 12
    again: int = 6
    stalled: int = 20
    words: float = 0.1
    words_unprompted: float = 0.25
    unprompted: int = 10
    patient: int = 3
    escalate_rounds: int = 20
    escalate_usd: float = 1.0
    bounds: Bounds = BOUNDS

    def evaluate(self, run: Run, circles: list[Circle], subject: dict[str, str], partition: int = 0) -> Finding | None:
        """Judge a run after its newest call; None where none of its steps is beyond a bound."""
        seen = [(one, circle) for circle in circles if (one := self._seen(circle)) is not None]
        if not seen:
            return None
        one, circle = max(seen, key=lambda found: found[0].rounds)
        return self._finding(run, circle, one, subject, partition)

    def _seen(self, circle: Circle) -> Seen | None:
        kind = circle.step.kind
        slower = self.patient if circle.patient else 1
        bound = {BLIND: self.blind, FAILED: self.failed}.get(kind, self.rounds) * slower
        length = circle.exact_length
        if circle.exact >= bound:
            done = {
                TOOL: f"made {_steps(length, 'the same')} with the same result",
                BLIND: f"made {_steps(length, 'the same')}, and nobody sent the tools' results,",
                TEXT: f"gave the same answer to the same message ({length} in turn)",
                FAILED: "repeated a failed call without waiting longer",
            }[kind]
            how = {BLIND: "blind", FAILED: "failed"}.get(kind, "exact")
            return Seen(how, circle.exact, bound, length, done)
        if kind in (BLIND, FAILED):
            return self._nearly_blind(circle) if kind == BLIND else None
        if circle.step.flags & ERROR:
            if circle.near >= self.errors:
                done = f"made {_steps(circle.near_length, 'nearly the same')} with an error each time"
                return Seen("errors", circle.near, self.errors, circle.near_length, done)
            if circle.errors >= self.any_errors:
                return Seen("errors", circle.errors, self.any_errors, 1, "got an error from its tools")
        bound = (self.weak if circle.weak else self.near) * slower
        if max(circle.near, circle.alike) >= bound:
            done = (
                f"gave nearly the same answer ({circle.near_length} in turn)"
                if kind == TEXT
                else f"made {_steps(circle.near_length, 'nearly the same')} and learned nothing new"
            )
            return Seen("near", max(circle.near, circle.alike), bound, circle.near_length, done)
        if kind == TOOL and circle.again >= self.again:
            done = "made the same step with the same result, with others between,"
            return Seen("again", circle.again, self.again, 1, done)
        if circle.checked >= ENOUGH and not circle.patient:
            # Where nobody tells it anything ("go on"), whatever is new must come from the run itself.
            alone = circle.unprompted >= self.unprompted and _count(circle.known, 20) > 10
            least = self.words_unprompted if alone else self.words
            if circle.fresh < least * circle.checked:
                share = 100 * circle.fresh / circle.checked
                done = f"brings next to nothing new any more ({share:.0f} % of its late words are), in a run of steps"
                return Seen("stalled", circle.steps, self.unprompted, 1, done)
        known = _count(circle.known, 24)
        if known >= self.stalled and circle.grown is not False and not circle.patient:
            done = "did what it had done before, while its input grew,"
            return Seen("stalled", known, self.stalled, 1, done)
        return None

    def _nearly_blind(self, circle: Circle) -> Seen | None:
        bound = 2 * self.weak
        if circle.near < bound:
            return None
        done = f"made {_steps(circle.near_length, 'nearly the same')}, and nobody sent the tools' results,"
        return Seen("blind", circle.near, bound, circle.near_length, done)

    def _finding(self, run: Run, circle: Circle, seen: Seen, subject: dict[str, str], partition: int) -> Finding:
        cost = run.cost / NANO
        severe = seen.rounds >= self.escalate_rounds * (2 if seen.how == "stalled" else 1) or cost >= self.escalate_usd
        severity: Severity = "SEV1" if severe else "SEV2"
        where = f"tenant {subject['tenant']}" + (f" feature {subject['feature']}" if "feature" in subject else "")
        return Finding(
            window=Span(run.began_ms, max(run.seen_ms, run.began_ms) + 1),
            observed=float(seen.rounds),
            baseline=1.0,
            threshold=float(seen.bound),
            unit="repeats",
            severity=severity,
            why=f"A run of {where} {seen.words} {seen.rounds} times; {_price(run)}.",
            began_at=run.began_ms,
            evidence=tuple(f"{run.epoch}/{partition}/{offset}" for offset in run.evidence),
            details={
                "kind": NAMES[circle.step.kind],
                "how": seen.how,
                "rounds": seen.rounds,
                "steps": seen.length,
                "cost_usd": cost,
                "tokens": run.tokens,
                "calls": run.calls,
            },
            suggested_control=SuggestedControl(
                "switch", subject, f"stop this run: {seen.rounds} rounds without progress"
            ),
        )


def _count(known: int, last: int) -> int:
    """Of the last so many steps, how many were nothing new."""
    return (known & ((1 << last) - 1)).bit_count()


def _steps(length: int, which: str) -> str:
    return f"{which} step" if length == 1 else f"{which} {length} steps"


def _price(run: Run) -> str:
    """What it has cost since it began, and how fast that goes."""
    cost, minutes = run.cost / NANO, (run.step_ms - run.began_ms) / MINUTE_MS
    said = f"that has cost ${cost:,.4f} and {run.tokens:,} tokens"
    if minutes >= 0.1 and cost:
        said += f" in {minutes:,.1f} minutes, which is ${60 * cost / minutes:,.2f} an hour"
    return said
