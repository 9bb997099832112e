"""What one call of the redactor has to do: answers known already, and jobs for the rest, cut to size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.redaction.lanes import Job
from pipeline.redaction.treat import Treatment
from pipeline.redaction.values import Finding


@dataclass(slots=True)
class Plan:
    """One call's texts: what is known already, and which jobs will tell the rest."""

    texts: list[str]
    treatments: Sequence[Treatment]
    answers: list[Sequence[Finding] | str | None]
    waiting: dict[bytes, list[int]] = field(default_factory=dict)
    jobs: list[tuple[Job, list[bytes]]] = field(default_factory=list)


def batches(misses: list[tuple[bytes, str]], limit_chars: int) -> list[list[tuple[bytes, str]]]:
    """Cut into runs of at most `limit_chars` characters; a longer text is a run of its own."""
    made: list[list[tuple[bytes, str]]] = []
    chars = limit_chars + 1
    for miss in misses:
        if chars + len(miss[1]) > limit_chars:
            made.append([])
            chars = 0
        made[-1].append(miss)
        chars += len(miss[1])
    return made
