"""What a regular expression cannot do without, worked out from its parse tree: the mathematics behind the gates. Pure.

From one pattern come four necessary conditions of every match, none of them written by hand:

- `expression`: the pattern without what looks around (and with a back reference as a copy of its group), so that it
  matches wherever the pattern does, in a dialect that Hyperscan knows;
- `least`: how many characters of a few telling classes (digits, `@`, `.`, ...) a match holds at least;
- `window`: the rarest run of neighbouring character classes that stands in every match;
- `unit`: the smallest of word, line and text that a match neither reaches over nor looks out of.

Patterns see Unicode, these conditions see a *stand-in* of the text (`charset`). What cannot be derived raises
`Underivable`, and its recogniser is never skipped.
"""

from __future__ import annotations

import re
import re._parser as sre  # type: ignore[import-not-found]
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import regex

from pipeline.redaction.derive.charset import OTHER, WORD, Underivable, stand_in
from pipeline.redaction.derive.walk import UNITS, Unit, Walk
from pipeline.redaction.derive.windows import rarest

__all__ = [
    "COUNTED",
    "OTHER",
    "UNITS",
    "WORD",
    "Necessity",
    "Underivable",
    "Unit",
    "counts",
    "enough",
    "necessity",
    "stand_in",
]

COUNTED: Final = ("0123456789", "@", ".", ":", "-", "/", "=", "_")
"""Classes whose characters `least` counts. `_` counts also for letters outside ASCII, so it proves little."""

_COUNTED: Final = tuple(frozenset(chars) for chars in COUNTED)
# Classes by name and fuzzy matching: `re` would read other characters into them without a word.
_ANOTHER_DIALECT: Final = re.compile(r"\[:\^?[a-z]+:\]|\{\s*(?:\d+\s*<=?\s*)?[deis]")
# What both compilers mean the same by. The others of `regex` change what a class, a letter or a border is (V1,
# FULLCASE, WORD, ASCII, ...), or find what the pattern does not say (BESTMATCH, ENHANCEMATCH).
_UNDERSTOOD: Final = int(
    regex.IGNORECASE | regex.DOTALL | regex.MULTILINE | regex.VERBOSE | regex.UNICODE | regex.VERSION0
)
_GIVEN: Final = int(re.IGNORECASE | re.DOTALL | re.MULTILINE | re.VERBOSE)


@dataclass(frozen=True, slots=True)
class Necessity:
    """What every match of a pattern holds; see the module's text. Both expressions are over stand-ins.

    `expression` is to be compiled without regard to case where `nocase` says so; `window` is meant as it is.
    """

    expression: str
    nocase: bool
    least: tuple[int, ...]
    window: str
    unit: Unit
    elements: tuple[str, ...] = ()

    def implies(self, other: Necessity) -> bool:
        """Whether every match of this pattern holds one of the other's: it is the other with something around it."""
        mine, theirs = self.elements, other.elements
        if self.nocase != other.nocase or not theirs or UNITS.index(self.unit) > UNITS.index(other.unit):
            return False
        return any(mine[i : i + len(theirs)] == theirs for i in range(len(mine) - len(theirs) + 1))


@lru_cache(maxsize=4_096)
def necessity(pattern: str, flags: int = 0) -> Necessity:
    """Work out a pattern's necessary conditions.

    Args:
        pattern: in the dialect that Python's `re` and `regex` share.
        flags: as given to the compiler; those inside of the pattern are seen too.

    Raises:
        Underivable: the pattern is of another dialect, or may match nothing at all.
    """
    if _ANOTHER_DIALECT.search(pattern) or flags & ~_UNDERSTOOD:
        raise Underivable("it uses what only `regex` knows")
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = sre.parse(pattern, flags & _GIVEN)
    except (re.error, RecursionError, OverflowError) as error:
        raise Underivable(str(error)) from error
    if int(tree.state.flags) & ~_UNDERSTOOD:
        raise Underivable("it says by itself what its classes are")
    walk = Walk(int(tree.state.flags))
    walk.remember(tree)
    if walk.shortest(tree) == 0:
        raise Underivable("it may match nothing")
    least = tuple(walk.least(tree, chars) for chars in _COUNTED)
    return Necessity(
        walk.render(tree),
        walk.nocase,
        least,
        rarest(walk, tree),
        walk.unit(tree),
        tuple(walk.elements(tree)),
    )


def counts(stand_in: str) -> tuple[int, ...]:
    """How many characters of each of `COUNTED` a stand-in holds."""
    return tuple(sum(map(stand_in.count, chars)) for chars in COUNTED)


def enough(have: Sequence[int], least: Sequence[int]) -> bool:
    """Whether a stand-in can hold a match as far as the counts go."""
    return all(h >= n for h, n in zip(have, least, strict=True))
