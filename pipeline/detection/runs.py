"""What one run has done lately, and how often it has repeated itself. Pure: facts in, repeats out; no thresholds.

Circles of up to LONGEST steps are seen by one counter a length: how many steps in a row equal, or are near to, the step so
many places before. Beside that every step is looked for among the last ones wherever they stand, because processes of one
run may work at the same time, and a run that does known things in a new order gets nowhere either.

Runs are kept packed (`pipeline.detection.packed`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.detection.nearness import (
    BOUNDS,
    NONE,
    RECORD,
    SAME,
    TRENDS,
    UNLIKE,
    WEAK,
    Likeness,
    compare,
    moved,
    remember,
    told_in,
    trends,
)
from pipeline.detection.steps import ERROR, HUMAN, LEVELS, STRICT, TEXT, TOOL, WRITES, Step, steps_of
from pipeline.detection.words import SAMPLE
from schemas.fact import Fact

LONGEST: Final = 6
REMEMBERED: Final = 24
NEAR_REMEMBERED: Final = 9
EVIDENCE: Final = 5
# Steps of which it is remembered whether they were new.
NOVELTY: Final = 32
# A number that has gone one way so often does not do so by chance.
MOVES: Final = 4
# Between steps of a run that waits for something, and is told no more than that it is not there yet.
WAIT_MS: Final = 30_000
FEW_WORDS: Final = 5
# Words of one answer that are looked for among earlier ones, and how many of them say something together.
LISTEN: Final = 3
FADES: Final = 8
ENOUGH: Final = 160
_PAST: Final = 0xFFFF
# Longer than a person takes to read an answer and to write again.
HASTY_MS: Final = 4_000
# How fast money goes is seen in stretches of this length.
STRETCH_MS: Final = 300_000

_STEP: Final = 2 * STRICT
_QUESTION_LEVELS: Final = (1 << LEVELS) - 1
_MOST: Final = 0xFFFF_FFFF


class Run(msgspec.Struct, gc=False):
    """State of one run.

    Attributes:
        seen_ms: Watermark when the newest fact was seen: a producer's clock may be hours behind.
        step_ms: Event time of the newest step.
        began_ms: Event time of the newest step that was new, which is where a circle begins.
        cost: Nano-dollars since then.
        stretch_ms: Event time at which the present stretch of STRETCH_MS began.
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
        errors: Tool steps in a row that ended in an error.
        human: Steps in a row before which somebody took their time: a person who writes, a run that waits.
        weak: One bit for each length: whether a step of the near circle is near by a weak grade only.
        other: One bit for each length: whether its answers are not all the same exactly.
        busy_ms: How long the newest call took.
        exact: For each length of circle, how many steps in a row equal the step so many places before.
        near: The same for steps that are near.
        up: For each length, which numbers have risen while it was near; see `nearness.moved`.
        down: Which have fallen.
        moves: How often again after the first time, two bits a number, at most MOVES - 1.
        evidence: Source offsets of the newest calls.
        pending: Question whose answer has not come yet; empty for none.
        strict: The last REMEMBERED steps, newest last.
        records: The last NEAR_REMEMBERED steps for `nearness.grade`, newest last.
        levels: Numbers of the last LONGEST steps.
        vocabulary: Sample of all answers' words (`words.sample`), in order.
        checked: How many words of late answers were looked for in it; recent ones count more.
        fresh: How many of those were new.
        steps: Steps, at most 255.
        unprompted: Answers in a row to messages that say no more than to go on.
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
    human: int = 0
    weak: int = 0
    other: int = 0
    busy_ms: int = 0
    steps: int = 0
    unprompted: int = 0
    exact: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    near: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    up: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    down: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    moves: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    evidence: list[int] = msgspec.field(default_factory=list)
    pending: bytes = b""
    strict: bytes = b""
    records: bytes = b""
    levels: bytes = b""
    vocabulary: list[int] = msgspec.field(default_factory=list)


