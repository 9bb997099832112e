"""One pattern's parse tree, looked at in several ways: numbers, the relaxed expression, units. Pure."""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from pipeline.redaction.derive.charset import ASCII, Underivable, members, one, render_class

Unit = Literal["word", "line", "text"]
UNITS: Final[tuple[Unit, ...]] = ("word", "line", "text")
# Words are cut at these; DEL stands for spaces outside ASCII, among others, so that it is no border.
_SPACES: Final = frozenset(" \t\n")
_NEWLINE: Final = frozenset("\n")
_IGNORECASE: Final = int(re.IGNORECASE)  # plain numbers: flags of `re` are slow to combine
_DOTALL: Final = int(re.DOTALL)
_MULTILINE: Final = int(re.MULTILINE)
_ASCII_CLASSES: Final = int(re.ASCII | re.LOCALE)
REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_WIDTHLESS: Final = (op.AT, op.ASSERT, op.ASSERT_NOT)
_MOST_REPEATS: Final = 32_000
_COUNTED_REPEATS: Final = 6


class Walk:
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
        if code in REPEATS:
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
    def group(self, value: Any) -> Iterator[Any]:
        """Inside of a group, under its flags."""
        if int(value[1]) & _ASCII_CLASSES:
            raise Underivable("a group says by itself what its classes are")
        before = self._flags
        self._flags = (before | int(value[1])) & ~int(value[2])
        try:
            yield value[3]
        finally:
            self._flags = before

    # ---- character classes

    def chars(self, code: Any, value: Any) -> frozenset[str] | None:
        """Stand-ins that a single-character node takes; None for other nodes."""
        nocase = bool(self._flags & _IGNORECASE)
        if code is op.LITERAL:
            return one(chr(value), nocase)
        if code is op.IN:
            key = (id(value), self._flags)  # the tree lives as long as the walk
            if key not in self._classes:
                self._classes[key] = members(value, nocase)
            return self._classes[key]
        if code is op.NOT_LITERAL:
            return members(((op.NEGATE, None), (op.LITERAL, value)), nocase)
        if code is op.ANY:
            return ASCII if self._flags & _DOTALL else ASCII - {"\n"}
        return None

    # ---- numbers

    def shortest(self, tree: Any) -> int:
        """Characters of the shortest match."""
        return self.least(tree, ASCII)

    def least(self, tree: Any, chars: frozenset[str]) -> int:
        """How many characters of a class are in every match at least."""
        total = 0
        for code, value in tree:
            taken = self.chars(code, value)
            if taken is not None:
                total += taken <= chars
            elif code is op.SUBPATTERN:
                with self.group(value) as inner:
                    total += self.least(inner, chars)
            elif code is op.ATOMIC_GROUP:
                total += self.least(value, chars)
            elif code in REPEATS:
                total += min(int(value[0]), 100_000) * self.least(value[2], chars)
            elif code is op.BRANCH:
                total += min(self.least(branch, chars) for branch in value[1])
            elif code in (op.AT, op.ASSERT, op.ASSERT_NOT, op.GROUPREF, op.GROUPREF_EXISTS):
                continue
            else:
                raise Underivable(f"node {code}")
        return total

    # ---- the pattern as a relaxed expression

    def render(self, tree: Any, first: bool = True) -> str:
        """The relaxed expression; `first`: nothing of a match stands before it."""
        return "".join(self._parts(tree, first))

    def _parts(self, tree: Any, first: bool) -> Iterator[str]:
        for code, value in tree:
            yield self._rendered(code, value, first)
            first = first and code in _WIDTHLESS

    def _rendered(self, code: Any, value: Any, first: bool) -> str:
        taken = self.chars(code, value)
        if taken is not None:
            return render_class(frozenset(c.lower() for c in taken) if self.nocase else taken)
        if code is op.SUBPATTERN:
            with self.group(value) as inner:
                return f"(?:{self.render(inner, first)})"
        if code is op.ATOMIC_GROUP:
            return f"(?:{self.render(value, first)})"
        if code in REPEATS:
            least, most, inner = value
            open_end = most is op.MAXREPEAT or most > max(_COUNTED_REPEATS, int(least))  # else dear to compile
            often = f"{{{min(int(least), _MOST_REPEATS)},{'' if open_end else int(most)}}}"
            return f"(?:{self.render(inner, False)}){often}"
        if code is op.BRANCH:
            return "(?:" + "|".join(dict.fromkeys(self.render(branch, first) for branch in value[1])) + ")"
        if code is op.GROUPREF:
            with self.group((value, _IGNORECASE | _DOTALL, 0, self.groups[value])) as inner:
                return f"(?:{self.render(inner, False)})?"
        if code is op.GROUPREF_EXISTS:
            options = [self.render(v, False) if v is not None else "" for v in value[1:]]
            return "(?:" + "|".join(options) + ")"
        if code is op.AT:
            return self._border(value, first)
        if code in (op.ASSERT, op.ASSERT_NOT):
            return ""
        raise Underivable(f"node {code}")

    def _border(self, value: Any, first: bool) -> str:
        if value is op.AT_BOUNDARY:
            return r"\b"
        if value is op.AT_NON_BOUNDARY:
            return r"\B"
        # Matchers know beginnings only where expressions begin; ends are left out.
        if first and value is op.AT_BEGINNING:
            return r"(?:^|\n)" if self._flags & _MULTILINE else "^"
        return "^" if first and value is op.AT_BEGINNING_STRING else ""

    def elements(self, tree: Any, first: bool = True) -> Iterator[str]:
        """The relaxed expression in parts that all stand in every match, one after the other."""
        for code, value in tree:
            if code is op.SUBPATTERN:
                with self.group(value) as inner:
                    yield from self.elements(inner, first)
            elif code not in (op.ASSERT, op.ASSERT_NOT):
                yield self._rendered(code, value, first)
            first = first and code in _WIDTHLESS

    # ---- units

    def unit(self, tree: Any) -> Unit:
        """The smallest unit of text that a match is the same in as in the whole."""
        return "word" if self._avoids(tree, _SPACES) else "line" if self._avoids(tree, _NEWLINE) else "text"

    def _avoids(self, tree: Any, between: frozenset[str]) -> bool:
        """Whether nothing of a match, nor what it looks at, takes one of the characters between units."""
        for code, value in tree:
            taken = self.chars(code, value)
            if taken is not None:
                if taken & between:
                    return False
            elif code is op.AT:
                if value in (op.AT_BEGINNING_STRING, op.AT_END_STRING):
                    return False
                if value in (op.AT_BEGINNING, op.AT_END) and (not self._flags & _MULTILINE or " " in between):
                    return False  # the border of a word is none of a line, and that of a line none of a text
            elif code in (op.ASSERT, op.ASSERT_NOT):
                # Looking at a unit's end and at the text's end must be the same: it is if what stands there is not
                # taken.
                if not self._avoids(value[1], between):
                    return False
            elif code is op.SUBPATTERN:
                with self.group(value) as inner:
                    if not self._avoids(inner, between):
                        return False
            elif not all(self._avoids(inner, between) for inner in self._inside(code, value)):
                return False
        return True
