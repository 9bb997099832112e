"""What is spent, held against the budgets in force: the judge's part for money that was promised. Pure.

Told of every change of a sum (`spent`), and asked once for each record of the log (`judge`). A budget's sums are
followed by the difference, so a record costs the same however many days lie behind; a forecast is made at most once in
ten minutes of event time. The period before is watched until LATE_MS after its end, because calls come late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from pipeline.control import forecast
from pipeline.control.budgets import Budgets, Limit, Selector, matches
from pipeline.control.forecast import DAY_MS, Day, Hours
from pipeline.detection.budget_exceeded import BudgetExceeded
from pipeline.detection.budget_near import BudgetNear
from pipeline.detection.lifecycle import Case, close, step
from pipeline.detection.rule import Finding, Life
from pipeline.detection.ruleset import Ruleset
from pipeline.windows.spend import NAMES, Route, SpendBook, SpendState
from schemas.anomaly import Anomaly

FORECAST_EVERY_MS: Final = 600_000
LATE_MS: Final = 26 * 3_600_000

# Rule, selector, period and its beginning.
CaseKey = tuple[str, Selector, str, int]
# Shares of the hours of a day (days since 1970) in what a selector spends; None where they are not known.
Profile = Callable[[Mapping[str, str], int], Hours | None]


class WatchState(msgspec.Struct):
    """The watch as it is kept in a snapshot."""

    book: SpendState
    cases: list[tuple[CaseKey, Case]]
    limits: list[Limit]
    sums: list[tuple[Selector, dict[int, int]]]
    looked: list[tuple[tuple[Selector, str], int]]


class BudgetWatch:
    """The watch over all budgets.

    Args:
        book: What is spent.
    """

    def __init__(self, book: SpendBook | None = None) -> None:
        self.book = book or SpendBook()
        self.cases: dict[CaseKey, Case] = {}
        self._limits: tuple[Limit, ...] = ()
        self._passed = -1
        self._sums: dict[Selector, dict[int, int]] = {}
        self._changed: set[Selector] = set()
        self._looked: dict[tuple[Selector, str], int] = {}
        self._budgets: Budgets | None = None

    def spent(self, tenant: str, route: Route, day: int, nano_usd: int) -> None:
        """Take a change of what was spent on a route."""
        if not nano_usd:
            return
        self.book.add(tenant, route, day, nano_usd)
        if self._sums:
            self._follow({"tenant": tenant, **dict(zip(NAMES, route, strict=True))}, day, nano_usd)

    def spent_by(self, tenant: str, user: str, day: int, nano_usd: int) -> None:
        """Take a change of what a user spent."""
        if nano_usd:
            self.book.add_user(tenant, user, day, nano_usd)
            if self._sums:
                self._follow({"tenant": tenant, "user": user}, day, nano_usd)

    def _follow(self, spent_on: dict[str, str], day: int, nano_usd: int) -> None:
        of_user = "user" in spent_on
        for selector, sums in self._sums.items():
            if any(name == "user" for name, _ in selector) == of_user and matches(selector, spent_on):
                sums[day] = sums.get(day, 0) + nano_usd
                self._changed.add(selector)

    def judge(
        self,
        now_ms: int,
        log_ms: int,
        budgets: Budgets,
        rules: Ruleset,
        profile: Profile | None = None,
    ) -> list[Anomaly]:
        """Hold what changed since the last time against the budgets.

        Args:
            now_ms: Event time, the watermark.
            log_ms: Time of the log: which budgets are in force.
            budgets: All budgets.
            rules: The rules in force.
            profile: How a selector's money is spread over a day's hours.
        """
        found = self._take(budgets, log_ms, now_ms)
        self.book.advance(now_ms // DAY_MS)
        for limit in self._limits:
            due = now_ms // FORECAST_EVERY_MS != self._looked.get((limit.selector, limit.period))
            if not due and limit.selector not in self._changed:
                continue
            if due:
                self._looked[limit.selector, limit.period] = now_ms // FORECAST_EVERY_MS
            for at_ms in self._periods(limit, now_ms):
                found += self._judge(limit, at_ms, now_ms, due, rules, profile)
        self._changed.clear()
        return found + self._end(now_ms)

    def _take(self, budgets: Budgets, log_ms: int, now_ms: int) -> list[Anomaly]:
        """Put the limits in force, where they have changed."""
        passed = budgets.passed(log_ms)
        if budgets is self._budgets and passed == self._passed:
            return []
        self._budgets, self._passed = budgets, passed
        before, self._limits = self._limits, budgets.at(log_ms)
        if self._limits == before:
            return []
        wanted = {limit.selector for limit in self._limits}
        self._sums = {
            selector: self._sums[selector] if selector in self._sums else self.book.sums(dict(selector))
            for selector in sorted(wanted)
        }
        for limit in self._limits:
            if limit not in before:
                self._changed.add(limit.selector)
                self._looked.pop((limit.selector, limit.period), None)
        alive = {(limit.selector, limit.period) for limit in self._limits}
        self._looked = {name: at for name, at in self._looked.items() if name in alive}
        found = []
        for key in [one for one in self.cases if (one[1], one[2]) not in alive]:
            case = self.cases.pop(key)
            if case.firing:
                found.append(close(case, now_ms, "its budget was let go"))
        return found

    @staticmethod
    def _periods(limit: Limit, now_ms: int) -> list[int]:
        """A time in each period that is watched: the present one, and the one before while calls may still come."""
        begin, _ = limit.span(now_ms)
        return [begin - 1, now_ms] if now_ms - begin < LATE_MS else [now_ms]

    def _judge(
        self,
        limit: Limit,
        at_ms: int,
        now_ms: int,
        due: bool,
        rules: Ruleset,
        profile: Profile | None,
    ) -> list[Anomaly]:
        tenant = dict(limit.selector).get("tenant", "")
        exceeded = rules.find(BudgetExceeded, "budget", tenant)
        near = rules.find(BudgetNear, "budget", tenant)
        sums = self._sums[limit.selector]
        begin, end = limit.span(at_ms)
        spent = sum(sums.get(day, 0) for day in range(begin // DAY_MS, end // DAY_MS))
        found: list[Anomaly] = []
        finding = None if exceeded is None else exceeded.evaluate(limit, spent, at_ms)
        if exceeded is not None:
            found += self._step(
                (exceeded.rule, limit.selector, limit.period, begin), exceeded.life, limit, finding, now_ms
            )
        if near is None or at_ms != now_ms:
            return found
        key = (near.rule, limit.selector, limit.period, begin)
        case = self.cases.get(key)
        if finding is not None:
            if case is not None and case.firing:
                over = self.cases[BudgetExceeded.rule, limit.selector, limit.period, begin].last
                assert over is not None
                found.append(close(case, now_ms, "its budget is exceeded", {"superseded_by": over.id}))
            return found
        if due or (case is None and spent >= limit.near * limit.nano_usd):
            outlook = self._outlook(limit, sums, spent, now_ms, profile)
            soon = near.evaluate(limit, spent, outlook, now_ms, case is not None and case.firing)
            found += self._step(key, near.life, limit, soon, now_ms)
        return found

    @staticmethod
    def _outlook(
        limit: Limit, sums: Mapping[int, int], spent: int, now_ms: int, profile: Profile | None
    ) -> forecast.Outlook:
        today = now_ms // DAY_MS
        past = [
            Day(day, nano_usd, profile(dict(limit.selector), day) if profile is not None else None)
            for day, nano_usd in sorted(sums.items())
            if day < today
        ]
        if limit.period == "day":
            return forecast.today(past, spent, now_ms, limit.nano_usd)
        return forecast.month(past, spent, sums.get(today, 0), now_ms, limit.nano_usd)

    def _step(self, key: CaseKey, life: Life, limit: Limit, finding: Finding | None, now_ms: int) -> list[Anomaly]:
        case = self.cases.get(key)
        if finding is None and case is None:
            return []
        subject = {**dict(limit.selector), "budget": limit.period}
        kept, anomaly = step(life, case or Case(), subject, finding, now_ms)
        if kept is None:
            self.cases.pop(key, None)
        else:
            self.cases[key] = kept
        return [] if anomaly is None else [anomaly]

    def _end(self, now_ms: int) -> list[Anomaly]:
        """Resolve what a period that is over has left."""
        found = []
        for key, case in list(self.cases.items()):
            _, _, period, begin = key
            end = begin + DAY_MS if period == "day" else forecast.month_end(begin)
            if now_ms < end + (LATE_MS if key[0] == BudgetExceeded.rule else 0):
                continue
            del self.cases[key]
            if case.firing:
                found.append(close(case, now_ms, "its period is over"))
        return found

    def state(self) -> WatchState:
        """The state for a snapshot; taken between two records, when nothing waits to be judged."""
        return WatchState(
            self.book.state(),
            list(self.cases.items()),
            list(self._limits),
            list(self._sums.items()),
            list(self._looked.items()),
        )

    def restore(self, state: WatchState) -> None:
        """Continue from a state; the watch must be new."""
        self.book.restore(state.book)
        self.cases = dict(state.cases)
        self._limits, self._sums, self._looked = tuple(state.limits), dict(state.sums), dict(state.looked)
