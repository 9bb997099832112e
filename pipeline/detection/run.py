"""The state of one run, and its form as bytes: what makes 100,000 runs fit into less than 100 MB. Pure.

Runs are kept as bytes (`pack`) and taken apart for a moment when a call comes (`unpack`). Layout: numbers, then how
long the strings are, then the strings. At most MOST_BYTES.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

import msgspec

from pipeline.detection.nearness import RECORD, TRENDS
from pipeline.detection.steps import PENDING, STRICT
from pipeline.detection.words import SAMPLE

LONGEST: Final = 6
REMEMBERED: Final = 24
NEAR_REMEMBERED: Final = 9
EVIDENCE: Final = 5

STEP: Final = 2 * STRICT
ZEROS: Final = bytes(LONGEST)
NO_MOVES: Final = bytes(2 * LONGEST)

_FIXED: Final = Struct(f"<5q9I3H7B{LONGEST}s{LONGEST}s{LONGEST}s{LONGEST}s{2 * LONGEST}s4B")
_SEEN: Final = Struct("<q")
# How many numbers and counters stand before the lengths.
_VALUES: Final = 29

MOST_BYTES: Final = (
    _FIXED.size
    + 8 * EVIDENCE
    + PENDING.size
    + REMEMBERED * STEP
    + NEAR_REMEMBERED * RECORD.size
    + LONGEST * TRENDS.size
    + 2 * SAMPLE
)


class Run(msgspec.Struct, gc=False):
    """State of one run. Numbers are bounded by the width they are kept in.

    Attributes:
        seen_ms: Watermark when the newest fact was seen: a producer's clock may be hours behind.
        step_ms: Event time of the newest step.
        began_ms: Event time of the newest step that was new, which is where a circle begins.
        cost: Nano-dollars since then.
        stretch_ms: Event time at which the present stretch (`run_velocity`) began.
        stretch_cost: Micro-dollars in it.
        stretch_tokens: Tokens in it.
        stretch_calls: Calls in it.
        tokens: Tokens since `began_ms`.
        gap_ms: Longest time between two of the same failures in a row, to see back-off.
        calls: Calls of the run.
        novelty: One bit a step, the newest lowest: 1 where it was nothing new.
        context: Size of the newest input in tokens, else in messages.
        context_then: The same when the run last did something new.
        epoch: Epoch of the source topic that `evidence` counts in.
        checked: How many words of late answers were looked for in `vocabulary`, in sixteenths; older ones fade.
        fresh: How many of those were new.
        errors: Tool steps in a row that ended in an error.
        slow: Steps in a row before which somebody took their time: a person who writes, a run that waits.
        weak: One bit for each length of circle: whether a step of the near circle is near by a weak grade only.
        other: One bit for each length: whether its answers are not all the same exactly.
        busy: How long the newest call took, in tenths of a second.
        steps: Steps.
        unprompted: Answers in a row to messages that say no more than to go on.
        exact: For each length of circle, how many steps in a row equal the step so many places before.
        near: The same for steps that are near.
        up: For each length, which numbers have risen while it was near; see `nearness.moved`.
        down: Which have fallen.
        moves: How often again after the first time: two bits a number, two bytes a length.
        evidence: Source offsets of the newest EVIDENCE calls, 8 bytes each.
        pending: Question whose answer has not come yet (`steps.PENDING`); empty for none.
        strict: The last REMEMBERED steps, newest last.
        records: The last NEAR_REMEMBERED steps for `nearness.compare`, newest last.
        levels: Numbers of the last LONGEST steps.
        vocabulary: Sample of all answers' words (`words.sample`), in order, 2 bytes each.
    """

    seen_ms: int = 0
    step_ms: int = 0
    began_ms: int = 0
    cost: int = 0
    stretch_ms: int = 0
    stretch_cost: int = 0
    stretch_tokens: int = 0
    stretch_calls: int = 0
    tokens: int = 0
    gap_ms: int = 0
    calls: int = 0
    novelty: int = 0
    context: int = 0
    context_then: int = 0
    epoch: int = 0
    checked: int = 0
    fresh: int = 0
    errors: int = 0
    slow: int = 0
    weak: int = 0
    other: int = 0
    busy: int = 0
    steps: int = 0
    unprompted: int = 0
    exact: bytes = ZEROS
    near: bytes = ZEROS
    up: bytes = ZEROS
    down: bytes = ZEROS
    moves: bytes = NO_MOVES
    evidence: bytes = b""
    pending: bytes = b""
    strict: bytes = b""
    records: bytes = b""
    levels: bytes = b""
    vocabulary: bytes = b""


def pack(run: Run) -> bytes:
    """The run as bytes."""
    evidence, pending, strict, records, levels, vocabulary = (
        run.evidence, run.pending, run.strict, run.records, run.levels, run.vocabulary,
    )  # fmt: skip
    return b"".join(
        (
            _FIXED.pack(
                run.seen_ms, run.step_ms, run.began_ms, run.cost, run.stretch_ms,
                run.stretch_cost, run.stretch_tokens, run.stretch_calls, run.tokens, run.gap_ms, run.calls,
                run.novelty, run.context, run.context_then,
                run.epoch, run.checked, run.fresh,
                run.errors, run.slow, run.weak, run.other, run.busy, run.steps, run.unprompted,
                run.exact, run.near, run.up, run.down, run.moves,
                len(evidence), len(pending), len(records) // RECORD.size, len(vocabulary),
            ),
            evidence, pending, records, vocabulary, levels, strict,
        )
    )  # fmt: skip


def unpack(data: bytes) -> Run:
    """The run again."""
    values = _FIXED.unpack_from(data)
    evidence, pending, records, vocabulary = values[_VALUES:]
    a = _FIXED.size
    b = a + evidence
    c = b + pending
    d = c + records * RECORD.size
    e = d + vocabulary
    # Levels and strict steps are as many as there are records, up to their own bounds; the strict ones come last.
    f = e + (records if records < LONGEST else LONGEST) * TRENDS.size
    strings = data[a:b], data[b:c], data[f:], data[c:d], data[e:f], data[d:e]
    return Run(*(values[:_VALUES] + strings))


def seen_ms(data: bytes) -> int:
    """`Run.seen_ms` without unpacking the rest."""
    found: int = _SEEN.unpack_from(data)[0]
    return found


def evidence(run: Run, partition: int) -> tuple[str, ...]:
    """Positions of the newest calls of a run."""
    data = run.evidence
    offsets = (int.from_bytes(data[place : place + 8], "little") for place in range(0, len(data), 8))
    return tuple(f"{run.epoch}/{partition}/{offset}" for offset in offsets)
