"""What is sought, as values: the ways a kind of value is written. Knows no Presidio, so that every stage can judge by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import regex

Check = Callable[[str, int, int], bool]
"""(text, start, end) of the value to whether it is one."""

LINES: Final = int(regex.MULTILINE)
ANY_CASE: Final = int(regex.MULTILINE | regex.IGNORECASE)


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
    """

    name: str
    pattern: str
    score: float
    check: Check | None = None
    flags: int = LINES
    inside: Callable[[str, int, int], Sequence[tuple[int, int]]] | None = None


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


def cue_before(words: str, reach: int = 60) -> Check:
    """A check that one of the words (alternatives of an expression, whole words) stands shortly before the value."""
    pattern = regex.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", regex.IGNORECASE)

    def check(text: str, start: int, end: int) -> bool:
        line = text.rfind("\n", 0, start) + 1
        return pattern.search(text, max(line, start - reach), start) is not None

    return check
