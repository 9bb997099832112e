"""What is sought, as values: the ways a kind of value is written. Knows no Presidio, so that every stage can judge by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex

Check = Callable[[str, int, int], bool]
"""(text, start, end) of the value to whether it is one."""

LINES: Final = int(regex.MULTILINE)
ANY_CASE: Final = int(regex.MULTILINE | regex.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that must stand shortly before a value, on its line.

    Attributes:
        words: alternatives of an expression, whole words, in any case.
        reach: how many characters before the value they may begin.
        is_rarer: whether texts hold the words more rarely than something that looks like the value; then gates look for
            them instead.
    """

    words: str
    reach: int = 60
    is_rarer: bool = False

    def is_before(self, text: str, start: int) -> bool:
        """Whether one of the words stands before a place in a text."""
        line = text.rfind("\n", 0, start) + 1
        return _cue(self.words).search(text, max(line, start - self.reach), start) is not None


@lru_cache(maxsize=256)
def _cue(words: str) -> regex.Pattern[str]:
    return regex.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", regex.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shape:
    """One way a kind of value is written.

    Attributes:
        name: for explanations and the manifest.
        pattern: in `regex`'s dialect; a group named `v` is the value, else the whole match.
        score: of a finding, 0 to 1.
        check: what the pattern cannot say; part of the manifest by the source of its module.
        flags: of the pattern.
        inside: finds the values in a match, where they are not the match or its group.
        cue: what must stand before the value.
        near: parts of a text, in order and apart, that hold every match whole, and all that a match depends on before
            it may be outside of them; where that is found faster than by the pattern.
    """

    name: str
    pattern: str
    score: float
    check: Check | None = None
    flags: int = LINES
    inside: Callable[[str, int, int], Sequence[tuple[int, int]]] | None = None
    cue: Cue | None = None
    near: Callable[[str], Iterable[tuple[int, int]]] | None = None

    def accepts(self, text: str, start: int, end: int) -> bool:
        """Whether what the pattern takes for a value is one, by what stands before it and by the check."""
        return (
            start < end
            and (self.cue is None or self.cue.is_before(text, start))
            and (self.check is None or self.check(text, start, end))
        )


@dataclass(frozen=True, slots=True)
class Sought:
    """One entity type and how it is written.

    Attributes:
        entity: the type of findings.
        shapes: its ways of writing.
        context: words before a value that raise its score (by the common rule of the engine).
        whole_text: matches may be long or many lines; the engine shows the text uncut.
    """

    entity: str
    shapes: tuple[Shape, ...]
    context: tuple[str, ...] = ()
    whole_text: bool = False
