"""See through the way a text is written: full-width digits, invisible characters, look-alikes of other scripts. Pure.

`fold` gives the text as a reader would take it, with the place of each of its characters, so that what is found in it
can be replaced where it really stands. Folding only adds to what is looked at: the text itself is searched too.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from typing import Final

# Letters of other scripts that are drawn like ASCII ones (after the confusables of Unicode TS 39), by ASCII letter.
_LOOK_ALIKES: Final = {
    "a": "аα", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡց", "h": "һհ", "i": "іι", "j": "јϳ", "k": "κк", "l": "ӏⅼ",
    "m": "м", "n": "ոп", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "гᴦ", "s": "ѕ", "t": "т", "u": "սυ", "v": "νѵ",
    "w": "ԝѡ",
    "x": "хχ", "y": "уγ", "z": "ᴢ", "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙӀ", "J": "Ј",
    "K": "КΚ", "M": "МΜ", "N": "ΝՆ", "O": "ОΟՕ", "P": "РΡ", "S": "ЅՏ", "T": "ТΤ", "V": "Ѵ", "X": "ХΧ", "Y": "ҮΥ",
    "Z": "ΖᏃ", "-": "‐‑‒–—―−﹣", "@": "＠﹫", ".": "․。",
}  # fmt: skip
_ALIKE: Final = {alike: char for char, alikes in _LOOK_ALIKES.items() for alike in alikes}
_COMBINING_INVISIBLE: Final = frozenset(
    chr(n) for n in (*range(0xFE00, 0xFE10), 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5)
)


def _plain(char: str) -> str:
    """What one character is taken for; itself where nothing else."""
    if char in _ALIKE:
        return _ALIKE[char]
    if char in _COMBINING_INVISIBLE or unicodedata.category(char) == "Cf":
        return ""
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    return unicodedata.normalize("NFKC", char)


@cache
def telling() -> re.Pattern[str]:
    """Matches a character that folding changes; a second of work the first time."""
    ranges: list[list[int]] = []
    for number in range(0x80, sys.maxunicode + 1):
        if 0xD800 <= number <= 0xDFFF or 0x4E00 <= number <= 0xD7A3:
            continue  # surrogates; ideographs and Hangul, which stay as they are
        char = chr(number)
        if _plain(char) != char:
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
    inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    return re.compile(f"[{inside}]")


def fold(text: str) -> tuple[str, list[int]] | None:
    """The folded text and, for each of its characters and its end, the place in the text; None if nothing changes."""
    if text.isascii() or telling().search(text) is None:
        return None
    chars: list[str] = []
    places: list[int] = []
    for place, char in enumerate(text):
        plain = char if char.isascii() else _plain(char)
        chars.append(plain)
        places.extend([place] * len(plain))
    places.append(len(text))
    return "".join(chars), places


def unfold(start: int, end: int, places: list[int]) -> tuple[int, int]:
    """The stretch of the text that a stretch of the folded text comes from, invisible characters inside included."""
    return places[start], places[end - 1] + 1
