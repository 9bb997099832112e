"""Run a pattern only on the words and lines where it can match at all; the findings stay the same.

Gates are worked out from the live recognisers' own patterns (`derive`), so there is nothing here that a new version
of a pattern could make untrue. Hyperscan looks for all of them in one pass and says where; where its wheel is
missing, counts and windows do the same in Python, less sharply. A recogniser is gated only if its findings are known
to come from its patterns alone: it is one of ours (`kinds.base.Kind`), searches by Presidio's
`PatternRecognizer.analyze`, or says by itself what it needs (`necessary_patterns`). Everything else, patterns that
cannot be derived, and texts with characters that patterns take for ASCII ones, are searched by all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Final

from presidio_analyzer import PatternRecognizer
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from pipeline.redaction.derive import UNITS, Necessity, Underivable, Unit, necessity, stand_in
from pipeline.redaction.kinds import matcher
from pipeline.redaction.kinds.base import Kind, Needed
from pipeline.redaction.kinds.stricter import Domains
from pipeline.redaction.sieve import Hit, Sieve

# These search by a method of their own that was read for this version: they find nothing that their patterns do not.
_READ: Final = {("2.2.366", "IbanRecognizer")}


@dataclass(frozen=True, slots=True)
class Search:
    """One thing to do: let a recogniser look at text[start:end], with one of its patterns or (None) with all."""

    recognizer: Any
    pattern: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Look:
    """What has to be done about a text: searches, those of one recogniser one after the other, and readings."""

    searches: list[Search]
    escapes: bool
    runs: bool


@dataclass(frozen=True, slots=True)
class _Gated:
    """A search that the sieve can trigger.

    Attributes:
        order: of its recogniser among all.
        recognizer: who searches.
        pattern: by which pattern; None: by all.
        unit: how much of the text.
        window: what must be in that much of it; None: the sieve has seen that already.
    """

    order: int
    recognizer: Any
    pattern: int | None
    unit: Unit
    window: re.Pattern[str] | None = None


def searches_by_itself(recognizer: Any) -> bool:
    """Whether a recogniser's patterns are searched one by one, by `Kind.search` or `kinds.lean`."""
    if not isinstance(recognizer, PatternRecognizer):
        return isinstance(recognizer, Kind)
    return type(recognizer).analyze is PatternRecognizer.analyze or isinstance(recognizer, Domains)


def patterns_of(recognizer: Any) -> list[Needed] | None:
    """What texts hold that a recogniser finds something in; None: it can find anything."""
    say = getattr(recognizer, "necessary_patterns", None)
    if say is not None:
        said: list[Needed] = [Needed(*one) for one in say()]
        return said
    kind = type(recognizer)
    if kind is PhoneRecognizer:
        known = set(recognizer.supported_regions) <= set(PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS)
        return [Needed(pattern, int(re.IGNORECASE)) for pattern in matcher.NEEDS] if known else None
    is_read = (version("presidio-analyzer"), kind.__name__) in _READ and kind.__module__.startswith(
        "presidio_analyzer."
    )
    if is_read or searches_by_itself(recognizer):
        return [Needed(pattern.regex, int(recognizer.global_regex_flags)) for pattern in recognizer.patterns]
    return None


def _needs(recognizer: Any) -> list[tuple[Necessity, Unit]] | None:
    """What is looked for and the unit that is searched around it; None: the recogniser is not gated."""
    patterns = patterns_of(recognizer)
    if patterns is None:
        return None
    try:
        return [(necessity(one.pattern, one.flags), _unit_of(one)) for one in patterns]
    except Underivable:
        return None


def _unit_of(needed: Needed) -> Unit:
    if needed.of is None:
        return necessity(needed.pattern, needed.flags).unit
    return max("line", necessity(*needed.of).unit, key=UNITS.index)


