"""How near a step is to an earlier one of its run, when it is not the same. Pure; thresholds of likeness live here.

The question behind every line: does the run learn or do anything new by this step? What says no is a *rich* answer that
is nearly the same, or nearly the same question with the same answer. What says yes: a list that is worked through (its
items were named before), a tool that changes something and says little, an answer of other words or mostly other
numbers. Where numbers go one way only, `trends` sees progress.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from pipeline.detection.shapes import MODULUS
from pipeline.detection.steps import (
    ANSWER_BITS,
    BLIND,
    ERROR,
    FAILED,
    LEVELS,
    MADE_UP,
    QUESTION_BITS,
    STRICT,
    TEXT,
    WRITES,
    Step,
)
from pipeline.detection.words import likeness

# Grades.
NONE: Final = 0
WEAK: Final = 1  # much speaks for it
NEAR: Final = 2
SAME: Final = 3

# A remembered step: see `remember`.
RECORD: Final = Struct("<BHI3sQ3sQIBB")
TRENDS: Final = Struct(f"<{2 * LEVELS}H")


class Bounds(NamedTuple):
    """From where on two halves of steps are near.

    Attributes:
        question: Cosine of two questions' words.
        answer: Of two results' words.
        few: The same where one of them has few words, so that one word makes much.
        said: Of two answers without tools, which are worded anew; and, by their words, of answers and messages together.
        some: Words of content that a question must have for its likeness to mean something.
        rich: Words of an answer that nobody gets twice by chance, to a question with other identifiers.
        talk: Words of an answer without tools.
        asked_by_person: As `said`, where a person asks each time in other words.
        enough: Words of question and answer together.
    """

    question: float = 0.55
    answer: float = 0.8
    few: float = 0.6
    said: float = 0.5
    some: int = 3
    rich: int = 8
    talk: int = 4
    asked_by_person: float = 0.62
    enough: int = 5


class Likeness(NamedTuple):
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
UNLIKE: Final = Likeness(NONE, False, False)
_EQUAL: Final = Likeness(SAME, True, True, 1.0)


def remember(step: Step) -> bytes:
    """A step as it is kept for comparison, beside `Step.strict`."""
    asked, came = step.question, step.answer
    return RECORD.pack(
        step.kind, step.tag, step.told, asked.loose, asked.sketch, came.loose, came.sketch >> 32, came.sketch & 0xFFFF_FFFF,
        asked.words, came.words,
    )  # fmt: skip


def told_in(record: bytes) -> tuple[int, int]:
    """`Step.tag` and `Step.told` of a remembered step."""
    _, tag, told, *_ = RECORD.unpack(record)
    return tag, told


def compare(step: Step, strict: bytes, record: bytes, bounds: Bounds = BOUNDS) -> Likeness:
    """How near a step is to a remembered one, of which `strict` and `record` are kept."""
    kind, tag, told, a_loose, a_sketch, r_loose, r_high, r_low, a_words, r_words = RECORD.unpack(record)
    if kind != step.kind or tag != step.tag:
        return UNLIKE
    asked, came = step.question, step.answer
    same_question, same_answer = asked.strict == strict[:STRICT], came.strict == strict[STRICT:]
    if same_question and same_answer:
        return _EQUAL
    if kind == FAILED:
        return UNLIKE
    like_answer = 1.0 if same_answer or came.loose == r_loose else 0.0
    if not like_answer and came.words and r_words:
        like_answer = likeness(came.sketch, r_high << 32 | r_low, ANSWER_BITS)
    says_little = max(came.words, r_words) <= 2
    least = bounds.answer if min(came.words, r_words) >= bounds.rich else bounds.few
    if kind != TEXT and like_answer < least and not says_little:
        return UNLIKE
    both_told = step.told & told
    same_item = both_told in (step.told, told) and both_told != 0
    other_item = not same_item and step.told != 0 and told != 0
    like_question = 1.0 if same_question or same_item or asked.loose == a_loose else 0.0
    if not like_question and asked.words and a_words:
        like_question = likeness(asked.sketch, a_sketch, QUESTION_BITS)
    if kind == TEXT:
        # A short message ("go on") may be said in any words, a long one says what it is about.
        both = (asked.words * like_question + came.words * like_answer) / (asked.words + came.words or 1)
        grade = NEAR if came.words >= bounds.talk and min(both, like_answer) >= bounds.said else NONE
        heard = grade > NONE or (came.words >= bounds.rich and like_answer >= bounds.said)
        return Likeness(grade, same_answer, heard, both if came.words >= bounds.talk else 0.0)
    if other_item:
        return UNLIKE
    if like_answer < least:
        # To a long question nearly the same again.
        is_long = min(asked.words, a_words) >= 2 * bounds.enough and like_question >= bounds.answer
        return Likeness(WEAK, False, True) if is_long and not step.flags & WRITES else UNLIKE
    about_the_same = like_question == 1.0 or (
        like_question >= bounds.question and min(asked.words, a_words) >= bounds.some
    )
    grade = _tool(step, same_question or same_item, about_the_same, same_answer, bounds)
    is_list = step.flags & WRITES or not (asked.words or same_item)
    return Likeness(grade, same_answer, grade >= NEAR or (same_answer and not is_list))


def _tool(step: Step, same_item: bool, like_question: bool, same_answer: bool, bounds: Bounds) -> int:
    asked, came, flags = step.question, step.answer, step.flags
    rich, enough = came.words >= bounds.rich, asked.words + came.words >= bounds.enough
    if asked.words == 0 and asked.numbers and not same_item:
        # Its identifier is the whole question, so it is another one, unless the model makes such identifiers up.
        made_up = flags & MADE_UP and (rich or not flags & WRITES)
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


def trends(step: Step) -> bytes:
    """The numbers of a step as they are kept for `moved`."""
    return TRENDS.pack(*step.question.levels, *step.answer.levels)


def moved(step: Step, levels: bytes) -> tuple[int, int]:
    """(numbers that rose, numbers that fell) against a remembered step; bits 0-3 the question's, 4-7 the answer's."""
    up = down = 0
    for place, (new, old) in enumerate(
        zip((*step.question.levels, *step.answer.levels), TRENDS.unpack(levels), strict=True)
    ):
        if new != old:
            if (new - old) % MODULUS < MODULUS // 2:
                up |= 1 << place
            else:
                down |= 1 << place
    return up, down
