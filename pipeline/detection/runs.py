"""What one run has done lately, and whether it goes in circles. Pure: marks in, repeats out; no thresholds.

A step is a set of tool calls together with their results (which usually arrive with the next call), or, where no tools
are used, an answer together with the message it answers. A step that repeats with the same result is no progress; a
poller whose results change makes progress. Circles of up to LONGEST steps are seen by one counter a length: how many
steps in a row equal the step so many places before.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from pipeline.detection.fingerprint import NAME_ONLY
from schemas.fact import Fact, Loop

LONGEST: Final = 6
REMEMBERED: Final = 24
EVIDENCE: Final = 5

# Bytes of one remembered step.
STRICT: Final = 8
LOOSE: Final = 4


class Step(NamedTuple):
    """One step.

    Attributes:
        kind: `tool`: actions with their results; `blind`: actions whose results nobody sent; `text`: an answer and
            what it answers; `failed`: a call that did not succeed.
        strict: What it did, exactly; STRICT bytes.
        loose: The same without numbers, case and spacing; LOOSE bytes.
        failed: Whether it is a failed call, or a result looks like an error.
    """

    kind: str
    strict: bytes
    loose: bytes
    failed: bool


class Run(msgspec.Struct, gc=False):
    """State of one run, about 1 kB.

    Attributes:
        seen_ms: Watermark when the newest fact was seen: a producer's clock may be hours behind.
        waiting: Actions whose results have not come yet.
        strict: The last REMEMBERED steps, newest last.
        loose: The same, loosely.
        exact: For each length of circle, how many steps in a row equal the step so many places before.
        near: The same for loose equality.
        gap_ms: Time between the last two equal failures, to see back-off.
        step_ms: Event time of the newest step.
        cost: Nano-dollars of the run since its newest new step, which is where a circle begins.
        began_ms: Event time of that step.
        evidence: Positions of the newest calls.
        calls: Calls of the run.
    """

    seen_ms: int = 0
    waiting: tuple[str, ...] = ()
    strict: bytes = b""
    loose: bytes = b""
    exact: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    near: list[int] = msgspec.field(default_factory=lambda: [0] * LONGEST)
    gap_ms: int = 0
    step_ms: int = 0
    cost: int = 0
    began_ms: int = 0
    evidence: list[str] = []
    calls: int = 0


class Circle(msgspec.Struct, frozen=True, gc=False):
    """How often a run has repeated itself.

    Attributes:
        kind: Kind of its newest step.
        exact: Rounds of the same circle, the first included.
        exact_length: Steps in that circle.
        near: The same for loose equality.
        near_length: Steps in that circle.
        again: How often the newest step is among the last REMEMBERED, wherever.
        failed: Whether the newest step failed.
    """

    kind: str
    exact: int
    exact_length: int
    near: int
    near_length: int
    again: int
    failed: bool


def observe(run: Run, fact: Fact) -> Circle | None:
    """Take one call into a run; the circle it closes, or None where it added no step."""
    run.calls += 1
    run.cost += fact.cost_nano_usd or 0
    run.evidence = [*run.evidence[1 - EVIDENCE :], str(fact.position)]
    marks = fact.loop or Loop()
    found = None
    for step in _steps(run, fact, marks):
        if _is_backed_off(run, step, fact):
            continue
        found = _push(run, step, fact)
    return found


def _steps(run: Run, fact: Fact, marks: Loop) -> list[Step]:
    """The steps that this call completes."""
    if fact.status != "ok":
        if marks.input_tail is None and not marks.actions:
            return []
        name = f"{fact.status}|{fact.error_type}|{marks.input_tail}|{marks.actions}"
        return [_step("failed", name, name, True)]
    steps = []
    late = marks.results if not marks.own_results else ()
    errors = marks.tool_errors > 0
    if run.waiting:
        if late or not _says_nothing(run.waiting):
            steps.append(_tool("tool" if late else "blind", run.waiting, late, errors))
        run.waiting = ()
    if marks.actions:
        if marks.own_results:
            steps.append(_tool("tool", marks.actions, marks.results, errors))
        else:
            run.waiting = marks.actions
    elif marks.output is not None and not late:
        pair = f"{marks.input_tail}>{marks.output}"
        steps.append(_step("text", pair, f"{_loose(marks.input_tail)}>{_loose(marks.output)}"))
    return steps


def _says_nothing(actions: tuple[str, ...]) -> bool:
    """Whether only the tools' names are known: an agent that reads six files does not go in circles."""
    return any(mark.endswith(NAME_ONLY) for mark in actions)


def _tool(kind: str, actions: tuple[str, ...], results: tuple[str, ...], errors: bool) -> Step:
    strict = ",".join(_strict(mark) for mark in (*actions, ">", *results))
    loose = ",".join(_loose(mark) for mark in (*actions, ">", *results))
    return _step(kind, strict, loose, errors)


def _step(kind: str, strict: str, loose: str, failed: bool = False) -> Step:
    return Step(
        kind,
        blake2b(strict.encode(), digest_size=STRICT).digest(),
        blake2b(loose.encode(), digest_size=LOOSE).digest(),
        failed,
    )


def _strict(mark: str) -> str:
    return mark.partition(".")[0]


def _loose(mark: str | None) -> str:
    if mark is None:
        return ""
    strict, _, loose = mark.partition(".")
    return loose or strict


def _is_backed_off(run: Run, step: Step, fact: Fact) -> bool:
    """Whether a step is a patient retry: the same failure again after a longer wait than before, or as long as told."""
    if not step.failed or not run.strict.endswith(step.strict):
        return False
    gap = fact.event_ms - run.step_ms
    told_ms = (fact.retry_after_s or 0.0) * 1_000
    patient = gap >= 1.5 * run.gap_ms > 0 or (told_ms > 0 and gap >= 0.9 * told_ms)
    run.gap_ms = gap
    if patient:
        run.step_ms = fact.event_ms
    return patient


def _push(run: Run, step: Step, fact: Fact) -> Circle:
    for length in range(1, LONGEST + 1):
        exact = run.strict[-length * STRICT :][:STRICT] == step.strict
        near = run.loose[-length * LOOSE :][:LOOSE] == step.loose
        known = len(run.loose) >= length * LOOSE
        run.exact[length - 1] = run.exact[length - 1] + 1 if known and exact else 0
        run.near[length - 1] = run.near[length - 1] + 1 if known and near else 0
    again = 1 + sum(run.strict[place : place + STRICT] == step.strict for place in range(0, len(run.strict), STRICT))
    exact_rounds, exact_length = _rounds(run.exact)
    near_rounds, near_length = _rounds(run.near)
    if again == 1 and near_rounds == 1:
        run.began_ms, run.cost = fact.event_ms, fact.cost_nano_usd or 0
    run.step_ms = fact.event_ms
    run.strict = (run.strict + step.strict)[-REMEMBERED * STRICT :]
    run.loose = (run.loose + step.loose)[-REMEMBERED * LOOSE :]
    return Circle(step.kind, exact_rounds, exact_length, near_rounds, near_length, again, step.failed)


def _rounds(matches: list[int]) -> tuple[int, int]:
    """(rounds, length) of the circle with most rounds; the shortest of equals."""
    best, length = 1, 1
    for place, match in enumerate(matches):
        rounds = match // (place + 1) + 1
        if rounds > best:
            best, length = rounds, place + 1
    return best, length
