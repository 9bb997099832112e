"""A run as bytes and back: what makes 100,000 runs fit into less than 100 MB. Pure.

Layout: fixed numbers, then how long each of the strings is, then the strings. At most MOST_BYTES.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pipeline.detection.nearness import RECORD, TRENDS
from pipeline.detection.runs import EVIDENCE, LONGEST, NEAR_REMEMBERED, REMEMBERED, Run
from pipeline.detection.steps import PENDING, STRICT
from pipeline.detection.words import SAMPLE

_COUNTERS: Final = f"{LONGEST}B"
_FIXED: Final = Struct(f"<5q9I3H7B{4 * LONGEST}B{LONGEST}HQ{EVIDENCE - 1}I6B")
_STEP: Final = 2 * STRICT
_SAMPLES: Final = tuple(Struct(f"<{count}H") for count in range(SAMPLE + 1))
# Offsets of calls are kept as their distance from the newest.
_FAR: Final = 0xFFFF_FFFF
# Numbers in front of the counters.
_NUMBERS: Final = 24
_SEEN: Final = Struct("<q")

MOST_BYTES: Final = (
    _FIXED.size + PENDING.size + REMEMBERED * _STEP + NEAR_REMEMBERED * RECORD.size + LONGEST * TRENDS.size + 2 * SAMPLE
)


def pack(run: Run) -> bytes:
    """The run as bytes."""
    evidence = run.evidence
    newest = evidence[-1] if evidence else 0
    return b"".join(
        (
            _FIXED.pack(
                run.seen_ms, run.step_ms, run.began_ms, run.cost, run.stretch_ms,
                run.stretch_cost, run.stretch_tokens, run.stretch_calls, run.tokens, run.gap_ms, run.calls,
                run.novelty, run.context, run.context_then,
                run.epoch & 0xFFFF, run.checked, run.fresh,
                run.errors, run.human, run.weak, run.other, min(255, run.busy_ms // 100), run.steps, run.unprompted,
                *run.exact, *run.near, *run.up, *run.down, *run.moves,
                newest, *[min(_FAR, newest - one) for one in evidence[:-1]], *(0,) * (EVIDENCE - max(1, len(evidence))),
                len(run.vocabulary), len(evidence), len(run.pending) // PENDING.size, len(run.strict) // _STEP,
                len(run.records) // RECORD.size, len(run.levels) // TRENDS.size,
            ),
            run.pending, run.strict, run.records, run.levels, _SAMPLES[len(run.vocabulary)].pack(*run.vocabulary),
        )
    )  # fmt: skip


def seen_ms(data: bytes) -> int:
    """`Run.seen_ms` without unpacking the rest."""
    found: int = _SEEN.unpack_from(data)[0]
    return found


def unpack(data: bytes) -> Run:
    """The run again."""
    values = _FIXED.unpack_from(data)
    numbers, counters = values[:_NUMBERS], values[_NUMBERS:]
    vocabulary, held, pending, strict, records, levels = counters[5 * LONGEST + EVIDENCE :]
    newest, *back = counters[5 * LONGEST : 5 * LONGEST + EVIDENCE]
    a = _FIXED.size
    b = a + pending * PENDING.size
    c = b + strict * _STEP
    d = c + records * RECORD.size
    e = d + levels * TRENDS.size
    return Run(
        *numbers[:21], numbers[21] * 100, *numbers[22:],
        list(counters[:LONGEST]), list(counters[LONGEST : 2 * LONGEST]), list(counters[2 * LONGEST : 3 * LONGEST]),
        list(counters[3 * LONGEST : 4 * LONGEST]), list(counters[4 * LONGEST : 5 * LONGEST]),
        [*(newest - one for one in back[: held - 1]), newest] if held else [],
        data[a:b], data[b:c], data[c:d], data[d:e], list(_SAMPLES[vocabulary].unpack_from(data, e)),
    )  # fmt: skip
