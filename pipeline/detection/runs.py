"""What one run has done lately, and how often it has repeated itself. Pure: facts in, repeats out; no thresholds.

Every step is compared with the last ones of its run: in circles (`circles`), wherever they stand, because processes of
one run may work at the same time, and by what it brings (`news`), because a run that does known things in a new order
gets nowhere either.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.detection.circles import forget, getting_on, repeat, rounds
from pipeline.detection.nearness import (
    BOUNDS,
    EQUAL,
    HEAD,
    RECORD,
    TRENDS,
    UNLIKE,
    WEAK,
    Likeness,
    comparing,
    remember,
)
from pipeline.detection.news import ENOUGH, listen
from pipeline.detection.run import EVIDENCE, LONGEST, NEAR_REMEMBERED, REMEMBERED, STEP, Run
from pipeline.detection.steps import ERROR, HUMAN, TEXT, Step, steps_of
from schemas.fact import Fact

# Steps of which it is remembered whether they were new.
NOVELTY: Final = 32
# Between steps of a run that waits for something, and is told no more than that it is not there yet.
WAIT_MS: Final = 30_000
FEW_WORDS: Final = 5
# Longer than a program takes to say "go on", shorter than a person takes to read an answer and to write again.
HASTY_MS: Final = 4_000
# How fast money goes is seen in stretches of this length.
STRETCH_MS: Final = 300_000
# A message of so few words says no more than to go on.
GO_ON_WORDS: Final = 2

_MOST: Final = 0xFFFF_FFFF


class Circle(msgspec.Struct, frozen=True, gc=False):
    """How often a run has repeated itself by one step.

    Attributes:
        step: The step.
        exact: Rounds of the same circle, the first included.
        exact_length: Steps in that circle.
        near: Rounds of nearly the same circle in which no number gets on.
        near_length: Steps in that circle.
        weak: Whether that circle, or what is alike where that is more, is near by weak grades, or answers messages that
            are not the same exactly.
        again: How often the step is among the last REMEMBERED, wherever.
        alike: How many of the newest steps, up to NEAR_REMEMBERED and itself, are near to it; 1 where a number gets on.
        errors: Tool steps in a row that ended in an error.
        known: Of the last NOVELTY steps, which were nothing new; one bit a step, the newest lowest.
        grown: Whether the input has grown since the last new step; None where nothing is known of its size.
        patient: Whether somebody takes their time between these steps.
        checked: How many words of late answers were looked for among earlier ones; see `news`.
        fresh: How many of those were new.
        steps: Steps of the run so far, at most 255.
        unprompted: Answers in a row to messages that say no more than to go on.
    """

    step: Step
    exact: int
    exact_length: int
    near: int
    near_length: int
    weak: bool
    again: int
    alike: int
    errors: int
    known: int
    grown: bool | None
    patient: bool
    checked: int
    fresh: int
    steps: int
    unprompted: int


def observe(run: Run, fact: Fact, at_ms: int) -> list[Circle]:
    """Take one call into a run; a circle for each step that it completes and that can matter.

    Args:
        run: The run.
        fact: The call.
        at_ms: Its event time.
    """
    _count(run, fact, at_ms)
    steps, run.pending = steps_of(fact, run.pending)
    found = []
    for step in steps:
        strict = step.question.strict + step.answer.strict
        if not (step.flags & ERROR and _is_backed_off(run, strict, fact, at_ms)):
            circle = _push(run, step, strict, fact, at_ms)
            if circle is not None:
                found.append(circle)
    took_ms = fact.latency_ms
    run.busy = int(took_ms / 100) if took_ms and took_ms < 25_500 else 255 if took_ms else 0
    return found


def _count(run: Run, fact: Fact, at_ms: int) -> None:
    given = fact.input_tokens or 0
    tokens = given + (fact.output_tokens or 0)
    cost = fact.cost_nano_usd
    if at_ms >= run.stretch_ms + STRETCH_MS:
        run.stretch_ms, run.stretch_cost, run.stretch_tokens, run.stretch_calls = at_ms, 0, 0, 0
    run.calls = run.calls + 1 & _MOST
    run.stretch_calls = run.stretch_calls + 1 & _MOST
    if cost:
        run.cost += cost
        spent = run.stretch_cost + cost // 1_000
        run.stretch_cost = spent if spent < _MOST else _MOST
    if tokens:
        # Both are of a few minutes or a few steps: what does not fit is no run.
        run.tokens = run.tokens + tokens & _MOST
        run.stretch_tokens = run.stretch_tokens + tokens & _MOST
    position = fact.position
    if position.epoch & 0xFFFF != run.epoch:
        run.epoch, run.evidence = position.epoch & 0xFFFF, b""
    run.evidence = run.evidence[-8 * (EVIDENCE - 1) :] + position.offset.to_bytes(8, "little")
    size = given or (fact.loop.input_messages if fact.loop else 0)
    if size:
        run.context = size & _MOST


def _is_backed_off(run: Run, strict: bytes, fact: Fact, at_ms: int) -> bool:
    """Whether an error is a patient retry: the same after a longer wait than any before, or as long as told."""
    if not run.strict.endswith(strict):
        run.gap_ms = 0
        return False
    gap = max(0, min(_MOST, at_ms - run.step_ms))
    told_ms = (fact.retry_after_s or 0.0) * 1_000
    patient = gap >= 1.5 * run.gap_ms > 0 or (told_ms > 0 and gap >= 0.9 * told_ms)
    run.gap_ms = max(run.gap_ms, gap)
    if patient:
        run.step_ms = at_ms
    return patient


def _push(run: Run, step: Step, strict: bytes, fact: Fact, at_ms: int) -> Circle | None:
    kind, before, record = step.kind, run.strict, remember(step)
    head = record[:HEAD]
    again = 1 + before.count(strict)
    likes = _likes(run, step, strict, head) if head in run.records else None
    on, weak, is_heard = 0, False, False
    exact = exact_length = near = near_length = alike = 1
    if likes and any(one.grade for one in likes):
        repeat(run, step, likes)
        on = getting_on(run)
        exact, exact_length = rounds(run.exact)
        near, near_length = rounds(run.near, on)
        weak = bool(run.weak >> (near_length - 1) & 1)
        alike = 1 if on else 1 + sum([one.grade > 0 for one in likes])
    else:
        forget(run)
    if likes and not on:
        is_heard = any(one.heard for one in likes)
        if kind == TEXT:
            weak = not before[-STEP:].startswith(step.question.strict)
            # A label or a number says nothing by being alike.
            is_short = step.answer.words < BOUNDS.talk
            alike = 1 if is_short else _talked_alike(likes, BOUNDS.said_to_others if weak else BOUNDS.said)
    listen(run, step, head, on != 0)
    is_old = again > 1 or (near > 1 and not weak) or is_heard
    if not is_old:
        run.began_ms, run.cost, run.context_then = at_ms, fact.cost_nano_usd or 0, run.context
        run.tokens = (fact.input_tokens or 0) + (fact.output_tokens or 0) & _MOST
    run.novelty = (run.novelty << 1 | is_old) & _MOST
    _take_note(run, step, fact, at_ms)
    run.strict = before[-(REMEMBERED - 1) * STEP :] + strict
    run.records = run.records[-(NEAR_REMEMBERED - 1) * RECORD.size :] + record
    run.levels = run.levels[-(LONGEST - 1) * TRENDS.size :] + step.question.levels + step.answer.levels
    says_little_new = run.checked >= ENOUGH and 2 * run.fresh < run.checked
    if alike > near and kind != TEXT:
        weak = any(one.grade == WEAK for one in likes or ())
    if not (is_old or near > 2 or alike > 2 or step.flags & ERROR or says_little_new):
        return None
    return Circle(
        step, exact, exact_length, near, near_length, weak, again, alike, run.errors, run.novelty,
        run.context > run.context_then if run.context and run.context_then else None, run.slow >= 2,
        run.checked, run.fresh, run.steps, run.unprompted,
    )  # fmt: skip


def _likes(run: Run, step: Step, mine: bytes, head: bytes) -> list[Likeness]:
    """How like the step is to each remembered one, the newest first; empty where it is like none."""
    records, known = run.records, run.strict
    found, end, is_like, compare = [], len(known), False, comparing(step.kind)
    for place in range(len(records) - RECORD.size, -1, -RECORD.size):
        strict = known[end - STEP : end]
        end -= STEP
        like = UNLIKE
        if strict == mine:
            like = EQUAL
        elif compare is not None and records.startswith(head, place):
            like = compare(step, strict, records[place : place + RECORD.size])
        is_like = is_like or like is not UNLIKE
        found.append(like)
    return found if is_like else []


def _take_note(run: Run, step: Step, fact: Fact, at_ms: int) -> None:
    """How the step came about: after an error, in haste, told no more than to go on."""
    if step.kind == TEXT:
        goes_on = step.question.words <= GO_ON_WORDS
        run.unprompted = run.unprompted + (run.unprompted < 255) if goes_on else 0
    else:
        run.unprompted = 0
        run.errors = run.errors + (run.errors < 255) if step.flags & ERROR else 0
    waited_ms = at_ms - run.step_ms - 100 * run.busy
    by_person = step.flags & HUMAN and (waited_ms >= HASTY_MS or fact.run is None)
    waits = waited_ms >= WAIT_MS and step.answer.words < FEW_WORDS
    run.slow = run.slow + (run.slow < 255) if by_person or waits else 0
    run.steps += run.steps < 255
    run.step_ms = at_ms


def _talked_alike(likes: list[Likeness], least: float) -> int:
    """How many of the newest answers, this one included, are like it on the average.

    A sketch of few words is coarse, and words change: a single pair says little.
    """
    total, found = 0.0, 1
    for count, one in enumerate(likes, 1):
        total += one.talk
        if total >= least * count and count > 1:
            found = count + 1
    return found
