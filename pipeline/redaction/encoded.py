"""Text inside of base64 and of hexadecimal digits, as tool calls, headers and command lines carry it. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Final

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _digits(fits: Callable[[int], bool]) -> str:
    """A class of base64 digits, of both alphabets."""
    some = "".join(char for value, char in enumerate(_ALPHABET) if fits(value))
    return f"[{some}{'+-' if fits(62) else ''}{'/_' if fits(63) else ''}]".replace("+-", "+\\-")


# Bytes of ASCII are below 128, which each of the first three digits of a group shows; prose and hashes rarely do so
# four groups long.
_GROUP: Final = "".join(map(_digits, (lambda v: v < 32, lambda v: v % 16 < 8, lambda v: v % 4 < 2, lambda v: True)))
CLUE: Final = rf"(?:{_GROUP}){{4,}}|(?:[2-7][0-9A-Fa-f]){{12,}}"
"""What twelve bytes of text are at least, as one expression for both matchers."""

_STREAK: Final = re.compile(CLUE)
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{24,}")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_PRINTED: Final = re.compile(r"[\x20-\x7e\t\r\n]{12}")


def decoded(text: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, what it says) for each run of characters that holds encoded text."""
    for run in _RUN.finditer(text):
        if _STREAK.search(text, run.start(), run.end()) and (said := _said(run.group())):
            yield run.start(), run.end(), said


def _said(run: str) -> str:
    """What a run says: each way to read it that shows twelve printed characters on end, on lines of their own."""
    lines = [_as_text(bytes.fromhex(part[: len(part) // 2 * 2])) for part in _HEX.findall(run)]
    plain = run.translate(_URL_SAFE)
    for skipped in range(4):  # a run may begin with characters that do not belong to it
        part = plain[skipped:]
        # One digit too many says nothing, two or three are the rest of a shortened end.
        part = part[: len(part) - 1] if len(part) % 4 == 1 else part
        lines.append(_as_text(base64.b64decode(part + "=" * (-len(part) % 4))))
    return "\n".join(line for line in lines if _PRINTED.search(line))


def _as_text(data: bytes) -> str:
    return (data[::2] if not any(data[1::2]) else data).decode("utf-8", "replace")  # UTF-16 as PowerShell has it
