"""Forecasts of what is spent, beside the budgets: what `cost --forecast` and `budget show` say. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cli.costs import HOUR_MS, matching
from pipeline.cli.times import iso_ms
from pipeline.control import forecast
from pipeline.control.budgets import NAMES, NANO, Limit
from pipeline.control.forecast import DAY_MS, Outlook, days_of


@dataclass(frozen=True)
class Line:
    """One thing's outlook for one period.

    Attributes:
        names: What it is.
        period: `day` or `month`.
        outlook: Its forecast.
        limit: Its budget, where it has one.
    """

    names: Mapping[str, str]
    period: str
    outlook: Outlook
    limit: Limit | None = None

    @property
    def state(self) -> str:
        """What becomes of the budget, in words; empty where there is none."""
        if self.limit is None:
            return ""
        budget = self.limit.nano_usd
        if self.outlook.spent > budget:
            return "exceeded"
        if self.outlook.crossing_ms is not None:
            return f"crossed on {iso_ms(self.outlook.crossing_ms)}"
        return "near" if self.outlook.spent >= self.limit.near * budget else "within"

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        one = self.outlook
        return {
            **self.names,
            "period": self.period,
            "spent_usd": one.spent / NANO,
            "expected_usd": one.expected / NANO,
            "low_usd": one.low / NANO,
            "high_usd": one.high / NANO,
            "budget_usd": None if self.limit is None else self.limit.nano_usd / NANO,
            "state": self.state or None,
            "crossing_at": None if one.crossing_ms is None else iso_ms(one.crossing_ms),
            "basis": one.basis,
        }


def of_hours(hours: Mapping[int, int], period: str, now_ms: int, limit: int | None = None) -> Outlook:
    """The outlook of a period out of the costs of hours, in nano-dollars, of the last 35 days and this month."""
    today = now_ms // DAY_MS
    past = [one for one in days_of(hours) if one.number < today]
    spent_today = sum(cost for hour, cost in hours.items() if hour // 24 == today)
    if period == "day":
        return forecast.today(past, spent_today, now_ms, limit)
    begin = forecast.month_start(now_ms) // HOUR_MS
    spent = sum(cost for hour, cost in hours.items() if hour >= begin)
    return forecast.month(past, spent, spent_today, now_ms, limit)


def lines(
    hours: Mapping[tuple[str, ...], Mapping[int, int]], by: Sequence[str], limits: Iterable[Limit], now_ms: int
) -> list[Line]:
    """Both periods of everything that `by` tells apart, with the budgets that are for exactly that."""
    budgets = {(limit.selector, limit.period): limit for limit in limits}
    found = []
    for key in sorted(hours, key=lambda one: -sum(hours[one].values())):
        names = dict(zip(by, key, strict=True))
        selector = tuple((name, names[name]) for name in NAMES if names.get(name))
        for period in ("day", "month"):
            limit = budgets.get((selector, period))
            outlook = of_hours(hours[key], period, now_ms, None if limit is None else limit.nano_usd)
            found.append(Line(names, period, outlook, limit))
    return found


def of_limits(
    hours: Mapping[tuple[str, ...], Mapping[int, int]], by: Sequence[str], limits: Iterable[Limit], now_ms: int
) -> list[Line]:
    """Every budget with its outlook."""
    found = []
    for limit in limits:
        known = matching(hours, by, dict(limit.selector))
        outlook = of_hours(known, limit.period, now_ms, limit.nano_usd)
        found.append(Line(dict(limit.selector), limit.period, outlook, limit))
    return found
