"""See through the way characters are written: full-width digits, unseen characters, look-alikes of other scripts. Pure.

`fold` gives the text as a reader would take it, with the place of each of its characters, so that what is found in it
can be replaced where it really stands.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

# Letters of other scripts that are drawn like ASCII ones (after the confusables of Unicode TS 39), by ASCII letter.
_LOOK_ALIKES: Final = {
    "a": "аα", "c": "сϲ", "d": "ԁ", "e": "еҽ", "g": "ɡց", "h": "һհ", "i": "іι", "j": "јϳ", "k": "κк", "l": "ӏⅼ",
    "m": "м", "n": "ոп", "o": "оοօ", "p": "рρ", "q": "ԛ", "r": "гᴦ", "s": "ѕ", "t": "т", "u": "սυ", "v": "νѵ",
    "w": "ԝѡ",
    "x": "хχ", "y": "уγ", "z": "ᴢ", "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙӀ", "J": "Ј",
    "K": "КΚ", "M": "МΜ", "N": "ΝՆ", "O": "ОΟՕ", "P": "РΡ", "S": "ЅՏ", "T": "ТΤ", "V": "Ѵ", "X": "ХΧ", "Y": "ҮΥ",
    "Z": "ΖᏃ", "-": "‐‑‒–—―−﹣", "@": "＠﹫", ".": "․。", "\n": "\u2028\u2029",
}  # fmt: skip
# Letters in circles and squares, and those that flags are made of, have no decomposition.
_IN_SHAPES: Final = (0x1F150, 0x1F170, 0x1F1E6)
_ALIKE: Final = {alike: char for char, alikes in _LOOK_ALIKES.items() for alike in alikes} | {
    chr(first + n): chr(ord("A") + n) for first in _IN_SHAPES for n in range(26)
}
# Marks that stand over, under or around any letter, and letters that are drawn as nothing.
_MARKS: Final = frozenset(
    chr(n)
    for low, high in ((0x300, 0x370), (0x1AB0, 0x1B00), (0x1DC0, 0x1E00), (0x20D0, 0x2100), (0xFE00, 0xFE30))
    for n in range(low, high)
    if unicodedata.category(chr(n)) in ("Mn", "Me")
)
_UNSEEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800") | _MARKS
# White space apart, control characters are not drawn either.
_CONTROLS: Final = "\\x00-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f"
_CONTROL: Final = re.compile(f"[{_CONTROLS}]")
CLUE: Final = r"[\x00-\x08\x0e-\x1b\x7f]"
"""Those of ASCII, as an expression for both matchers."""
# Where a character can be that reads as another one: planes of alphabets and signs, and the tags of plane 14.
_ALPHABETS: Final = (range(0x80, 0x4E00), range(0xA000, 0xAC00), range(0xD7B0, 0xD800), range(0xF900, 0x20000),
                     range(0xE0000, 0xE0200))  # fmt: skip


@lru_cache(maxsize=16_384)
def _plain(char: str) -> str:
    """What one character is taken for; itself where nothing else."""
    if char in _ALIKE:
        return _ALIKE[char]
    if char in _UNSEEN or unicodedata.category(char) == "Cf" or _CONTROL.match(char):
        return ""
    digit = unicodedata.digit(char, -1)
    if digit >= 0:
        return str(digit)
    read = unicodedata.normalize("NFKC", char)
    return read if read == char else "".join(map(_plain, read))


@cache
def telling() -> re.Pattern[str]:
    """Matches a character that folding changes; a quarter of a second of work the first time."""
    ranges: list[list[int]] = []
    for numbers in _ALPHABETS:
        for number in numbers:
            char = chr(number)
            if _plain.__wrapped__(char) != char:
                if ranges and ranges[-1][1] == number - 1:
                    ranges[-1][1] = number
                else:
                    ranges.append([number, number])
    inside = "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)
    return re.compile(f"[{_CONTROLS}{inside}]")


def fold(text: str) -> tuple[str, list[int]] | None:
    """The folded text and, for each of its characters, the place in the text; None if nothing changes."""
    pattern = _CONTROL if text.isascii() else telling()
    parts: list[str] = []
    places: list[int] = []
    done = 0
    for match in pattern.finditer(text):
        place = match.start()
        plain = _plain(text[place])
        parts += (text[done:place], plain)
        places += range(done, place)
        places += [place] * len(plain)
        done = place + 1
    if not parts:
        return None
    parts.append(text[done:])
    places += range(done, len(text))
    return "".join(parts), places
