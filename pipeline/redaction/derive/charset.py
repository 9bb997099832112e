"""Stand-ins of texts, and the classes of characters that patterns take of them. Pure.

A stand-in has one ASCII character for each of the text: a letter or digit outside ASCII is written `_`, any other such
character DEL, and every class that takes such characters takes the stand-in too.
"""

from __future__ import annotations

import re._constants as op  # type: ignore[import-not-found]
from functools import lru_cache
from typing import Any, Final

import regex

WORD: Final = "_"
OTHER: Final = "\x7f"
ASCII: Final = frozenset(map(chr, range(128)))
# `re` takes the separators 1C to 1F for white space and `regex` does not: both `\s` and `\S` take them here.
_SEPARATORS: Final = frozenset("\x1c\x1d\x1e\x1f")
_CATEGORIES: Final = {
    op.CATEGORY_DIGIT: frozenset("0123456789"),
    op.CATEGORY_SPACE: frozenset(" \t\n\r\f\v") | _SEPARATORS | {OTHER},
    op.CATEGORY_WORD: frozenset(c for c in map(chr, range(128)) if c.isalnum()) | {WORD},
    op.CATEGORY_NOT_DIGIT: ASCII - frozenset("0123456789"),
    op.CATEGORY_NOT_SPACE: ASCII - frozenset(" \t\n\r\f\v"),
    op.CATEGORY_NOT_WORD: frozenset(c for c in map(chr, range(128)) if not c.isalnum()) - {WORD} | {OTHER},
}
_OPPOSITES: Final = (
    {op.CATEGORY_DIGIT, op.CATEGORY_NOT_DIGIT},
    {op.CATEGORY_SPACE, op.CATEGORY_NOT_SPACE},
    {op.CATEGORY_WORD, op.CATEGORY_NOT_WORD},
)
_NOT_ASCII_WORD: Final = regex.compile(r"[^\x00-\x7f\W]")
_NOT_ASCII: Final = regex.compile(r"[^\x00-\x7f]")
# What matching without case takes for ASCII letters, and for which.
_FOLDS: Final = {"\u0130": "iI", "\u0131": "iI", "\u017f": "sS", "\u212a": "kK"}
_FOLDED: Final = regex.compile(f"[{''.join(_FOLDS)}]|[^\\D0-9]")


class Underivable(ValueError):
    """A pattern whose necessary conditions are not known."""


def stand_in(text: str) -> str | None:
    r"""The text with one ASCII character for each, or None if patterns take some of its characters for ASCII ones.

    Matching without case takes four characters for i, i, s and k, and `\d` takes every decimal digit there is.
    """
    if text.isascii():
        return text
    if _FOLDED.search(text):
        return None
    return str(_NOT_ASCII.sub(OTHER, _NOT_ASCII_WORD.sub(WORD, text)))


def members(items: Any, nocase: bool) -> frozenset[str]:
    """Stand-ins that a class takes, given as the parser has it; rather one too many than one too few.

    Raises:
        Underivable: it has parts that are not known.
    """
    taken: set[str] = set()
    doubtful: set[str] = set()  # may be taken
    negated = False
    for kind, item in items:
        if kind is op.NEGATE:
            negated = True
        elif kind is op.LITERAL:
            _add(item, item, nocase, taken, doubtful)
        elif kind is op.RANGE:
            low, high = item
            _add(low, high, nocase, taken, doubtful)
        elif kind is op.CATEGORY and item in _CATEGORIES:
            taken |= _CATEGORIES[item]
            if item in (op.CATEGORY_SPACE, op.CATEGORY_NOT_SPACE):
                doubtful |= _SEPARATORS
        else:
            raise Underivable(f"class of {kind}")
    if not negated:
        return frozenset(taken | doubtful)
    named = {item for kind, item in items if kind is op.CATEGORY}
    if any(pair <= named for pair in _OPPOSITES):
        raise Underivable(r"`regex` takes [^\s\S] for everything")
    # What stands for characters outside ASCII stands for some that the class does not name.
    return (ASCII - (taken - doubtful)) | {WORD, OTHER}


def _add(low: int, high: int, nocase: bool, taken: set[str], doubtful: set[str]) -> None:
    for number in range(low, min(high, 127) + 1):
        taken |= {chr(number).lower(), chr(number).upper()} if nocase else {chr(number)}
    if high > 127:
        doubtful |= {WORD, OTHER}
        if nocase:
            doubtful.update(char for folded, chars in _FOLDS.items() if low <= ord(folded) <= high for char in chars)


@lru_cache(maxsize=1_024)
def one(char: str, nocase: bool) -> frozenset[str]:
    """Stand-ins that one character of a pattern takes."""
    if char.isascii():
        return frozenset({char.lower(), char.upper()} if nocase else {char})
    return frozenset({WORD, OTHER, *(_FOLDS.get(char, "") if nocase else "")})


@lru_cache(maxsize=4_096)
def render_class(chars: frozenset[str]) -> str:
    """A class of ASCII characters as an expression of one character."""
    if len(chars) == 1:
        return _escaped(next(iter(chars)))
    numbers = sorted(ord(c) for c in chars)
    parts: list[str] = []
    first = previous = numbers[0] if numbers else 0
    for number in [*numbers[1:], -1]:
        if number == previous + 1:
            previous = number
            continue
        parts.append(_escaped(chr(first)) if first == previous else f"{_escaped(chr(first))}-{_escaped(chr(previous))}")
        first = previous = number
    return f"[{''.join(parts)}]" if numbers else r"[^\x00-\xff]"


def _escaped(char: str) -> str:
    return char if char.isalnum() else f"\\x{ord(char):02x}"
