"""`loop.runaway`: a run repeats itself without progress, and every round is paid for.

Warns early, where a person can still look at it, and escalates when it goes on or has become expensive. What is a
repeat is decided in `runs` and `nearness`; here are only the bounds. Pure: see `rule`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from pipeline.detection.news import ENOUGH
from pipeline.detection.rule import MINUTE_MS, Finding, NotNegative, Ratio, Recipe, Share
from pipeline.detection.run import Run, evidence
from pipeline.detection.runs import Circle
from pipeline.detection.steps import BLIND, ERROR, FAILED, NAMES, TEXT, TOOL
from schemas.anomaly import Severity, Span, SuggestedControl

NANO: Final = 1_000_000_000

Rounds = Annotated[int, Meta(ge=2)]
NearRounds = Annotated[int, Meta(ge=3)]


class Seen(NamedTuple):
    """A repeat that is beyond its bound.

    Attributes:
        how: `exact`, `near`, `again`, `errors`, `failed`, `blind` or `stalled`.
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


class LoopRunaway(Recipe, frozen=True, kw_only=True):
    """The recipe. A run that loops again is the same finding for as long as it is remembered.

    Attributes:
        rounds: Rounds of exactly the same steps, tools with their results or answers with what they answer.
        near: Rounds of nearly the same steps that learn nothing.
        weak: The same where less speaks for it.
        blind: Rounds where nobody sent the tools' results, so that a poller cannot be told from a loop.
        failed: Rounds of the same failed call without back-off.
        near_errors: Rounds of nearly the same steps that all end in a tool's error.
        any_errors: Steps in a row that end in a tool's error, whatever was tried.
        again: How often one step, tools with their results, may be among the last `runs.REMEMBERED`.
        stalled: Of the last 24 steps, so many that brought nothing new, while the input grows.
        new_words: Of the words of late answers, so large a part must be new to the run.
        new_words_alone: The same after `alone` messages in a row that say no more than to go on.
        alone: See `new_words_alone`.
        patient: Bounds are this many times higher where somebody takes their time between the steps.
        escalate_rounds: From so many rounds on it is SEV1.
        escalate_usd: From this cost of the circle on it is SEV1.
    """

    rule = "loop.runaway"
    tier = 1

    rejoin_minutes: NotNegative = 360.0
    grow: Ratio = 2.0
    rounds: Rounds = 4
    near: NearRounds = 7
    weak: NearRounds = 8
    blind: Rounds = 10
    failed: Rounds = 8
    near_errors: Rounds = 8
    any_errors: Rounds = 12
    again: Rounds = 6
    stalled: Annotated[int, Meta(ge=12, le=24)] = 20
    new_words: Share = 0.1
    new_words_alone: Share = 0.25
    alone: Rounds = 10
    patient: Annotated[int, Meta(ge=1)] = 3
    escalate_rounds: Rounds = 20
    escalate_usd: NotNegative = 1.0

    def evaluate(
        self, run: Run, circles: Sequence[Circle], subject: dict[str, str], partition: int = 0
    ) -> Finding | None:
        """Judge a run after its newest call; None where none of its steps is beyond a bound.

        Args:
            run: The run.
            circles: What its newest steps have closed.
            subject: Whose run it is.
            partition: Source partition, for the evidence.
        """
        seen = [(one, circle) for circle in circles if (one := self._seen(circle)) is not None]
        if not seen:
            return None
        one, circle = max(seen, key=lambda found: found[0].rounds)
        return self._finding(run, circle, one, subject, partition)

    def _seen(self, circle: Circle) -> Seen | None:
        kind, slower = circle.step.kind, self.patient if circle.patient else 1
        bound = slower * {BLIND: self.blind, FAILED: self.failed}.get(kind, self.rounds)
        if circle.exact >= bound:
            how = {BLIND: "blind", FAILED: "failed"}.get(kind, "exact")
            return Seen(how, circle.exact, bound, circle.exact_length, _same(kind, circle.exact_length))
        if kind == FAILED:
            return None
        if kind == BLIND:
            return self._nearly(circle, circle.near, 2 * self.weak * slower, "blind")
        if circle.step.flags & ERROR:
            if circle.near >= self.near_errors:
                return self._nearly(circle, circle.near, self.near_errors, "errors")
            if circle.errors >= self.any_errors:
                return Seen("errors", circle.errors, self.any_errors, 1, "got an error from its tools")
        bound = slower * (self.weak if circle.weak else self.near)
        nearly = self._nearly(circle, max(circle.near, circle.alike), bound, "near")
        if nearly is not None:
            return nearly
        if kind == TOOL and circle.again >= self.again * slower:
            done = "made the same step with the same result, with others between,"
            return Seen("again", circle.again, self.again * slower, 1, done)
        return None if circle.patient else self._stalled(circle)

    def _nearly(self, circle: Circle, rounds: int, bound: int, how: str) -> Seen | None:
        if rounds < bound:
            return None
        length = circle.near_length if circle.near >= bound else 1
        steps = "step" if length == 1 else f"{length} steps"
        done = {
            "blind": f"made nearly the same {steps}, and nobody sent the tools' results,",
            "errors": f"made nearly the same {steps} with an error each time",
            "near": f"made nearly the same {steps} and learned nothing new",
        }[how]
        if circle.step.kind == TEXT:
            done = "gave nearly the same answer" + ("" if length == 1 else f" ({length} in turn)")
        return Seen(how, rounds, bound, length, done)

    def _stalled(self, circle: Circle) -> Seen | None:
        if circle.checked >= ENOUGH:
            # Where nobody tells it anything ("go on"), whatever is new must come from the run itself.
            by_itself = circle.unprompted >= self.alone and _count(circle.known, 20) > 10
            least = self.new_words_alone if by_itself else self.new_words
            if circle.fresh < least * circle.checked:
                share = 100 * circle.fresh / circle.checked
                done = f"says nothing new any more ({share:.0f} % of its late words are new): steps so far"
                return Seen("stalled", circle.steps, self.alone, 1, done)
        known = _count(circle.known, 24)
        if known >= self.stalled and circle.grown is not False:
            done = "did what it had done before, while its input grew,"
            return Seen("stalled", known, self.stalled, 1, done)
        return None

    def _finding(self, run: Run, circle: Circle, seen: Seen, subject: dict[str, str], partition: int) -> Finding:
        cost = run.cost / NANO
        severe = seen.rounds >= self.escalate_rounds and seen.how != "stalled"
        severity: Severity = "SEV1" if severe or cost >= self.escalate_usd else "SEV2"
        where = f"tenant {subject['tenant']}" + (f" feature {subject['feature']}" if "feature" in subject else "")
        times = (
            f": {seen.rounds}" if seen.how == "stalled" and seen.words.endswith("so far") else f" {seen.rounds} times"
        )
        return Finding(
            window=Span(run.began_ms, max(run.seen_ms, run.began_ms) + 1),
            observed=float(seen.rounds),
            baseline=1.0,
            threshold=float(seen.bound),
            unit="repeats",
            severity=severity,
            why=f"A run of {where} {seen.words}{times}; {_price(run)}.",
            began_at=run.began_ms,
            evidence=evidence(run, partition),
            details={
                "kind": NAMES[circle.step.kind],
                "how": seen.how,
                "rounds": seen.rounds,
                "steps": seen.length,
                "cost_usd": cost,
                "tokens": run.tokens,
                "calls": run.calls,
                "usd_an_hour": round(cost * 3_600_000 / max(1_000, run.step_ms - run.began_ms), 4),
            },
            suggested_control=SuggestedControl(
                "switch", subject, f"stop this run: {seen.rounds} rounds without progress"
            ),
        )


def _same(kind: int, length: int) -> str:
    steps = "step" if length == 1 else f"{length} steps"
    return {
        TOOL: f"made the same {steps} with the same result",
        BLIND: f"made the same {steps}, and nobody sent the tools' results,",
        TEXT: "gave the same answer to the same message" + ("" if length == 1 else f" ({length} in turn)"),
        FAILED: "repeated a failed call without waiting longer",
    }[kind]


def _count(known: int, last: int) -> int:
    """Of the last so many steps, how many were nothing new."""
    return (known & ((1 << last) - 1)).bit_count()


def _price(run: Run) -> str:
    """What it has cost since it began, and how fast that goes."""
    cost, minutes = run.cost / NANO, (run.step_ms - run.began_ms) / MINUTE_MS
    said = f"that has cost ${cost:,.4f} and {run.tokens:,} tokens"
    if minutes >= 0.1 and cost:
        said += f" in {minutes:,.1f} minutes, which is ${60 * cost / minutes:,.2f} an hour"
    return said
