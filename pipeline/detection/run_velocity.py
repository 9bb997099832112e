"""`run.velocity`: a run spends far faster than the other runs of its feature, whether it repeats itself or not. Pure.

What runs usually spend is counted per tenant and feature, in stretches of five minutes: a histogram over powers of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from pipeline.detection.rule import MINUTE_MS, Finding, NotNegative, Ratio, Recipe
from pipeline.detection.run import Run, evidence
from pipeline.detection.runs import STRETCH_MS
from schemas.anomaly import Severity, Span, SuggestedControl

# Powers of two of micro-dollars, and of tokens.
CLASSES: Final = 40
QUANTILE: Final = 0.99
# Old stretches fade: at so many all counts are halved.
MOST: Final = 20_000
MICRO: Final = 1_000_000


class Peers(msgspec.Struct, gc=False):
    """What runs of one feature spend in a stretch: counts by power of two."""

    cost: list[int] = msgspec.field(default_factory=lambda: [0] * CLASSES)
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * CLASSES)
    count: int = 0

    def add(self, cost_micro_usd: int, tokens: int) -> None:
        """Count one stretch of a run."""
        self.cost[min(CLASSES - 1, cost_micro_usd.bit_length())] += 1
        self.tokens[min(CLASSES - 1, tokens.bit_length())] += 1
        self.count += 1
        if self.count >= MOST:
            self.cost, self.tokens = [one // 2 for one in self.cost], [one // 2 for one in self.tokens]
            self.count = sum(self.cost)


class RunVelocity(Recipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        ratio: So many times what 99 of 100 stretches of its peers cost, or need in tokens.
        least_usd: Nothing is said of a stretch that cost less, unless it needed `least_tokens`.
        least_tokens: The same for tokens.
        least_calls: Calls in the stretch, at least.
        least_peers: Stretches that must be known before they are a measure.
        alone_usd: From this cost on it is said without peers.
        alone_tokens: The same for tokens.
        escalate_usd: From this cost of a stretch on it is SEV1.
    """

    rule = "run.velocity"
    tier = 2

    ratio: Ratio = 8.0
    least_usd: NotNegative = 5.0
    least_tokens: Annotated[int, Meta(ge=0)] = 2_000_000
    least_calls: Annotated[int, Meta(ge=1)] = 10
    least_peers: Annotated[int, Meta(ge=1)] = 50
    alone_usd: NotNegative = 25.0
    alone_tokens: Annotated[int, Meta(ge=0)] = 10_000_000
    escalate_usd: NotNegative = 25.0

    def is_fast(self, run: Run) -> bool:
        """Whether a run's present stretch is worth a look."""
        return run.stretch_calls >= self.least_calls and (
            run.stretch_cost >= self.least_usd * MICRO or run.stretch_tokens >= self.least_tokens
        )

    def evaluate(self, run: Run, peers: Peers | None, subject: dict[str, str], partition: int = 0) -> Finding | None:
        """Judge a run's present stretch against its peers."""
        if not self.is_fast(run):
            return None
        cost = run.stretch_cost / MICRO
        known = peers if peers is not None and peers.count >= self.least_peers else None
        usual = _quantile(known.cost) / MICRO if known is not None else self.alone_usd / self.ratio
        if cost >= max(self.least_usd, self.ratio * usual):
            return self._finding(run, cost, usual, "usd", known is not None, subject, partition)
        usual = _quantile(known.tokens) if known is not None else self.alone_tokens / self.ratio
        if run.stretch_tokens >= max(self.least_tokens, self.ratio * usual):
            return self._finding(run, run.stretch_tokens, usual, "tokens", known is not None, subject, partition)
        return None

    def _finding(
        self,
        run: Run,
        observed: float,
        usual: float,
        unit: str,
        has_peers: bool,
        subject: dict[str, str],
        partition: int,
    ) -> Finding:
        cost, minutes = run.stretch_cost / MICRO, max(1_000, run.step_ms - run.stretch_ms) / MINUTE_MS
        severity: Severity = "SEV1" if cost >= self.escalate_usd else "SEV2"
        where = f"tenant {subject['tenant']}" + (f" feature {subject['feature']}" if "feature" in subject else "")
        most = f"${usual:,.2f}" if unit == "usd" else f"{usual:,.0f} tokens"
        beside = f"99 of 100 of its runs need at most {most} in five" if has_peers else "no other runs are known"
        return Finding(
            window=Span(run.stretch_ms, run.stretch_ms + STRETCH_MS),
            observed=observed,
            baseline=usual if has_peers else None,
            threshold=self.ratio * usual,
            unit=unit,
            severity=severity,
            why=f"A run of {where} spent ${cost:,.2f} and {run.stretch_tokens:,} tokens with {run.stretch_calls} "
            f"calls in {minutes:,.1f} minutes; {beside}.",
            began_at=run.stretch_ms,
            evidence=evidence(run, partition),
            details={"cost_usd": cost, "tokens": run.stretch_tokens, "calls": run.stretch_calls},
            suggested_control=SuggestedControl("switch", subject, "stop this run: it spends far faster than others"),
        )


def _quantile(counts: Sequence[int]) -> int:
    """Upper bound of the class in which the quantile lies."""
    wanted, seen = QUANTILE * sum(counts), 0
    for bits, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return 1 << bits
    return 0
