"""`budget.exceeded`: more was spent than a budget allows. Pure: see `rule`; `budgeting` sums up what is spent."""

from __future__ import annotations

from pipeline.control.budgets import NANO, Limit
from pipeline.detection.rule import Finding, Ratio, Recipe
from schemas.anomaly import Severity, Span, SuggestedControl


class BudgetExceeded(Recipe, frozen=True, kw_only=True):
    """The recipe. It is the same finding for as long as its period goes on.

    Attributes:
        escalate: From so many times the limit on it is SEV1.
    """

    rule = "budget.exceeded"
    tier = 1

    grow: Ratio = 1.25
    longest_hours: float = 31 * 24.0
    rejoin_minutes: float = 31 * 24 * 60.0
    escalate: Ratio = 1.5

    def evaluate(self, limit: Limit, spent: int, at_ms: int) -> Finding | None:
        """Judge what was spent in a period, nano-dollars, at an event time."""
        if spent <= limit.nano_usd:
            return None
        begin, end = limit.span(at_ms)
        severity: Severity = "SEV1" if spent >= self.escalate * limit.nano_usd else "SEV2"
        what = words(limit)
        return Finding(
            window=Span(begin, end),
            observed=spent / NANO,
            baseline=limit.nano_usd / NANO,
            threshold=limit.nano_usd / NANO,
            unit="usd",
            severity=severity,
            why=f"{what} spent ${spent / NANO:,.2f} this {limit.period} ({period_name(limit, begin)}); its budget is "
            f"${limit.nano_usd / NANO:,.2f}.",
            began_at=at_ms,
            details={"period": limit.period, "owners": list(limit.owners)},
            suggested_control=SuggestedControl("switch", dict(limit.selector), "its budget is spent"),
        )


def words(limit: Limit) -> str:
    """What a limit is for, as a sentence begins."""
    return ", ".join(f"{name} {value}" for name, value in limit.selector).capitalize() or "The installation"


def period_name(limit: Limit, begin_ms: int) -> str:
    """A period as people write it: 2026-05, or 2026-05-17."""
    from pipeline.control.forecast import DAY_MS, date_of

    text = date_of(begin_ms // DAY_MS).isoformat()
    return text if limit.period == "day" else text[:7]
