"""How near a step is to an earlier one of its run, when it is not the same. Pure; thresholds of likeness live here.

The question behind every line: does the run learn or do anything new by this step? What says no is a *rich* answer that
is nearly the same, or nearly the same question with the same answer. What says yes: a list that is worked through (its
items were named before), a tool that changes something and says little, an answer of other words or mostly other
numbers. Where numbers go one way only, `trends` sees progress.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from pipeline.detection.shapes import LOW_BITS, MODULUS
from pipeline.detection.steps import (
    BLIND,
    ERROR,
    FAILED,
    LEVELS,
    MADE_UP,
    STRICT,
    TEXT,
    WRITES,
    Step,
)
from pipeline.detection.words import BITS, cosine

# Grades.
NONE: Final = 0
WEAK: Final = 1  # much speaks for it
NEAR: Final = 2
SAME: Final = 3

# A remembered step: see `remember`.
RECORD: Final = Struct("<BHI3sQ3sQIBB")
# How the records of steps begin that can be like one another: the same kind, with the same tools.
HEAD: Final = 3
TRENDS: Final = Struct(f"<{2 * LEVELS}H")


class Bounds(NamedTuple):
    """From where on two halves of steps are near.

    Attributes:
        question: Cosine of two questions' words.
        answer: Of two results' words.
        few: The same where one of them has few words, so that one word makes much.
        said: Of two answers without tools, which are worded anew; and, by their words, of answers and messages
            together.
        some: Words of content that a question must have for its likeness to mean something.
        rich: Words of an answer that nobody gets twice by chance, to a question with other identifiers.
        talk: Words of an answer without tools.
        unlike: Answers that are less like each other than this are not compared further.
        said_to_others: As `said` on the average, where the messages are not the same exactly.
        enough: Words of question and answer together.
    """

    question: float = 0.55
    answer: float = 0.8
    few: float = 0.6
    said: float = 0.5
    some: int = 3
    rich: int = 8
    talk: int = 4
    unlike: float = 0.15
    said_to_others: float = 0.62
    enough: int = 5


class Likeness(msgspec.Struct, frozen=True, gc=False):
    """How near two steps are.

    Attributes:
        grade: NONE, WEAK, NEAR or SAME.
        same_answer: Whether the answers are the same exactly.
        heard: Whether the run has learned nothing by this answer, whatever the question was.
        talk: Of steps without tools: cosine of the words of message and answer together.
    """

    grade: int
    same_answer: bool
    heard: bool
    talk: float = 0.0


BOUNDS: Final = Bounds()
# Cosines by how many bits of two sketches differ.
_ANSWERS: Final = tuple(cosine(count, BITS) for count in range(BITS + 1))
_QUESTIONS: Final = tuple(cosine(count, BITS - LOW_BITS) for count in range(BITS - LOW_BITS + 1))
UNLIKE: Final = Likeness(NONE, False, False)
_HARDLY: Final = Likeness(WEAK, False, True)
EQUAL: Final = Likeness(SAME, True, True, 1.0)


def remember(step: Step) -> bytes:
    """A step as it is kept for comparison, beside `Step.strict`."""
    asked, came = step.question, step.answer
    return RECORD.pack(
        step.kind, step.tag, step.told, asked.loose, asked.high, came.loose, came.high, came.low,
        asked.words, came.words,
    )  # fmt: skip


# How near a step is to another that is remembered with the same head, of which Step.question.strict with
# Step.answer.strict, and the record, are kept. They are not the same exactly.
Compare = Callable[[Step, bytes, bytes], Likeness]


def comparing(kind: int) -> Compare | None:
    """What compares steps of a kind; None where they are the same or have nothing in common."""
    return _talk if kind == TEXT else None if kind == FAILED else _tools


def _talk(step: Step, strict: bytes, record: bytes, bounds: Bounds = BOUNDS) -> Likeness:
    _, _, _, a_loose, a_high, r_loose, r_high, r_low, a_words, r_words = RECORD.unpack(record)
    asked, came = step.question, step.answer
    words = came.words
    if words < bounds.talk:
        return UNLIKE
    same_answer = came.strict == strict[STRICT:]
    if same_answer or came.loose == r_loose:
        answer = 1.0
    else:
        answer = _ANSWERS[(came.high ^ r_high).bit_count() + (came.low ^ r_low).bit_count()] if r_words else 0.0
        if answer < bounds.unlike:
            return UNLIKE
    if asked.strict == strict[:STRICT] or asked.loose == a_loose:
        question = 1.0
    else:
        question = _QUESTIONS[(asked.high ^ a_high).bit_count()] if asked.words and a_words else 0.0
    # A short message ("go on") may be said in any words, a long one says what it is about.
    both = (asked.words * question + words * answer) / (asked.words + words)
    grade = NEAR if both >= bounds.said <= answer else NONE
    return Likeness(grade, same_answer, grade > NONE or (words >= bounds.rich and answer >= bounds.said), both)


def _tools(step: Step, strict: bytes, record: bytes, bounds: Bounds = BOUNDS) -> Likeness:
    _, _, told, a_loose, a_high, r_loose, r_high, r_low, a_words, r_words = RECORD.unpack(record)
    asked, came = step.question, step.answer
    same_answer = came.strict == strict[STRICT:]
    like_answer = same_answer or came.loose == r_loose
    if not like_answer and came.words and r_words:
        least = bounds.answer if came.words >= bounds.rich <= r_words else bounds.few
        like_answer = _ANSWERS[(came.high ^ r_high).bit_count() + (came.low ^ r_low).bit_count()] >= least
    if not like_answer and (came.words > 2 or r_words > 2):
        return UNLIKE
    both_told = step.told & told
    same_item = both_told != 0 and (both_told == step.told or both_told == told)
    if not same_item and step.told and told:
        return UNLIKE
    same_item = same_item or asked.strict == strict[:STRICT]
    if same_item or asked.loose == a_loose:
        question = 1.0
    else:
        question = _QUESTIONS[(asked.high ^ a_high).bit_count()] if asked.words and a_words else 0.0
    if not like_answer:
        # Little came back to a long question that is nearly the same again, or to an identifier that was made up. More
        # identifiers or numbers than were asked with are not little.
        if _names_others(step):
            return UNLIKE
        is_long = min(asked.words, a_words) >= 2 * bounds.enough and question >= bounds.answer
        is_tried = step.flags & MADE_UP and (question == 1.0 or not (asked.words or a_words))
        return _HARDLY if (is_long or is_tried) and not step.flags & WRITES else UNLIKE
    about_the_same = question == 1.0 or (question >= bounds.question and min(asked.words, a_words) >= bounds.some)
    grade = _grade(step, same_item, about_the_same, same_answer, bounds)
    heard = grade >= NEAR or (same_answer and not step.flags & WRITES and (asked.words > 0 or same_item))
    return Likeness(grade, same_answer, heard)


def _grade(step: Step, same_item: bool, like_question: bool, same_answer: bool, bounds: Bounds) -> int:
    asked, came, flags = step.question, step.answer, step.flags
    rich, enough = came.words >= bounds.rich, asked.words + came.words >= bounds.enough
    if asked.words == 0 and asked.numbers and not same_item:
        # Its identifier is the whole question, so it is another one, unless the model makes such identifiers up.
        made_up = flags & MADE_UP and (rich or not (flags & WRITES or (_names_others(step) and not same_answer)))
        return NEAR if rich and same_answer else WEAK if made_up else NONE
    if flags & ERROR:
        # Nothing was changed and little learned, whatever was asked.
        return NEAR if like_question and enough else WEAK
    if flags & WRITES and not rich and not same_item:
        again = flags & MADE_UP and like_question and asked.words >= 2 * bounds.enough
        return WEAK if again else NONE
    if rich and same_answer:
        return NEAR
    if not like_question:
        return NONE
    if step.kind == BLIND:
        return WEAK if asked.words >= bounds.enough else NONE
    if not enough:
        return WEAK if same_answer or flags & MADE_UP else NONE
    return WEAK if came.numbers > came.words and not same_answer else NEAR


def _names_others(step: Step) -> bool:
    """Whether an answer holds more identifiers or numbers than it was asked with, so that it says something."""
    return step.answer.numbers > max(1, step.question.numbers)


def moved(step: Step, levels: bytes) -> tuple[int, int]:
    """(numbers that rose, numbers that fell) against a remembered step; bits 0-3 the question's, 4-7 the answer's."""
    up = down = 0
    new = step.question.levels + step.answer.levels
    if new == levels:
        return up, down
    now, before = TRENDS.unpack(new), TRENDS.unpack(levels)
    for place in range(2 * LEVELS):
        change = (now[place] - before[place]) % MODULUS
        if change:
            if change < MODULUS // 2:
                up |= 1 << place
            else:
                down |= 1 << place
    return up, down
