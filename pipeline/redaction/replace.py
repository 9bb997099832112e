"""Put `<TYPE>`, or what the treatment says, where findings are. Pure: whatever overlaps what, all of it is treated."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.redaction.treat import PLAIN, Treatment
from pipeline.redaction.values import Finding


def apply(text: str, findings: Sequence[Finding], treatment: Treatment = PLAIN) -> tuple[str, dict[str, int]]:
    """Put something else in the place of every found span of a type that the treatment wants.

    Spans that overlap become one replacement over their union, named after the best of them: highest score, then
    longest, then first. Spans that only touch stay two.

    Args:
        text: the text that was searched.
        findings: in any order; offsets in characters of `text`.
        treatment: which types, and what is done with them.

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
    if treatment is not PLAIN:
        findings = [f for f in findings if treatment.wants(f.entity)]
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
        pieces += (text[done:start], treatment.instead(best.entity, text[start:end]))
        counts[best.entity] = counts.get(best.entity, 0) + 1
        done = end
    pieces.append(text[done:])
    return "".join(pieces), counts
