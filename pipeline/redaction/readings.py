"""The other ways in which a text reads: unescaped and folded, and what its encoded parts say. Pure.

Readings only add to what is searched: the text itself is searched as it stands, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.redaction.encoded import decoded
from pipeline.redaction.escapes import MOST_LEVELS, unescape
from pipeline.redaction.fold import fold


@dataclass(frozen=True, slots=True)
class Reading:
    """One way a text reads; for each character where it begins and ends in the text as it stands."""

    text: str
    starts: list[int]
    ends: list[int]

    def place(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the text that text[start:end] of the reading comes from."""
        return self.starts[start], self.ends[end - 1]


def readings(text: str, *, escapes: bool = True, runs: bool = True) -> Iterator[Reading]:
    """Every other way in which a text reads; none for most texts.

    Args:
        text: as it stands.
        escapes: False where it is known to have neither escapes nor control characters.
        runs: False where it is known to have no run of characters that could be an encoding.
    """
    plain = _plain(text, escapes) if escapes or not text.isascii() else None
    if plain is not None:
        yield plain
    if not runs:
        return
    source = text if plain is None else plain.text
    for start, end, said in decoded(source):
        place = (start, end) if plain is None else plain.place(start, end)
        inner = _plain(said, True)
        said = said if inner is None else inner.text
        if said:
            yield Reading(said, [place[0]] * len(said), [place[1]] * len(said))


def _plain(text: str, escapes: bool) -> Reading | None:
    """The text without escapes, folded; None where both change nothing."""
    reading: Reading | None = None
    for _ in range(MOST_LEVELS if escapes else 0):
        unescaped = unescape(text if reading is None else reading.text)
        if unescaped is None:
            break
        plain, starts, ends = unescaped
        if reading is None:
            reading = Reading(plain, starts, ends)
        else:
            before = reading
            reading = Reading(plain, [before.starts[i] for i in starts], [before.ends[i - 1] for i in ends])
    folded = fold(text if reading is None else reading.text)
    if folded is None:
        return reading
    plain, places = folded
    if reading is None:
        return Reading(plain, places, [i + 1 for i in places])
    before = reading
    return Reading(plain, [before.starts[i] for i in places], [before.ends[i] for i in places])
