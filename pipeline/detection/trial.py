"""What rules would have said of a stretch of history: the cores of `guard` and `judge` over stored records. Pure.

A trial begins with nothing known, so rules warm up first, as they did when the system was new. Two trials over the same
history differ by their rules alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.audit.positions import Mark
from pipeline.control.budgets import Budgets
from pipeline.detection.judging import Judge
from pipeline.detection.loops import LoopWatch
from pipeline.detection.versions import Versions
from schemas.anomaly import Anomaly
from schemas.control import EFFECT_DELAY_MS, Control
from schemas.fact import Fact
from schemas.partial import Partials

# Two rulesets may see the same thing at different moments: what one opens this soon before or after the other is it.
SAME_WITHIN_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What two trials say of one thing: `before` by the rules in force, `after` by those under test; None: nothing."""

    before: Anomaly | None
    after: Anomaly | None


class Trial:
    """One ruleset over one history.

    Args:
        versions: The rules.
        budgets: What was allowed.
        partitions: Number of source partitions.

    Memory: as `Judge` and, for each partition, `LoopWatch`; and the findings that opened.
    """

    def __init__(self, versions: Versions, budgets: Budgets, partitions: int) -> None:
        self._versions = versions
        self._judge = Judge(partitions, versions, publishes=False)
        self._judge.budgets = budgets
        self._watches: dict[int, LoopWatch] = {}
        self.opened: dict[str, Anomaly] = {}

    def fact(self, fact: Fact) -> None:
        """Fold a fact; facts of a partition come in its order."""
        partition = fact.position.partition
        if partition not in self._watches:
            self._watches[partition] = LoopWatch(Mark(fact.position.epoch, fact.position.offset))
            self._watches[partition].versions = self._versions
        self._take(self._watches[partition].fold(fact))

    def partials(self, record: Partials, appended_at: int) -> None:
        """Apply a record of partials; `appended_at` is its time in the log, in ms."""
        self._take(self._judge.apply(record, appended_at).anomalies)

    def _take(self, anomalies: Iterable[Anomaly]) -> None:
        for one in anomalies:
            if one.state == "open":
                self.opened.setdefault(one.id, one)


def always(text: str) -> Versions:
    """A rules file that can be used, as if it had been in force from the beginning."""
    return Versions([(-EFFECT_DELAY_MS, Control("rules", {}, "", 1, {"text": text}, set_at=0))])


def compare(before: Trial, after: Trial) -> list[Outcome]:
    """What each found, side by side, by the time at which it began."""
    theirs: dict[tuple[str, tuple[tuple[str, str], ...]], list[Anomaly]] = {}
    for one in sorted(after.opened.values(), key=lambda one: one.opened_at):
        theirs.setdefault(_about(one), []).append(one)
    found = []
    for one in sorted(before.opened.values(), key=lambda one: one.opened_at):
        known = theirs.get(_about(one), [])
        same = min(known, key=lambda other: abs(other.opened_at - one.opened_at), default=None)
        if same is not None and abs(same.opened_at - one.opened_at) <= SAME_WITHIN_MS:
            known.remove(same)
        else:
            same = None
        found.append(Outcome(one, same))
    found += [Outcome(None, one) for known in theirs.values() for one in known]
    return sorted(found, key=lambda outcome: (outcome.before or outcome.after).opened_at)  # type: ignore[union-attr]


def _about(one: Anomaly) -> tuple[str, tuple[tuple[str, str], ...]]:
    return one.rule, tuple(sorted(one.subject.items()))