class Gates:
    """Decides which recogniser has to look at which part of a text.

    Args:
        recognizers: those in use.
        on: False skips nothing.
        database: a compiled sieve of the same recognisers (`Sieve.dump`), to save the seconds of compiling it.
        hyperscan: False uses the gate in Python, as where there is no wheel.
        reads: whether texts are searched in other readings, too.
    """

    def __init__(
        self,
        recognizers: Sequence[Any],
        *,
        on: bool = True,
        database: bytes | None = None,
        hyperscan: bool = True,
        reads: bool = True,
    ) -> None:
        self._all = list(recognizers)
        self._always: list[Any] = []
        self._gated: list[tuple[_Gated, ...]] = []  # by number of the pattern in the sieve
        needed: list[Necessity] = []
        for order, recognizer in enumerate(self._all):
            needs = _needs(recognizer) if on else None
            if needs is None:
                self._always.append(recognizer)
                continue
            alone = searches_by_itself(recognizer)
            coarsest = max((unit for _, unit in needs), key=UNITS.index)
            gated = [
                _Gated(order, recognizer, i if alone else None, unit if alone else coarsest)
                for i, (_, unit) in enumerate(needs)
            ]
            # A pattern that holds another one is triggered by it, and need not be looked for.
            holders: dict[int, list[int]] = {i: [i] for i in range(len(needs))}
            for i, (need, _) in enumerate(needs):
                for j, (other, _) in enumerate(needs):
                    if i != j and i in holders and j in holders and need.implies(other):
                        holders[j] += holders.pop(i)
                        break
            for i, triggered in holders.items():
                needed.append(needs[i][0])
                others = [
                    replace(gated[k], window=re.compile(needs[k][0].window) if alone else None)
                    for k in triggered
                    if k != i
                ]
                self._gated.append(tuple({(g.pattern, g.unit): g for g in [*others, gated[i]]}.values()))
        self.sieve = Sieve(needed, database=database, hyperscan=hyperscan, reads=reads)

    @property
    def complete(self) -> bool:
        """Whether a text in which the sieve sees nothing has no findings, because every recogniser is gated."""
        return not self._always

    def look(self, text: str) -> Look:
        """What has to be done about a text."""
        size = len(text)
        plain = stand_in(text)
        seen = None if plain is None else self.sieve.scan(plain)
        if plain is None or seen is None:
            return Look([Search(r, None, 0, size) for r in self._all], escapes=True, runs=True)
        searches = [Search(r, None, 0, size) for r in self._always]
        if seen.hits:
            searches += self._triggered(plain, seen.hits)
        return Look(searches, seen.escapes, seen.runs)

    def _triggered(self, plain: str, hits: Sequence[Hit]) -> Iterator[Search]:
        todo: dict[tuple[int, int | None], tuple[_Gated, list[tuple[int, int]]]] = {}
        done: dict[tuple[int, int | None], tuple[int, int]] = {}  # the last region that was looked at
        for number, place in hits:  # by place
            for gated in self._gated[number]:
                key = (gated.order, gated.pattern)
                last = done.get(key)
                if last is not None and last[0] <= place < last[1]:
                    continue
                region = done[key] = _unit(plain, place, gated.unit)
                if region == last or (gated.window is not None and not gated.window.search(plain, *region)):
                    continue
                found = todo.get(key)
                if found is None:
                    todo[key] = (gated, [region])
                else:
                    found[1].append(region)
        for gated, regions in sorted(todo.values(), key=lambda one: one[0].order):
            yield from (Search(gated.recognizer, gated.pattern, start, end) for start, end in regions)


def _unit(plain: str, place: int, unit: Unit) -> tuple[int, int]:
    """The word, line or text around a place."""
    if unit == "text":
        return 0, len(plain)
    start = plain.rfind("\n", 0, place) + 1
    end = plain.find("\n", place)
    end = len(plain) if end < 0 else end
    if unit == "word":
        start = max(start, plain.rfind(" ", start, place) + 1, plain.rfind("\t", start, place) + 1)
        for gap in (" ", "\t"):
            found = plain.find(gap, place, end)
            end = end if found < 0 else found
    return start, end
