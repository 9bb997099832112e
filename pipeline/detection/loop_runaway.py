"""`loop.runaway`: a run repeats itself without progress, and every round is paid for.

Warns early, where a person can still look at it, and escalates when it goes on or has become expensive. What is a
repeat is decided in `runs`; here are only the bounds. Pure: see `rule`.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from pipeline.detection.rule import Finding, NotNegative, Ratio, Recipe
from pipeline.detection.runs import Circle, Run
from schemas.anomaly import Severity, Span, SuggestedControl

NANO: Final = 1_000_000_000

Rounds = Annotated[int, Meta(ge=2)]


class LoopRunaway(Recipe, frozen=True, kw_only=True):
    """The recipe. A run that loops again is the same finding for as long as it is remembered.

    Attributes:
        rounds: Rounds of exactly the same steps, tools with their results or answers with what they answer.
        blind: Rounds where nobody sent the tools' results, so that a poller cannot be told from a loop.
        failed: Rounds of the same failed call without back-off.
        near_errors: Rounds of nearly the same steps that all end in a tool's error.
        again: How often one step, tools with their results, may be among the last `runs.REMEMBERED`.
        escalate_rounds: From so many rounds on it is SEV1.
        escalate_usd: From this cost of the circle on it is SEV1.
    """

    rule = "loop.runaway"
    tier = 1

    rejoin_minutes: NotNegative = 360.0
    grow: Ratio = 2.0
    rounds: Rounds = 4
    blind: Rounds = 10
    failed: Rounds = 8
    near_errors: Rounds = 8
    again: Rounds = 6
    escalate_rounds: Rounds = 20
    escalate_usd: NotNegative = 1.0

    def evaluate(self, run: Run, circle: Circle, subject: dict[str, str]) -> Finding | None:
        """Judge a run after its newest step."""
        bound = {"blind": self.blind, "failed": self.failed}.get(circle.kind, self.rounds)
        if circle.exact >= bound:
            length, what = circle.exact_length, "the same result"
            return self._finding(run, circle, subject, circle.exact, bound, length, what)
        if circle.failed and circle.near >= self.near_errors:
            length, what = circle.near_length, "an error each time"
            return self._finding(run, circle, subject, circle.near, self.near_errors, length, what)
        if circle.kind == "tool" and circle.again >= self.again:
            return self._finding(
                run, circle, subject, circle.again, self.again, 1, "the same result, with others between"
            )
        return None

    def _finding(
        self, run: Run, circle: Circle, subject: dict[str, str], rounds: int, bound: int, length: int, what: str
    ) -> Finding:
        cost = run.cost / NANO
        severe = rounds >= self.escalate_rounds or cost >= self.escalate_usd
        severity: Severity = "SEV1" if severe else "SEV2"
        steps = "step" if length == 1 else f"{length} steps"
        done = {
            "tool": f"made the same {steps} with {what}",
            "blind": f"made the same {steps}, and nobody sent the tools' results,",
            "text": f"gave the same answer to the same message ({length} in turn)",
            "failed": "repeated a failed call without waiting longer",
        }[circle.kind]
        where = f"tenant {subject['tenant']}" + (f" feature {subject['feature']}" if "feature" in subject else "")
        return Finding(
            window=Span(run.began_ms, run.seen_ms + 1),
            observed=float(rounds),
            baseline=1.0,
            threshold=float(bound),
            unit="repeats",
            severity=severity,
            why=f"A run of {where} {done} {rounds} times; that has cost ${cost:,.4f}.",
            began_at=run.began_ms,
            evidence=tuple(run.evidence),
            details={"kind": circle.kind, "rounds": rounds, "steps": length, "cost_usd": cost, "calls": run.calls},
            suggested_control=SuggestedControl("switch", subject, f"stop this run: {rounds} rounds without progress"),
        )
