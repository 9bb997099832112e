"""A run as bytes and back: what makes 100,000 runs fit into less than 100 MB. Pure.

Layout: fixed numbers, then how long each of the four strings is, then the strings. At most MOST_BYTES.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pipeline.detection.nearness import RECORD, TRENDS
from pipeline.detection.runs import EVIDENCE, LONGEST, NEAR_REMEMBERED, REMEMBERED, Run
from pipeline.detection.steps import PENDING, STRICT

_COUNTERS: Final = f"{LONGEST}B"
_FIXED: Final = Struct(f"<5q9IH5B{4 * LONGEST}B{LONGEST}I{EVIDENCE}Q5B")
_STEP: Final = 2 * STRICT

MOST_BYTES: Final = (
    _FIXED.size + PENDING.size + REMEMBERED * _STEP + NEAR_REMEMBERED * RECORD.size + LONGEST * TRENDS.size
)


def pack(run: Run) -> bytes:
    """The run as bytes."""
    evidence = run.evidence
    return b"".join(
        (
            _FIXED.pack(
                run.seen_ms, run.step_ms, run.began_ms, run.cost, run.stretch_ms,
                run.stretch_cost, run.stretch_tokens, run.stretch_calls, run.tokens, run.gap_ms, run.calls,
                run.novelty, run.context, run.context_then,
                run.epoch & 0xFFFF, run.errors, run.human, run.weak, run.other, min(255, run.busy_ms // 100),
                *run.exact, *run.near, *run.up, *run.down, *run.moves,
                *evidence, *(0,) * (EVIDENCE - len(evidence)),
                len(evidence), len(run.pending) // PENDING.size, len(run.strict) // _STEP,
                len(run.records) // RECORD.size, len(run.levels) // TRENDS.size,
            ),
            run.pending, run.strict, run.records, run.levels,
        )
    )  # fmt: skip


def unpack(data: bytes) -> Run:
    """The run again."""
    values = _FIXED.unpack_from(data)
    counters = values[20 : 20 + 5 * LONGEST]
    place = 20 + 5 * LONGEST
    held, pending, strict, records, levels = values[place + EVIDENCE :]
    a = _FIXED.size
    b = a + pending * PENDING.size
    c = b + strict * _STEP
    d = c + records * RECORD.size
    return Run(
        *values[:19], values[19] * 100,
        list(counters[:LONGEST]), list(counters[LONGEST : 2 * LONGEST]),
        list(counters[2 * LONGEST : 3 * LONGEST]), list(counters[3 * LONGEST : 4 * LONGEST]), list(counters[4 * LONGEST :]),
        list(values[place : place + held]),
        data[a:b], data[b:c], data[c:d], data[d : d + levels * TRENDS.size],
    )  # fmt: skip
