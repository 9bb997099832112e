r"""See through escapes: `\n` and `\u0040` of quoted strings, `%40` of addresses, `&#64;` of pages, terminals' colours.

Text comes quoted: a cut JSON document, a line of a log, the source of a page. A value in it reads otherwise than it
stands, or has the letter of an escape before it (`\nAKIA...`), where no token begins. Pure.
"""

from __future__ import annotations

import html
import re
from typing import Final

MOST_LEVELS: Final = 3
"""Escapes inside of escapes are seen through so many times."""

# One expression for both matchers: what may have to be seen through.
CLUE: Final = r"\\[nrtuUx\"'\\/]|%[0-9A-Fa-f]{2}|&[#A-Za-z][0-9A-Za-z]{1,8};|\x1b\["
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}"
    r"|x[0-9a-fA-F]{2}|[nrt\"'\\/])|%[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*|&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});"
    r"|\x1b\[[0-9;?]*[ -/]*[@-~]"
)
_SHORT: Final = {"n": "\n", "r": "\r", "t": "\t"}


def unescape(text: str) -> tuple[str, list[int], list[int]] | None:
    """The text without one level of escapes, and where each character begins and ends; None where there are none."""
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _ESCAPE.finditer(text):
        read = _read(match.group())
        if read is None:
            continue
        start, end = match.span()
        parts += (text[done:start], read)
        starts += range(done, start)
        ends += range(done + 1, start + 1)
        starts += [start] * len(read)
        ends += [end] * len(read)
        done = end
    if not parts:
        return None
    parts.append(text[done:])
    starts += range(done, len(text))
    ends += range(done + 1, len(text) + 1)
    return "".join(parts), starts, ends


def _read(escape: str) -> str | None:
    """What one escape stands for; None where it is none."""
    lead = escape[0]
    if lead == "%":
        return bytes.fromhex(escape.replace("%", "")).decode("utf-8", "replace")
    if lead == "&":
        read = html.unescape(escape)
        return None if read == escape else read
    if lead == "\x1b":
        return ""
    if escape[1] not in "uUx":
        return _SHORT.get(escape[1], escape[1])
    numbers = [int(digits.strip("{}"), 16) for digits in re.split(r"\\[uUx]", escape)[1:]]
    if len(numbers) == 2:
        high, low = numbers
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    (number,) = numbers
    if number > 0x10FFFF:
        return None
    return "\ufffd" if 0xD800 <= number <= 0xDFFF else chr(number)