class Circle(msgspec.Struct, frozen=True, gc=False):
    """How often a run has repeated itself by one step.

    Attributes:
        step: The step.
        exact: Rounds of the same circle, the first included.
        exact_length: Steps in that circle.
        near: Rounds of nearly the same circle in which no number gets on.
        near_length: Steps in that circle.
        weak: Whether that circle is near by weak grades, or a person asks each time in other words.
        again: How often the step is among the last REMEMBERED, wherever.
        alike: How many of the last NEAR_REMEMBERED steps are near to it, itself included.
        errors: Tool steps in a row that ended in an error.
        known: Of the last NOVELTY steps, which were nothing new; one bit a step, the newest lowest.
        grown: Whether the input has grown since the last new step; None where nothing is known of its size.
        patient: Whether somebody takes their time between these steps.
        checked: How many words of late answers were looked for among earlier ones.
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


def observe(run: Run, fact: Fact) -> list[Circle]:
    """Take one call into a run; a circle for each step that it completes."""
    _count(run, fact)
    steps, run.pending = steps_of(fact, run.pending)
    found = [_push(run, step, fact) for step in steps if not _is_backed_off(run, step, fact)]
    run.busy_ms = min(_MOST, int(fact.latency_ms or 0))
    return found


def _count(run: Run, fact: Fact) -> None:
    tokens = (fact.input_tokens or 0) + (fact.output_tokens or 0)
    cost = fact.cost_nano_usd or 0
    run.calls = min(_MOST, run.calls + 1)
    run.cost += cost
    run.tokens = min(_MOST, run.tokens + tokens)
    if fact.event_ms >= run.stretch_ms + STRETCH_MS:
        run.stretch_ms, run.stretch_cost, run.stretch_tokens, run.stretch_calls = fact.event_ms, 0, 0, 0
    run.stretch_cost = min(_MOST, run.stretch_cost + cost // 1_000)
    run.stretch_tokens = min(_MOST, run.stretch_tokens + tokens)
    run.stretch_calls = min(_MOST, run.stretch_calls + 1)
    if fact.position.epoch != run.epoch:
        run.epoch, run.evidence = fact.position.epoch, []
    run.evidence = [*run.evidence[1 - EVIDENCE :], fact.position.offset]
    if size := fact.input_tokens or (fact.loop.input_messages if fact.loop else 0):
        run.context = min(_MOST, size)


def _is_backed_off(run: Run, step: Step, fact: Fact) -> bool:
    """Whether a step is a patient retry: the same failure after a longer wait than any before, or as long as told."""
    if not step.flags & ERROR or not run.strict.endswith(step.strict):
        run.gap_ms = 0
        return False
    gap = max(0, min(_MOST, fact.event_ms - run.step_ms))
    told_ms = (fact.retry_after_s or 0.0) * 1_000
    patient = gap >= 1.5 * run.gap_ms > 0 or (told_ms > 0 and gap >= 0.9 * told_ms)
    run.gap_ms = max(run.gap_ms, gap)
    if patient:
        run.step_ms = fact.event_ms
    return patient


def _push(run: Run, step: Step, fact: Fact) -> Circle:
    strict = step.strict
    again = 1 + _times(run.strict, strict)
    likes = [
        compare(step, run.strict[end - _STEP : end], run.records[place : place + RECORD.size])
        for place, end in zip(
            range(len(run.records) - RECORD.size, -1, -RECORD.size),
            range(len(run.strict), 0, -_STEP),
            strict=False,
        )
    ]
    _repeat(run, step, likes)
    exact, exact_length = _rounds(run.exact, 0)
    getting_on = _getting_on(run)
    near, near_length = _rounds(run.near, getting_on)
    weak = bool(run.weak >> (near_length - 1) & 1)
    alike = 1 if getting_on else 1 + sum(one.grade > NONE for one in likes)
    if step.kind == TEXT:
        weak = bool(step.flags & HUMAN) and not run.strict[-_STEP:].startswith(step.question.strict)
        alike = _alike(likes, BOUNDS.asked_by_person if weak else BOUNDS.said)
    _listen(run, step, bool(getting_on))
    is_old = again > 1 or (near > 1 and not weak) or (not getting_on and any(one.heard for one in likes))
    if not is_old:
        run.began_ms, run.cost, run.context_then = fact.event_ms, fact.cost_nano_usd or 0, run.context
        run.tokens = (fact.input_tokens or 0) + (fact.output_tokens or 0)
    run.steps = min(255, run.steps + 1)
    goes_on = step.kind == TEXT and step.question.words <= 2
    run.unprompted = min(255, run.unprompted + 1) if goes_on else 0
    run.novelty = (run.novelty << 1 | is_old) & _MOST
    if step.kind != TEXT:
        run.errors = min(255, run.errors + 1) if step.flags & ERROR else 0
    waited_ms = fact.event_ms - run.step_ms - run.busy_ms
    by_person = step.flags & HUMAN and (waited_ms >= HASTY_MS or fact.run is None)
    waits = waited_ms >= WAIT_MS and step.answer.words < FEW_WORDS
    run.human = min(255, run.human + 1) if by_person or waits else 0
    run.step_ms = fact.event_ms
    run.strict = (run.strict + strict)[-REMEMBERED * _STEP :]
    run.records = (run.records + remember(step))[-NEAR_REMEMBERED * RECORD.size :]
    run.levels = (run.levels + trends(step))[-LONGEST * TRENDS.size :]
    return Circle(
        step=step,
        exact=exact,
        exact_length=exact_length,
        near=near,
        near_length=near_length,
        weak=weak,
        again=again,
        alike=alike,
        errors=run.errors,
        known=run.novelty,
        grown=run.context > run.context_then if run.context and run.context_then else None,
        patient=run.human >= 2,
        checked=run.checked,
        fresh=run.fresh,
        steps=run.steps,
        unprompted=run.unprompted,
    )


def _repeat(run: Run, step: Step, likes: list[Likeness]) -> None:
    """Bring the counters of circles up to date."""
    for place in range(LONGEST):
        like = likes[place] if place < len(likes) else UNLIKE
        bit = 1 << place
        run.exact[place] = min(255, run.exact[place] + 1) if like.grade == SAME else 0
        if like.grade == NONE:
            run.near[place] = run.up[place] = run.down[place] = run.moves[place] = 0
            run.weak &= ~bit
            run.other &= ~bit
            continue
        run.near[place] = min(255, run.near[place] + 1)
        if like.grade < SAME:
            end = len(run.levels) - place * TRENDS.size
            up, down = moved(step, run.levels[end - TRENDS.size : end])
            run.moves[place] = _moved_again(run.moves[place], (up | down) & (run.up[place] | run.down[place]))
            run.up[place] |= up
            run.down[place] |= down
            run.weak |= bit if like.grade == WEAK else 0
            run.other |= 0 if like.same_answer else bit


def _listen(run: Run, step: Step, getting_on: bool) -> None:
    """Count how many of an answer's words are new to the run.

    Only a few of each, so that it takes many steps; and none of a list that is worked through, where words repeat.
    """
    known = run.vocabulary
    least_unknown = known[-1] if len(known) >= SAMPLE else _PAST
    looked = [word for word in step.words[:SAMPLE] if word <= least_unknown]
    if known and looked and not getting_on and not _is_listed(run, step) and not _counts(run, step):
        looked_at = looked[:LISTEN]
        run.checked += 16 * len(looked_at) - run.checked // FADES
        run.fresh += 16 * sum(word not in known for word in looked_at) - run.fresh // FADES
    if looked:
        run.vocabulary = sorted({*known, *looked})[:SAMPLE]


def _counts(run: Run, step: Step) -> bool:
    """Whether the numbers in a tool's answer are others than those in its last one: that is news, too."""
    held = len(run.levels) // TRENDS.size
    for place in range(1, held + 1):
        if step.kind == TOOL and told_in(run.records[-place * RECORD.size :][: RECORD.size])[0] == step.tag:
            up, down = moved(step, run.levels[-place * TRENDS.size :][: TRENDS.size])
            return bool((up | down) & ~_QUESTION_LEVELS)
    return False


