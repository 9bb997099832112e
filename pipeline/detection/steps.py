"""From a fact to the steps of its run: what was asked, what came back. Pure; marks and shapes in, small values out.

A step is a set of tool calls together with their results, or, where no tools are used, an answer together with the
message it answers, or a call that failed. Results come with the call itself, or at the end of a later call's input:
then they belong to the calls that the input shows before them, or, where it shows none, to the run's call before.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final

import msgspec

from pipeline.detection.fingerprint import NAME_ONLY
from schemas.fact import Fact, Loop, Shape

TOOL: Final = 1
BLIND: Final = 2  # a tool whose result nobody sent
TEXT: Final = 3
FAILED: Final = 4
NAMES: Final = {TOOL: "tool", BLIND: "blind", TEXT: "text", FAILED: "failed"}

# Flags of a step.
WRITES: Final = 1  # a tool changes something, by its name
ERROR: Final = 2  # a failed call, or a result that looks like an error
HUMAN: Final = 4  # the answer to a person's message
MADE_UP: Final = 8  # asks for what nobody had named

STRICT: Final = 3
LOOSE: Final = 3
LEVELS: Final = 4

# What is kept of a question that waits for its answer; see `Side`.
PENDING: Final = Struct(f"<3s3sQIBB{2 * LEVELS}sHIB")
# Characters of a mark.
_MARK: Final = 16 + 1 + 8
_NO_LEVELS: Final = bytes(2 * LEVELS)
_LEVELS: Final = tuple(Struct(f"<{count}H") for count in range(LEVELS + 1))
_NOTHING: Final = Shape()
_NO_MARKS: Final = Loop()


class Side(msgspec.Struct, frozen=True, gc=False):
    """One half of a step: the question (calls of tools, or a message) or the answer (results, or what was said).

    Attributes:
        strict: STRICT bytes of what it is exactly.
        loose: LOOSE bytes of it without numbers, identifiers, paths, case and spacing.
        high: As in its shape.
        low: As in its shape.
        words: Words of content.
        numbers: Numbers, identifiers and paths.
        levels: LEVELS shifted numbers of 16 bits, 0 where there are fewer.
    """

    strict: bytes
    loose: bytes
    high: int
    low: int
    words: int
    numbers: int
    levels: bytes


class Step(msgspec.Struct, frozen=True, gc=False):
    """One step.

    Attributes:
        kind: TOOL, BLIND, TEXT or FAILED.
        question: What was asked.
        answer: What came back.
        tag: Keyed bits of the tools' names.
        told: Keyed bits of what the question names of a list; 0 where that is unknown.
        flags: WRITES, ERROR, HUMAN, MADE_UP.
        words: Sample of the answer's words (`words.sample`).
    """

    kind: int
    question: Side
    answer: Side
    tag: int = 0
    told: int = 0
    flags: int = 0
    words: tuple[int, ...] = ()


NOBODY: Final = Side(b"\0" * STRICT, b"\0" * LOOSE, 0, 0, 0, 0, _NO_LEVELS)


def steps_of(fact: Fact, pending: bytes) -> tuple[list[Step], bytes]:
    """The steps that a call completes, and what waits for the next call (empty bytes: nothing).

    Args:
        fact: The call.
        pending: What waited for it.
    """
    marks = fact.loop or _NO_MARKS
    if fact.status != "ok":
        return [_failed(fact, marks)], pending
    steps: list[Step] = []
    words = marks.answer_words
    error = ERROR if marks.tool_errors else 0
    late = marks.results and not marks.own_results
    if late and marks.asked:
        question, tag, told, flags = _question(marks.asked, marks.asked_shape)
        steps.append(Step(TOOL, question, _answer(marks.results, marks.result_shape), tag, told, flags | error, words))
        pending = b""
    elif pending:
        question, tag, told, flags, says_nothing = _unpacked(pending)
        if late:
            steps.append(
                Step(TOOL, question, _answer(marks.results, marks.result_shape), tag, told, flags | error, words)
            )
        elif not says_nothing:
            steps.append(Step(BLIND, question, NOBODY, tag, told, flags))
        pending = b""
    if marks.actions:
        question, tag, told, flags = _question(marks.actions, marks.action_shape)
        if marks.own_results:
            steps.append(
                Step(TOOL, question, _answer(marks.results, marks.result_shape), tag, told, flags | error, words)
            )
        elif not marks.asked:
            # An input that shows what was asked before will show this, too.
            pending = _packed(question, tag, told, flags, marks.actions)
    elif marks.output is not None and not late:
        question = _side((marks.input_tail or "",), marks.tail_shape)
        answer = _side((marks.output,), marks.output_shape)
        steps.append(Step(TEXT, question, answer, 0, 0, HUMAN if marks.tail_role == "user" else 0, words))
    return steps, pending


def _failed(fact: Fact, marks: Loop) -> Step:
    asked = (f"{fact.status}|{fact.error_type}", marks.input_tail or "", *marks.actions, ">", *marks.results)
    return Step(FAILED, _side(asked, None), NOBODY, 0, 0, ERROR)


def _question(actions: tuple[str, ...], shape: Shape | None) -> tuple[Side, int, int, int]:
    known = shape or _NOTHING
    flags = (WRITES if known.writes else 0) | (MADE_UP if known.made_up else 0)
    return _side(actions, shape), known.tag, known.told, flags


def _answer(results: tuple[str, ...], shape: Shape | None) -> Side:
    return _side(results, shape)


def _side(marks: Sequence[str], shape: Shape | None) -> Side:
    if len(marks) == 1 and len(marks[0]) == _MARK:
        # Keyed bits already.
        strict, loose = bytes.fromhex(marks[0][: 2 * STRICT]), bytes.fromhex(marks[0][-2 * LOOSE :])
    else:
        parts = [mark.partition(".") for mark in marks]
        strict = blake2b(",".join([part[0] for part in parts]).encode(), digest_size=STRICT).digest()
        loose = blake2b(",".join([part[2] or part[0] for part in parts]).encode(), digest_size=LOOSE).digest()
    if shape is None:
        return Side(strict, loose, 0, 0, 0, 0, _NO_LEVELS)
    levels = _NO_LEVELS
    if shape.levels:
        count = len(shape.levels)
        levels = _LEVELS[count].pack(*shape.levels) + _NO_LEVELS[2 * count :]
    return Side(strict, loose, shape.high, shape.low, shape.words, shape.numbers, levels)


def _packed(question: Side, tag: int, told: int, flags: int, actions: tuple[str, ...]) -> bytes:
    # Of tools of which only the names are known: an agent that reads six files does not go in circles.
    says_nothing = any(mark.endswith(NAME_ONLY) for mark in actions)
    flags |= 0x80 if says_nothing else 0
    return PENDING.pack(
        question.strict, question.loose, question.high, question.low, question.words, question.numbers, question.levels,
        tag, told, flags,
    )  # fmt: skip


def _unpacked(pending: bytes) -> tuple[Side, int, int, int, bool]:
    strict, loose, high, low, words, numbers, levels, tag, told, flags = PENDING.unpack(pending)
    return Side(strict, loose, high, low, words, numbers, levels), tag, told, flags & 0x7F, bool(flags & 0x80)
