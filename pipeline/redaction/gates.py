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
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from phonenumbers import phonenumberutil
from presidio_analyzer import PatternRecognizer
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from pipeline.redaction.derive import UNITS, Necessity, Underivable, Unit, necessity, stand_in
from pipeline.redaction.kinds.base import Kind
from pipeline.redaction.kinds.stricter import Domains
from pipeline.redaction.sieve import Hit, Sieve

# These search by a method of their own that was read for this version: they find nothing that their patterns do not.
_READ: Final = {("2.2.366", "IbanRecognizer")}
# Presidio's telephone recogniser has no patterns. The shortest valid numbers of its regions have six digits, but for
# German pagers that begin with 16 (a test looks through the library's tables).
_PUNCTUATION: Final = rf"[{phonenumberutil._VALID_PUNCTUATION}]{{0,4}}"
PHONE_NEEDS: Final = (
    rf"\d(?:{_PUNCTUATION}\d){{5}}",
    rf"1{_PUNCTUATION}6{_PUNCTUATION}\d{_PUNCTUATION}\d",
)


@dataclass(frozen=True, slots=True)
class Search:
    """One thing to do: let a recogniser look at text[start:end], with one of its patterns or (None) with all."""

    recognizer: Any
    pattern: int | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Gated:
    """A search that the sieve can trigger."""

    order: int
    recognizer: Any
    pattern: int | None
    unit: Unit


def searches_by_itself(recognizer: Any) -> bool:
    """Whether a recogniser's patterns are searched one by one, by `Kind.search` or `kinds.lean`."""
    if not isinstance(recognizer, PatternRecognizer):
        return isinstance(recognizer, Kind)
    return type(recognizer).analyze is PatternRecognizer.analyze or isinstance(recognizer, Domains)


def patterns_of(recognizer: Any) -> list[tuple[str, int]] | None:
    """(pattern, flags) that every finding of a recogniser lies in a match of; None: it can find anything."""
    say = getattr(recognizer, "necessary_patterns", None)
    if say is not None:
        said: list[tuple[str, int]] = say()
        return said
    kind = type(recognizer)
    if kind is PhoneRecognizer:
        known = set(recognizer.supported_regions) <= set(PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS)
        return [(pattern, int(re.IGNORECASE)) for pattern in PHONE_NEEDS] if known else None
    is_read = (version("presidio-analyzer"), kind.__name__) in _READ and kind.__module__.startswith(
        "presidio_analyzer."
    )
    if is_read or searches_by_itself(recognizer):
        return [(pattern.regex, int(recognizer.global_regex_flags)) for pattern in recognizer.patterns]
    return None


def _needs(recognizer: Any) -> list[Necessity] | None:
    patterns = patterns_of(recognizer)
    try:
        return None if patterns is None else [necessity(pattern, flags) for pattern, flags in patterns]
    except Underivable:
        return None


class Gates:
    """Decides which recogniser has to look at which part of a text.

    Args:
        recognizers: those in use.
        on: False skips nothing.
        database: a compiled sieve of the same recognisers (`Sieve.dump`), to save the seconds of compiling it.
        hyperscan: False uses the gate in Python, as where there is no wheel.
    """

    def __init__(
        self, recognizers: Sequence[Any], *, on: bool = True, database: bytes | None = None, hyperscan: bool = True
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
            coarsest = max((n.unit for n in needs), key=UNITS.index)
            gated = [
                _Gated(order, recognizer, i if alone else None, n.unit if alone else coarsest)
                for i, n in enumerate(needs)
            ]
            # A pattern that holds another one is triggered by it, and need not be looked for.
            holders: dict[int, list[int]] = {i: [i] for i in range(len(needs))}
            for i, need in enumerate(needs):
                for j, other in enumerate(needs):
                    if i != j and i in holders and j in holders and need.implies(other):
                        holders[j] += holders.pop(i)
                        break
            for i, triggered in holders.items():
                needed.append(needs[i])
                self._gated.append(tuple(dict.fromkeys(gated[k] for k in triggered)))
        self.sieve = Sieve(needed, database=database, hyperscan=hyperscan)

    @property
    def complete(self) -> bool:
        """Whether a text in which the sieve sees nothing has no findings, because every recogniser is gated."""
        return not self._always

    def work(self, text: str) -> Iterator[Search]:
        """What has to be done, the searches of one recogniser one after the other."""
        size = len(text)
        plain = stand_in(text)
        hits = None if plain is None else self.sieve.hits(plain)
        if plain is None or hits is None:
            yield from (Search(r, None, 0, size) for r in self._all)
            return
        yield from (Search(r, None, 0, size) for r in self._always)
        if hits:
            yield from self._triggered(plain, hits)

    def _triggered(self, plain: str, hits: Sequence[Hit]) -> Iterator[Search]:
        done: dict[tuple[int, int | None], list[tuple[int, int]]] = {}
        todo: dict[tuple[int, int | None], tuple[_Gated, list[tuple[int, int]]]] = {}
        for number, place in hits:
            for gated in self._gated[number]:
                key = (gated.order, gated.pattern)
                regions = done.setdefault(key, [])
                if regions and regions[-1][0] <= place < regions[-1][1]:
                    continue
                region = _unit(plain, place, gated.unit)
                if region not in regions:
                    regions.append(region)
                    todo.setdefault(key, (gated, regions))
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
