"""Budgets: what may be spent on what, in a day and in a month. Pure; records come from `llm.controls`.

A budget takes effect 30 s after its append time and holds for what is in the log from then on; what was spent earlier
in its period counts. Every change is a version of its own, so that compaction keeps what held when. The owner is part
of the
key: of several owners' budgets for one selector the lowest limits hold, and each lets go of its own only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pipeline.control.forecast import DAY_MS, month_end, month_start
from schemas.control import EFFECT_DELAY_MS, Budget, Control, ControlKind

KIND: Final[ControlKind] = "budget"
NANO: Final = 1_000_000_000
# In the order in which a selector reads.
NAMES: Final = ("tenant", "environment", "team", "feature", "model", "user")
PERIODS: Final = ("day", "month")

# Sorted (name, value) pairs.
Selector = tuple[tuple[str, str], ...]


class BudgetError(ValueError):
    """A budget that cannot be: what is wrong with it."""


class Limit(msgspec.Struct, frozen=True):
    """One limit in force.

    Attributes:
        selector: What it is for.
        period: `day` or `month`.
        nano_usd: Nano-dollars.
        near: From this part of it on it is near.
        owners: Who set it.
    """

    selector: Selector
    period: str
    nano_usd: int
    near: float
    owners: tuple[str, ...]

    def span(self, at_ms: int) -> tuple[int, int]:
        """Beginning and end of its period at a time, in milliseconds; the end is exclusive."""
        if self.period == "day":
            begin = at_ms // DAY_MS * DAY_MS
            return begin, begin + DAY_MS
        return month_start(at_ms), month_end(at_ms)


class Budgets:
    """All budgets.

    Args:
        records: (append time in ms, control) of kind `budget` in log order. One that cannot be read here is passed by;
            `unreadable` counts them.
    """

    def __init__(self, records: Iterable[tuple[int, Control]] = ()) -> None:
        self.unreadable = 0
        self._known: list[tuple[int, Control, Budget]] = []
        for at_ms, control in records:
            try:
                budget = msgspec.convert(control.body, Budget)
                check(control.selector, budget)
            except (msgspec.ValidationError, BudgetError):
                self.unreadable += 1
            else:
                self._known.append((at_ms + EFFECT_DELAY_MS, control, budget))

    def at(self, time_ms: int) -> tuple[Limit, ...]:
        """The limits in force at a time of the log, by selector and period."""
        found: dict[tuple[Selector, str], tuple[float, float, list[str]]] = {}
        for _, control, budget in self.records(time_ms):
            selector = selector_of(control.selector)
            for period, usd in (("day", budget.day_usd), ("month", budget.month_usd)):
                if usd is None:
                    continue
                known = found.get((selector, period))
                if known is None or usd < known[0]:
                    found[selector, period] = (usd, budget.near, [control.owner])
                elif usd == known[0]:
                    known[2].append(control.owner)
        return tuple(
            Limit(selector, period, round(usd * NANO), near, tuple(owners))
            for (selector, period), (usd, near, owners) in sorted(found.items())
        )

    def passed(self, time_ms: int) -> int:
        """How many records have taken effect by a time of the log: what is in force changes with it only."""
        return sum(effective_ms <= time_ms for effective_ms, _, _ in self._known)

    def records(self, time_ms: int | None = None) -> list[tuple[int, Control, Budget]]:
        """(from when on in ms, control, body) of each that holds at a time of the log; None: after all have begun."""
        latest: dict[tuple[Selector, str], tuple[int, Control, Budget]] = {}
        for at_ms, control, budget in self._known:
            if time_ms is None or at_ms <= time_ms:
                name = (selector_of(control.selector), control.owner)
                if name not in latest or latest[name][1].version <= control.version:
                    latest[name] = (at_ms, control, budget)
        return [one for one in latest.values() if not one[2].removed]

    def next_version(self, selector: Mapping[str, str], owner: str) -> int:
        """The number that the next record of an owner's budget has."""
        name = (selector_of(selector), owner)
        return 1 + max(
            (one.version for _, one, _ in self._known if (selector_of(one.selector), one.owner) == name), default=0
        )


def selector_of(named: Mapping[str, str]) -> Selector:
    """A selector in one form."""
    return tuple((name, named[name]) for name in NAMES if named.get(name))


def matches(selector: Selector, spent_on: Mapping[str, str]) -> bool:
    """Whether a selector covers what money was spent on, given by all its names."""
    return all(spent_on.get(name, "") == value for name, value in selector)


def check(selector: Mapping[str, str], budget: Budget) -> None:
    """Refuse what cannot be watched.

    Raises:
        BudgetError: What is wrong, in one sentence.
    """
    unknown = [name for name in selector if name not in NAMES]
    if unknown:
        raise BudgetError(f"A budget is for {', '.join(NAMES)}; it knows no {unknown[0]}.")
    if selector and not selector.get("tenant"):
        raise BudgetError("A budget names its tenant; without any name it is for the whole installation.")
    if selector.get("user") and set(selector) != {"tenant", "user"}:
        raise BudgetError("What a user spends is summed up over everything: name tenant and user, and nothing else.")
    if not budget.removed and budget.day_usd is None and budget.month_usd is None:
        raise BudgetError("A budget has a limit: a day's, a month's, or both.")
