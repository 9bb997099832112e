"""`budget.near`: most of a budget is spent, or at this pace all of it will be before its period is over. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.control.budgets import NANO, Limit
from pipeline.control.forecast import Outlook
from pipeline.detection.budget_exceeded import period_name, words
from pipeline.detection.rule import Finding, NotNegative, Recipe, Share
from schemas.anomaly import Severity, Span


class BudgetNear(Recipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        forecast: Whether a forecast speaks, too.
        least_spent: A forecast speaks once this part of the limit is spent.
        sure: A forecast speaks when even the low end of its interval is at least this part of the limit.
        soon_hours: A crossing within so many hours is SEV2.
    """

    rule = "budget.near"
    tier = 2

    grow: float = 10.0
    longest_hours: float = 31 * 24.0
    rejoin_minutes: float = 31 * 24 * 60.0
    forecast: bool = True
    least_spent: Share = 0.25
    sure: Share = 0.9
    soon_hours: NotNegative = 24.0

    def evaluate(self, limit: Limit, spent: int, outlook: Outlook | None, at_ms: int, firing: bool) -> Finding | None:
        """Judge what was spent in a period, nano-dollars, and what it is expected to come to.

        Args:
            limit: The budget.
            spent: So far in its period.
            outlook: Forecast of the period, where one was made.
            at_ms: Event time.
            firing: Whether it is open: then it stays so until the forecast is well below the limit.
        """
        share = spent / limit.nano_usd
        if spent > limit.nano_usd:
            return None
        crossing = self._crossing(limit, spent, outlook, firing)
        if share < limit.near and crossing is None:
            return None
        begin, end = limit.span(at_ms)
        severity: Severity = "SEV3"
        said = f"{100 * share:.0f} % of its budget of ${limit.nano_usd / NANO:,.2f}"
        if crossing is not None and outlook is not None:
            severity = "SEV2" if crossing - at_ms <= self.soon_hours * 3_600_000 else "SEV3"
            when = f"{datetime.fromtimestamp(crossing / 1000, UTC):%Y-%m-%d %H:%M} UTC"
            said += (
                f"; at this pace it is crossed on {when}, and the {limit.period} comes to "
                f"${outlook.expected / NANO:,.2f} (${outlook.low / NANO:,.2f} to ${outlook.high / NANO:,.2f})"
            )
        return Finding(
            window=Span(begin, end),
            observed=spent / NANO,
            baseline=limit.nano_usd / NANO,
            threshold=limit.near * limit.nano_usd / NANO,
            unit="usd",
            severity=severity,
            why=f"{words(limit)} spent ${spent / NANO:,.2f} this {limit.period} ({period_name(limit, begin)}): {said}.",
            began_at=at_ms,
            details={
                "period": limit.period,
                "owners": list(limit.owners),
                "crossing_at": crossing,
                **({} if outlook is None else _told(outlook)),
            },
        )

    def _crossing(self, limit: Limit, spent: int, outlook: Outlook | None, firing: bool) -> int | None:
        if outlook is None or not self.forecast or outlook.crossing_ms is None:
            return None
        sure = 0.8 * self.sure if firing else self.sure
        return outlook.crossing_ms if spent >= self.least_spent * limit.nano_usd and (
            outlook.low >= sure * limit.nano_usd
        ) else None  # fmt: skip


def _told(outlook: Outlook) -> dict[str, object]:
    return {
        "expected_usd": outlook.expected / NANO,
        "low_usd": outlook.low / NANO,
        "high_usd": outlook.high / NANO,
        "basis": outlook.basis,
    }
