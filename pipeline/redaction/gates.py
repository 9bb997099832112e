"""Run a recogniser only where a match of its patterns is possible at all; the findings stay the same.

Gates are worked out from the live recognisers' own patterns (`derive`), so there is nothing here that a new version of
a pattern could make untrue. Hyperscan looks for all of them in one pass; where its wheel is missing, counts and windows
do the same in Python, less sharply. A recogniser is gated only if its findings are known to come from its patterns
alone: it searches by Presidio's `PatternRecognizer.analyze`, or says by itself what it needs (`necessary_patterns`).
Everything else, patterns that cannot be derived, and texts with characters that patterns take for ASCII ones, are
searched by all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final

from phonenumbers import phonenumberutil
from presidio_analyzer import PatternRecognizer
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from pipeline.redaction.derive import Necessity, Underivable, necessity, stand_in
from pipeline.redaction.sieve import Sieve

# These search by a method of their own that was read for this version: they find nothing that their patterns do not.
_READ: Final = {("2.2.366", "IbanRecognizer")}
# Presidio's telephone recogniser has no patterns. The shortest valid numbers of its regions have six digits, but for
# German pagers that begin with 16 (a test looks through the library's tables).
_PUNCTUATION: Final = rf"[{phonenumberutil._VALID_PUNCTUATION}]{{0,4}}"
PHONE_NEEDS: Final = (
    rf"\d(?:{_PUNCTUATION}\d){{5}}",
    rf"1{_PUNCTUATION}6{_PUNCTUATION}\d{_PUNCTUATION}\d",
)


def necessities(recognizer: Any) -> list[Necessity] | None:
    """What a recogniser's findings need, one for each pattern; None: it can find anything and is never skipped."""
    say = getattr(recognizer, "necessary_patterns", None)
    if say is not None:
        pairs: list[tuple[str, int]] = say()
    elif type(recognizer) is PhoneRecognizer and set(recognizer.supported_regions) <= set(
        PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS
    ):
        pairs = [(pattern, re.IGNORECASE) for pattern in PHONE_NEEDS]
    elif _searches_patterns_only(type(recognizer)):
        flags = int(recognizer.global_regex_flags)
        pairs = [(pattern.regex, flags) for pattern in recognizer.patterns]
    else:
        return None
    try:
        needed = [necessity(pattern, flags) for pattern, flags in pairs]
    except Underivable:
        return None
    return [
        n
        for i, n in enumerate(needed)
        if not any(n.implies(o) and (j < i or not o.implies(n)) for j, o in enumerate(needed) if j != i)
    ]


def _searches_patterns_only(kind: type) -> bool:
    if not issubclass(kind, PatternRecognizer):
        return False
    if kind.analyze is PatternRecognizer.analyze:
        return True
    is_read = (version("presidio-analyzer"), kind.__name__) in _READ
    return is_read and kind.__module__.startswith("presidio_analyzer.")


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
        needed = [necessities(r) if on else None for r in self._all]
        self._always = [r for r, need in zip(self._all, needed, strict=True) if need is None]
        gated = [(r, need) for r, need in zip(self._all, needed, strict=True) if need is not None]
        self._recognizers = [r for r, _ in gated]
        self._within_line = [all(n.within_line for n in need) for _, need in gated]
        self.sieve = Sieve([need for _, need in gated], database=database, hyperscan=hyperscan)

    @property
    def complete(self) -> bool:
        """Whether a text in which the sieve sees nothing has no findings, because every recogniser is gated."""
        return not self._always

    def work(self, text: str) -> Iterator[tuple[Any, str, int]]:
        """What has to be done: (recogniser, part of the text, its offset in characters)."""
        plain = stand_in(text)
        seen = None if plain is None else self.sieve.seen(plain)
        if plain is None or seen is None:
            yield from ((r, text, 0) for r in self._all)
            return
        yield from ((r, text, 0) for r in self._always)
        if not seen:
            return
        if "\n" not in text:
            yield from ((self._recognizers[i], text, 0) for i in seen)
            return
        in_lines = {i for i in seen if self._within_line[i]}
        yield from ((self._recognizers[i], text, 0) for i in seen if i not in in_lines)
        if not in_lines:
            return
        for line in _LINE.finditer(plain):
            start, end = line.span()
            for i in self.sieve.seen(line.group()) or ():
                if i in in_lines:
                    yield self._recognizers[i], text[start:end], start


_LINE: Final = re.compile(r"[^\n]+")
