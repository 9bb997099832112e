"""What becomes of findings: cases by rule and key, one finding for one cause, hours that are no baseline. Pure.

A finding that another one explains is not told: it is named in the other's details, and where it was told already it is
resolved with a word on what explains it. While something is explained its hours are no baseline all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pipeline.detection import causes
from pipeline.detection.causes import Name
from pipeline.detection.lifecycle import Case, close, step
from pipeline.detection.rule import Finding, Life
from pipeline.windows.keys import subject
from pipeline.windows.rolling import Store
from pipeline.windows.watermark import HOUR_MS, MINUTE_MS
from schemas.anomaly import Anomaly
from schemas.partial import Key

# More names than anybody reads.
MOST_ALSO: Final = 12
# Whom a finding reaches is told in steps, not one by one.
JOINED_EVERY_MS: Final = 300_000


@dataclass(slots=True)
class Casebook:
    """Cases by rule and key.

    Attributes:
        store: For what uses what; hours are marked in its timelines.
        cases: All that is remembered.
        joining: What findings explain and have not named yet.
    """

    store: Store
    cases: dict[Name, Case] = field(default_factory=dict)
    joining: dict[Name, dict[str, float]] = field(default_factory=dict)

    def report(
        self, life: Life, taint: int, key: Key, finding: Finding | None, minute: int, now_ms: int
    ) -> list[Anomaly]:
        """Take what a rule says of a key at a minute; what is to be published of it."""
        name = (life.rule, key)
        case = self.cases.get(name)
        if finding is None and case is None:
            return []
        if finding is not None and (case is None or not case.firing):
            parent = causes.explanation(self.cases, self.store, name, minute, now_ms, shadow=life.shadow)
            if parent is not None:
                self._explained(name, parent, taint, finding, now_ms)
                return []
        before = case.state if case is not None else ""
        kept, anomaly = step(life, case or Case(), subject(key), finding, now_ms)
        if kept is None:
            self.cases.pop(name, None)
        else:
            self.cases[name] = kept
            self._mark(key, kept, taint, now_ms)
        if anomaly is None:
            return []
        found = [anomaly]
        if kept is not None and kept.state == "open" and before != "open":
            found += self._take_over(name, minute, now_ms, shadow=life.shadow)
        return found

    def undecided(self, life: Life, key: Key, now_ms: int) -> list[Anomaly]:
        """A rule cannot say whether its finding still holds: it stays, but not for ever."""
        case = self.cases.get((life.rule, key))
        if case is None or not case.firing or now_ms - case.since < life.longest_ms:
            return []
        return [close(case, now_ms, "nothing has come that it could be judged by")]

    def switched_off(self, name: Name, now_ms: int) -> list[Anomaly]:
        """A rule is not asked any more: its case is closed."""
        case = self.cases.pop(name, None)
        return [close(case, now_ms, "its rule was switched off")] if case is not None and case.firing else []

    def enrich(self, name: Name, anomaly: Anomaly, details: dict[str, Any]) -> Anomaly:
        """An anomaly that was just made, with further details."""
        anomaly = msgspec.structs.replace(anomaly, details={**anomaly.details, **details})
        case = self.cases.get(name)
        if case is not None and case.last is not None and case.last.id == anomaly.id:
            case.last = anomaly
        return anomaly

    # -- one cause, one finding

    def _explained(self, name: Name, parent: Name, taint: int, finding: Finding, now_ms: int) -> None:
        self.cases.pop(name, None)
        timeline = self.store.timelines.get(name[1])
        if taint and timeline is not None:
            timeline.cover((now_ms - 1) // HOUR_MS, taint)
        if self.cases[parent].firing:
            self.joining.setdefault(parent, {}).setdefault(_title(name, parent), round(finding.ratio or 0.0, 2))

    def _take_over(self, name: Name, minute: int, now_ms: int, *, shadow: bool) -> list[Anomaly]:
        """A finding has been opened: what it explains is resolved."""
        found = []
        family = causes.FAMILY_OF.get(name[0])
        for other in sorted(n for n in self.cases if n != name and causes.FAMILY_OF.get(n[0]) == family):
            case = self.cases[other]
            if not case.firing and case.state != "waiting":
                continue
            if shadow and case.last is not None and not case.last.shadow:
                continue
            if name in causes.parents(self.cases, self.store, other, minute):
                # At one key the one that was there first stays, unless it is only a ticket.
                stays = other[1] == name[1] and family not in causes.BY_RANK and not causes.outranks(name, other)
                if case.firing and stays:
                    continue
                del self.cases[other]
                if case.firing:
                    assert self.cases[name].last is not None
                    by = {"superseded_by": self.cases[name].last.id}  # type: ignore[union-attr]
                    found.append(close(case, now_ms, f"explained by {name[0]} of {_who(name[1])}", by))
        return found

    def joined(self, now_ms: int) -> list[Anomaly]:
        """Once a minute: the next revision of findings that explain something new."""
        found = []
        for name in sorted(self.joining):
            case = self.cases.get(name)
            soon = case is not None and case.firing and case.last is not None
            if soon and now_ms - case.last.detected_at < JOINED_EVERY_MS:  # type: ignore[union-attr]
                continue
            joined = self.joining.pop(name)
            if case is None or not case.firing or case.last is None:
                continue
            known: dict[str, float] = case.last.details.get("also", {})
            new = {title: ratio for title, ratio in joined.items() if title not in known}
            if not new or len(known) >= MOST_ALSO:
                continue
            also = dict([*known.items(), *sorted(new.items())][:MOST_ALSO])
            case.last = msgspec.structs.replace(
                case.last,
                state="update",
                revision=case.last.revision + 1,
                detected_at=now_ms,
                details={**case.last.details, "also": also},
                why=f"{case.last.why.split(' Also: ')[0]} Also: {', '.join(also)}.",
            )
            found.append(case.last)
        return found

    # -- hours that are no baseline

    def _mark(self, key: Key, case: Case, taint: int, now_ms: int) -> None:
        """Hours that an open finding covers are no baseline; the new normal is one, and what was before it is not."""
        timeline = self.store.timelines.get(key)
        if case.last is None or not taint or timeline is None:
            return
        began = case.last.opened_at // HOUR_MS
        if case.state == "open":
            for hour in range(began, (now_ms - MINUTE_MS) // HOUR_MS + 1):
                timeline.cover(hour, taint)
        elif case.state == "accepted" and case.since == now_ms:
            timeline.accept(began, taint)


def _title(name: Name, parent: Name) -> str:
    who = _who(name[1])
    if name[1][0] == "provider" and parent[1][0] == "provider":
        who = name[1][2] or who
    return who if name[0] == parent[0] else f"{name[0]} of {who}"


def _who(key: Key) -> str:
    return " ".join(f"{name.replace('_', ' ')} {value}" for name, value in subject(key).items()) or key[0]
