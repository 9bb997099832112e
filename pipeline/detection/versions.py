"""Which version of the rules held when. Pure; records come from `llm.controls`.

A version takes effect `schemas.control.EFFECT_DELAY_MS` after it was appended, and what is judged is judged by the
version in force at its own time in the log, never by when it is read, so that a replay gives the same anomalies. Before
the first version the defaults hold (version 0).
"""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.detection.rules_file import RulesFileError, parse
from pipeline.detection.ruleset import DEFAULT, Ruleset
from schemas.control import EFFECT_DELAY_MS, Control


class Versions:
    """All versions.

    Args:
        records: (append time in ms, control) of kind `rules`, in log order. One that this version of tokentrail cannot
            read is passed by: the version before it stays in force, and `unreadable` names it.
    """

    def __init__(self, records: Iterable[tuple[int, Control]] = ()) -> None:
        found = {control.version: (at_ms, control) for at_ms, control in records}
        self._versions: list[tuple[int, int, Ruleset]] = []
        self.unreadable: list[int] = []
        for number, (at_ms, control) in sorted(found.items()):
            try:
                ruleset = parse(text_of(control))
            except RulesFileError:
                self.unreadable.append(number)
            else:
                self._versions.append((at_ms + EFFECT_DELAY_MS, number, ruleset))

    def at(self, time_ms: int) -> tuple[int, Ruleset]:
        """(version, rules) in force at a time of the log, in ms; version 0 is the defaults."""
        for effective_ms, number, ruleset in reversed(self._versions):
            if effective_ms <= time_ms:
                return number, ruleset
        return 0, DEFAULT

    def latest(self) -> int:
        """The highest number there is, in force or not, readable or not; 0 where there is none."""
        return max([*self.unreadable, *(number for _, number, _ in self._versions)], default=0)


def text_of(control: Control) -> str:
    """The file that a control of kind `rules` holds."""
    return str(control.body.get("text", ""))