def _is_listed(run: Run, step: Step) -> bool:
    if step.kind != TOOL:
        return False
    asked = step.question
    if step.flags & WRITES or not asked.words:
        return True
    return step.told != 0 and all(
        told_in(run.records[place : place + RECORD.size])[1] != step.told
        for place in range(0, len(run.records), RECORD.size)
    )


def _moved_again(moves: int, moved_again: int) -> int:
    for number in range(2 * LEVELS):
        if moved_again >> number & 1 and (moves >> 2 * number & 3) < MOVES - 1:
            moves += 1 << 2 * number
    return moves


def _getting_on(run: Run) -> int:
    """One bit for each length of circle: whether a number goes one way only, such as a page or a percentage.

    A number in questions does not count when it brings the same answers.
    """
    found = 0
    for place in range(LONGEST):
        one_way = run.up[place] ^ run.down[place]
        if one_way and run.near[place] >= MOVES:
            moves = run.moves[place]
            steady = sum(1 << one for one in range(2 * LEVELS) if one_way >> one & 1 and moves >> 2 * one & 3 == MOVES - 1)
            if steady & ~_QUESTION_LEVELS or (steady and run.other >> place & 1):
                found |= 1 << place
    return found


def _alike(likes: list[Likeness], least: float) -> int:
    """How many of the newest answers, this one included, are like it on the average.

    A sketch of few words is coarse, and words change: a single pair says little.
    """
    for count in range(len(likes), 1, -1):
        if sum(one.talk for one in likes[:count]) >= least * count:
            return count + 1
    return 1


def _times(strict: bytes, step: bytes) -> int:
    return sum(strict[place : place + _STEP] == step for place in range(0, len(strict), _STEP))


def _rounds(matches: list[int], without: int) -> tuple[int, int]:
    """(rounds, length) of the circle with most rounds, the shortest of equals; `without` leaves lengths out by bits."""
    best, length = 1, 1
    for place, match in enumerate(matches):
        rounds = match // (place + 1) + 1
        if rounds > best and not without >> place & 1:
            best, length = rounds, place + 1
    return best, length
