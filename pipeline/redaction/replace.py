"""Put `<TYPE>` where findings are. A pure function: no character of any finding survives, whatever overlaps what."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.redaction.values import Finding


def apply(text: str, findings: Sequence[Finding]) -> tuple[str, dict[str, int]]:
    """Replace every found span by `<TYPE>`.

    Spans that overlap become one replacement over their union, named after the best of them: highest score, then
    longest, then first. Spans that only touch stay two.

    Args:
        text: the text that was searched.
        findings: in any order; offsets in characters of `text`.

    Returns:
        The text without the spans, and the number of replacements by type.

    Raises:
        ValueError: if an offset lies outside of the text or a span is empty, because then nothing is sure.
    """
    if not findings:
        return text, {}
    size = len(text)
    for finding in findings:
        if not 0 <= finding.start < finding.end <= size:
            raise ValueError(f"a finding of {finding.entity} has offsets outside of its text")
    pieces: list[str] = []
    counts: dict[str, int] = {}
    done = 0
    ordered = sorted(findings, key=lambda f: (f.start, f.end))
    position = 0
    while position < len(ordered):
        best = ordered[position]
        start, end = best.start, best.end
        position += 1
        while position < len(ordered) and ordered[position].start < end:
            other = ordered[position]
            end = max(end, other.end)
            if (other.score, other.end - other.start, -other.start) > (best.score, best.end - best.start, -best.start):
                best = other
            position += 1
        pieces += (text[done:start], "<", best.entity, ">")
        counts[best.entity] = counts.get(best.entity, 0) + 1
        done = end
    pieces.append(text[done:])
    return "".join(pieces), counts
