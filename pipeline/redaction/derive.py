"""What a regular expression cannot do without, worked out from its parse tree: the mathematics behind the gates. Pure.

From one pattern come four necessary conditions of every match, none of them written by hand:

- `expression`: the pattern without what looks around (and with a back reference as a copy of its group), so that it
  matches wherever the pattern does, in a dialect that Hyperscan knows;
- `least`: how many characters of a few telling classes (digits, `@`, `.`, ...) a match holds at least;
- `window`: the rarest run of neighbouring character classes that stands in every match;
- `unit`: the smallest of word, line and text that a match neither reaches over nor looks out of.

Patterns see Unicode, these conditions see a *stand-in* of the text, one ASCII character for each: a letter or digit
outside ASCII is written `_`, any other such character DEL, and every class that takes such characters takes the
stand-in too. What cannot be derived raises `Underivable`, and its recogniser is never skipped.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as sre  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import regex

WORD: Final = "_"
OTHER: Final = "\x7f"
_ASCII: Final = frozenset(map(chr, range(128)))
_CATEGORIES: Final = {
    op.CATEGORY_DIGIT: frozenset("0123456789"),
    op.CATEGORY_SPACE: frozenset(" \t\n\r\f\v\x1c\x1d\x1e\x1f") | {OTHER},
    op.CATEGORY_WORD: frozenset(c for c in map(chr, range(128)) if c.isalnum()) | {WORD},
    op.CATEGORY_NOT_DIGIT: _ASCII - frozenset("0123456789"),
    op.CATEGORY_NOT_SPACE: _ASCII - frozenset(" \t\n\r\f\v\x1c\x1d\x1e\x1f"),
    op.CATEGORY_NOT_WORD: frozenset(c for c in map(chr, range(128)) if not c.isalnum()) - {WORD} | {OTHER},
}
_IGNORECASE: Final = int(re.IGNORECASE)  # plain numbers: flags of `re` are slow to combine
_DOTALL: Final = int(re.DOTALL)
_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)

COUNTED: Final = ("0123456789", "@", ".", ":", "-", "/", "=", "_")
"""Classes whose characters `least` counts. `_` counts also for letters outside ASCII, so it proves little."""

Unit = Literal["word", "line", "text"]
UNITS: Final[tuple[Unit, ...]] = ("word", "line", "text")
# Words are cut at these; DEL stands for spaces outside ASCII, among others, so that it is no border.
_SPACES: Final = frozenset(" \t\n")
_NEWLINE: Final = frozenset("\n")
_COUNTED: Final = tuple(frozenset(chars) for chars in COUNTED)
_MOST_WINDOW: Final = 8
_MOST_OPTIONS: Final = 4_000
_MOST_REPEATS: Final = 32_000
_COUNTED_REPEATS: Final = 6
# How often a character turns up in prose and code, roughly; only to choose among windows, never for what is true.
_COMMON: Final = {" ": 0.16, "\n": 0.02, ".": 0.012, ",": 0.012, "-": 0.006, "_": 0.004, ":": 0.004, "/": 0.004}


class Underivable(ValueError):
    """A pattern whose necessary conditions are not known."""


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


# Classes by name and fuzzy matching: `re` would read other characters into them without a word.
_ANOTHER_DIALECT: Final = re.compile(r"\[:\^?[a-z]+:\]|\{\s*(?:\d+\s*<=?\s*)?[deis]")
_NOT_ASCII_WORD: Final = regex.compile(r"[^\x00-\x7f\W]")
_NOT_ASCII: Final = regex.compile(r"[^\x00-\x7f]")
_FOLDED: Final = regex.compile("[\u0130\u0131\u017f\u212a]|[^\\D0-9]")


def stand_in(text: str) -> str | None:
    r"""The text with one ASCII character for each, or None if patterns take some of its characters for ASCII ones.

    Matching without case takes four characters for i, i, s and k, and `\d` takes every decimal digit there is.
    """
    if text.isascii():
        return text
    if _FOLDED.search(text):
        return None
    return str(_NOT_ASCII.sub(OTHER, _NOT_ASCII_WORD.sub(WORD, text)))


@lru_cache(maxsize=4_096)
def necessity(pattern: str, flags: int = 0) -> Necessity:
    """Work out a pattern's necessary conditions.

    Args:
        pattern: in the dialect that Python's `re` and `regex` share.
        flags: as given to the compiler; those inside of the pattern are seen too.

    Raises:
        Underivable: the pattern is of another dialect, or may match nothing at all.
    """
    if _ANOTHER_DIALECT.search(pattern):
        raise Underivable("it uses what only `regex` knows")
    try:
        with _quiet():
            tree = sre.parse(pattern, flags & (re.IGNORECASE | re.DOTALL | re.MULTILINE | re.VERBOSE))
    except (re.error, RecursionError, OverflowError) as error:
        raise Underivable(str(error)) from error
    walk = _Walk(int(tree.state.flags))
    walk.remember(tree)
    if walk.shortest(tree) == 0:
        raise Underivable("it may match nothing")
    least = tuple(walk.least(tree, chars) for chars in _COUNTED)
    return Necessity(
        walk.render(tree),
        walk.nocase,
        least,
        walk.window(tree),
        walk.unit(tree),
        tuple(walk.elements(tree)),
    )


def _quiet() -> Any:
    import warnings

    return warnings.catch_warnings(action="ignore")


class _Walk:
    """One pattern's tree, looked at in several ways."""

    def __init__(self, flags: int) -> None:
        self.nocase = bool(flags & _IGNORECASE)
        self._flags = flags  # where the walk is; groups may have their own
        self.groups: dict[int, Any] = {}
        self._classes: dict[tuple[int, int], frozenset[str]] = {}

    def remember(self, tree: Any) -> None:
        """Note groups, for back references."""
        for code, value in tree:
            if code is op.SUBPATTERN and value[0] is not None:
                self.groups[value[0]] = value[3]
            for inner in self._inside(code, value):
                self.remember(inner)

    @staticmethod
    def _inside(code: Any, value: Any) -> Iterable[Any]:
        if code is op.SUBPATTERN:
            return (value[3],)
        if code in _REPEATS:
            return (value[2],)
        if code is op.BRANCH:
            return tuple(value[1])
        if code is op.ATOMIC_GROUP:
            return (value,)
        if code in (op.ASSERT, op.ASSERT_NOT):
            return (value[1],)
        if code is op.GROUPREF_EXISTS:
            return tuple(v for v in value[1:] if v is not None)
        return ()

    @contextmanager
    def _group(self, value: Any) -> Iterator[Any]:
        """Inside of a group, under its flags."""
        before = self._flags
        self._flags = (before | int(value[1])) & ~int(value[2])
        try:
            yield value[3]
        finally:
            self._flags = before

    # ---- character classes

    def _chars(self, code: Any, value: Any) -> frozenset[str] | None:
        """Stand-ins that a single-character node takes; None for other nodes."""
        if code is op.LITERAL:
            return self._one(chr(value))
        if code is op.IN:
            key = (id(value), self._flags)  # the tree lives as long as the walk
            if key not in self._classes:
                self._classes[key] = self._class(value)
            return self._classes[key]
        if code is op.NOT_LITERAL:
            return (_ASCII - self._one(chr(value))) | {WORD, OTHER}
        if code is op.ANY:
            return _ASCII if self._flags & _DOTALL else _ASCII - {"\n"}
        return None

    def _class(self, items: Any) -> frozenset[str]:
        taken: set[str] = set()
        negated = False
        for kind, item in items:
            if kind is op.NEGATE:
                negated = True
            elif kind is op.LITERAL:
                taken |= self._one(chr(item))
            elif kind is op.RANGE:
                low, high = item
                for number in range(low, min(high, 127) + 1):
                    taken |= self._one(chr(number))
                if high > 127:
                    taken |= {WORD, OTHER}
            elif kind is op.CATEGORY and item in _CATEGORIES:
                taken |= _CATEGORIES[item]
            else:
                raise Underivable(f"class of {kind}")
        if not negated:
            return frozenset(taken)
        # What stood for other characters may be one that the class does not name.
        return (_ASCII - (taken - {WORD, OTHER})) | {WORD, OTHER}

    def _one(self, char: str) -> frozenset[str]:
        return _one(char, bool(self._flags & _IGNORECASE))

    # ---- numbers

    def shortest(self, tree: Any) -> int:
        """Characters of the shortest match."""
        return self.least(tree, _ASCII)

    def least(self, tree: Any, chars: frozenset[str]) -> int:
        """How many characters of a class are in every match at least."""
        total = 0
        for code, value in tree:
            taken = self._chars(code, value)
            if taken is not None:
                total += taken <= chars
            elif code is op.SUBPATTERN:
                with self._group(value) as inner:
                    total += self.least(inner, chars)
            elif code is op.ATOMIC_GROUP:
                total += self.least(value, chars)
            elif code in _REPEATS:
                total += min(int(value[0]), 100_000) * self.least(value[2], chars)
            elif code is op.BRANCH:
                total += min(self.least(branch, chars) for branch in value[1])
            elif code in (op.AT, op.ASSERT, op.ASSERT_NOT, op.GROUPREF, op.GROUPREF_EXISTS):
                continue
            else:
                raise Underivable(f"node {code}")
        return total

    # ---- the pattern as a relaxed expression

    def render(self, tree: Any) -> str:
        """The relaxed expression."""
        return "".join(self._rendered(code, value) for code, value in tree)

    def _rendered(self, code: Any, value: Any) -> str:
        taken = self._chars(code, value)
        if taken is not None:
            return render_class(frozenset(c.lower() for c in taken) if self.nocase else taken)
        if code is op.SUBPATTERN:
            with self._group(value) as inner:
                return f"(?:{self.render(inner)})"
        if code is op.ATOMIC_GROUP:
            return f"(?:{self.render(value)})"
        if code in _REPEATS:
            least, most, inner = value
            open_end = most is op.MAXREPEAT or most > max(_COUNTED_REPEATS, int(least))  # else dear to compile
            return f"(?:{self.render(inner)}){{{min(int(least), _MOST_REPEATS)},{'' if open_end else int(most)}}}"
        if code is op.BRANCH:
            return "(?:" + "|".join(dict.fromkeys(self.render(branch) for branch in value[1])) + ")"
        if code is op.GROUPREF:
            with self._group((value, _IGNORECASE, 0, self.groups[value])) as inner:
                return f"(?:{self.render(inner)})?"
        if code is op.GROUPREF_EXISTS:
            options = [self.render(v) if v is not None else "" for v in value[1:]]
            return "(?:" + "|".join(options) + ")"
        if code is op.AT and value in (op.AT_BOUNDARY, op.AT_NON_BOUNDARY):
            return r"\b" if value is op.AT_BOUNDARY else r"\B"
        if code in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return ""
        raise Underivable(f"node {code}")

    def elements(self, tree: Any) -> Iterable[str]:
        """The relaxed expression in parts that all stand in every match, one after the other."""
        for code, value in tree:
            if code is op.SUBPATTERN:
                with self._group(value) as inner:
                    yield from self.elements(inner)
            elif code not in (op.ASSERT, op.ASSERT_NOT):
                yield self._rendered(code, value)

    # ---- units

    def unit(self, tree: Any) -> Unit:
        """The smallest unit of text that a match is the same in as in the whole."""
        return "word" if self._avoids(tree, _SPACES) else "line" if self._avoids(tree, _NEWLINE) else "text"

    def _avoids(self, tree: Any, between: frozenset[str]) -> bool:
        """Whether nothing of a match, nor what it looks at, takes one of the characters between units."""
        for code, value in tree:
            taken = self._chars(code, value)
            if taken is not None:
                if taken & between:
                    return False
            elif code is op.AT:
                if value in (op.AT_BEGINNING_STRING, op.AT_END_STRING):
                    return False
            elif code in (op.ASSERT, op.ASSERT_NOT):
                # Looking at a unit's end and at the text's end must be the same: it is if what stands there is not
                # taken.
                if not self._avoids(value[1], between):
                    return False
            elif code is op.SUBPATTERN:
                with self._group(value) as inner:
                    if not self._avoids(inner, between):
                        return False
            elif not all(self._avoids(inner, between) for inner in self._inside(code, value)):
                return False
        return True

    # ---- windows

    def window(self, tree: Any) -> str:
        """The rarest run of classes in every match, as an expression; empty if there is none."""
        _, _, runs = self._runs(tree)
        best, likely = "", 1.0
        for run in runs:
            for first in range(len(run)):
                chance = 1.0
                for last in range(first, min(len(run), first + _MOST_WINDOW)):
                    chance *= _chance(run[last])
                    # Longer is not dearer to search for, and never likelier.
                    if chance < likely:
                        best, likely = "".join(render_class(c) for c in run[first : last + 1]), chance
        return best

    def _runs(self, tree: Any) -> tuple[list[frozenset[str]], bool, list[list[frozenset[str]]]]:
        """(classes that every match begins with, whether that is all of it, all runs in every match)."""
        finished: list[list[frozenset[str]]] = []
        current: list[frozenset[str]] = []
        prefix: list[frozenset[str]] | None = None
        for code, value in tree:
            start, exact, inner = self._runs_of(code, value)
            current = current + start
            finished += inner
            if not exact:
                prefix = current if prefix is None else prefix
                finished.append(current)
                current = self._tail_of(code, value)
        finished.append(current)
        return (current if prefix is None else prefix), prefix is None, [run for run in finished if run]

    def _runs_of(self, code: Any, value: Any) -> tuple[list[frozenset[str]], bool, list[list[frozenset[str]]]]:
        taken = self._chars(code, value)
        if taken is not None:
            return [taken], True, []
        if code is op.SUBPATTERN:
            with self._group(value) as inner:
                return self._runs(inner)
        if code is op.ATOMIC_GROUP:
            return self._runs(value)
        if code in _REPEATS:
            least, most, inner = int(value[0]), value[1], value[2]
            if least == 0:
                return [], False, []
            start, exact, runs = self._runs(inner)
            if not exact:
                return start, False, runs
            return start * min(least, _MOST_WINDOW), least == most and least <= _MOST_WINDOW, []
        if code is op.BRANCH:
            if len(value[1]) > _MOST_OPTIONS:
                return [], False, []
            parts = [self._runs(branch) for branch in value[1]]
            size = min(len(start) for start, _, _ in parts)
            merged = [frozenset().union(*(start[i] for start, _, _ in parts)) for i in range(size)]
            return merged, all(exact and len(start) == size for start, exact, _ in parts), []
        if code in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return [], True, []
        return [], False, []

    def _tail_of(self, code: Any, value: Any) -> list[frozenset[str]]:
        """Classes that every match of a node of changing length ends with, as far as they are known."""
        if code in _REPEATS and int(value[0]) > 0:
            start, exact, _ = self._runs(value[2])
            return start * min(int(value[0]), _MOST_WINDOW) if exact else []
        return []


@lru_cache(maxsize=1_024)
def _one(char: str, nocase: bool) -> frozenset[str]:
    if not nocase:
        return frozenset({char if char.isascii() else WORD if char.isalnum() else OTHER})
    if char.isascii():
        return frozenset({char.lower(), char.upper()})
    forms = {char, char.lower(), char.upper(), char.casefold()}
    return frozenset(form for form in forms if len(form) == 1 and form.isascii()) | {WORD, OTHER}


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


def _chance(chars: frozenset[str]) -> float:
    total = 0.0
    for char in chars:
        if char in _COMMON:
            total += _COMMON[char]
        elif "a" <= char <= "z":
            total += 0.03
        elif "A" <= char <= "Z":
            total += 0.004
        elif "0" <= char <= "9":
            total += 0.003
        else:
            total += 0.0015
    return min(total, 0.99)


def counts(stand_in: str) -> tuple[int, ...]:
    """How many characters of each of `COUNTED` a stand-in holds."""
    return tuple(sum(map(stand_in.count, chars)) for chars in COUNTED)


def enough(have: Sequence[int], least: Sequence[int]) -> bool:
    """Whether a stand-in can hold a match as far as the counts go."""
    return all(h >= n for h, n in zip(have, least, strict=True))
