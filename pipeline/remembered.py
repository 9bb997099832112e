"""A bounded memory of what short strings come to: one idea, used wherever words, tokens or names come again and again.

A look-up costs what a dictionary's does; nothing is reordered. Longer strings are texts and are never remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(dict[str, V], Generic[V]):
    """What a function makes of strings: `known[text]`, made once for a short one.

    Memory: `most` strings of at most `longest` characters and what they come to. When it is full it is emptied, which
    costs as much again as filling it did and spares every look-up the bookkeeping of what was used last.

    Args:
        make: Pure; asked for what is not known.
        most: Strings that are remembered.
        longest: Characters of a string that is.
    """

    __slots__ = ("_longest", "_make", "_most")

    def __init__(self, make: Callable[[str], V], *, most: int, longest: int) -> None:
        super().__init__()
        self._make, self._most, self._longest = make, most, longest

    def __missing__(self, text: str) -> V:
        made = self._make(text)
        if len(text) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[text] = made
        return made
