"""Cut a long text into overlapping pieces, and put their findings together. Pure; must not lose a character.

Pieces bound what one regular expression, one matcher or one pass through the model can cost. A cut is made at white
space where there is some, so that no token is cut; only a run without any (an encoded file, say) is cut hard, and then
a finding that ends at the cut is stretched over the rest of the run, because its end cannot be seen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.redaction.values import Finding

_SPACE = re.compile(r"\s")
_RUN = re.compile(r"\S*")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a text: `offset` is its place in characters; `cut_start`, `cut_end` say whether a token was cut there."""

    text: str
    offset: int
    cut_start: bool
    cut_end: bool


def split(text: str, size: int, overlap: int) -> list[Chunk]:
    """Cut a text into pieces of at most `size` characters that share at least `overlap` characters.

    Args:
        text: any text.
        size: at least four times `overlap`.
        overlap: longer than any value that must be found whole.
    """
    if len(text) <= size:
        return [Chunk(text, 0, False, False)]
    chunks: list[Chunk] = []
    start, cut_start = 0, False
    while True:
        end = min(start + size, len(text))
        cut_end = False
        if end < len(text):
            space = _last_space(text, start + size // 2, end)
            cut_end = space is None
            end = end if space is None else space
        chunks.append(Chunk(text[start:end], start, cut_start, cut_end))
        if end == len(text):
            return chunks
        space = _last_space(text, end - 2 * overlap, end - overlap)
        cut_start = space is None
        start = end - overlap if space is None else space


def _last_space(text: str, low: int, high: int) -> int | None:
    """Position of the last white space in text[low:high], or None."""
    for position in range(high - 1, low - 1, -1):
        if text[position].isspace():
            return position
    return None


def merge(text: str, chunks: Sequence[Chunk], found: Sequence[Sequence[Finding]]) -> list[Finding]:
    """Findings of all pieces as findings of the whole text, each once, ordered by place."""
    merged: set[Finding] = set()
    for chunk, findings in zip(chunks, found, strict=True):
        size = len(chunk.text)
        for f in findings:
            start, end = f.start + chunk.offset, f.end + chunk.offset
            if chunk.cut_end and f.end == size:
                run = _RUN.match(text, end)
                end = run.end() if run else end
            merged.add(Finding(f.entity, start, end, f.score))
    return sorted(merged, key=lambda f: (f.start, f.end, f.entity, f.score))
