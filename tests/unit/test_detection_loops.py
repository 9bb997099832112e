"""Loops: what goes in circles is found early, what gets on or waits patiently is left alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from pipeline.audit.positions import Mark
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loops import IDLE_MS, LoopWatch
from pipeline.detection.run import REMEMBERED
from schemas.anomaly import Anomaly
from schemas.fact import Fact, Loop
from tests.streams import HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Facts

NOON = MIDNIGHT_MS + 12 * HOUR_MS
RULE = LoopRunaway()


class Runs:
    """A watch and the facts of one partition, two seconds apart."""

    def __init__(self, **bounds: Any) -> None:
        self.watch = LoopWatch(Mark(1, 0), **bounds)
        self.facts = Facts()
        self.now_ms = NOON
        self.found: list[Anomaly] = []

    def step(self, loop: Loop | None = None, *, after_ms: int = 2_000, **fields: Any) -> list[Anomaly]:
        self.now_ms += after_ms
        return self._fold(self.facts.call(self.now_ms, **{"run": "r1", "loop": loop, **fields}))

    def tick(self, after_ms: int) -> list[Anomaly]:
        self.now_ms += after_ms
        return self._fold(self.facts.tick(self.now_ms))

    def _fold(self, fact: Fact) -> list[Anomaly]:
        found = self.watch.fold(fact)
        self.found += found
        return found

    def steps(self, loops: Iterable[Loop], **fields: Any) -> int | None:
        """How many steps it took to open a finding; None where it did not."""
        for number, loop in enumerate(loops, 1):
            if any(one.state == "open" for one in self.step(loop, **fields)):
                return number
        return None


@pytest.fixture
def runs() -> Runs:
    return Runs()


def tool(action: str, result: str, errors: int = 0) -> Loop:
    return Loop(actions=(f"{action}.{action}",), results=(f"{result}.{result}",), own_results=True, tool_errors=errors)


def late(action: str | None, result: str | None) -> Loop:
    """What a call does next, with the result of what the call before did."""
    return Loop(actions=(action,) if action else (), results=(result,) if result else ())


def said(output: str, question: str) -> Loop:
    return Loop(output=output, input_tail=question)


def test_the_same_step_with_the_same_result_is_found_at_the_fourth_time(runs: Runs) -> None:
    assert runs.steps([tool("a", "x")] * 10) == RULE.rounds == 4
    (finding,) = runs.found
    assert (finding.rule, finding.severity, finding.state, finding.revision) == ("loop.runaway", "SEV2", "open", 1)
    assert finding.subject == {"tenant": "acme", "feature": "chat", "run": "r1"}
    assert finding.observed == 4
    assert finding.opened_at == NOON + 2_000
    assert finding.evidence == ("1/0/0", "1/0/1", "1/0/2", "1/0/3")
    assert "4 times" in finding.why
    assert finding.suggested_control is not None and finding.suggested_control.selector["run"] == "r1"


def test_results_that_arrive_with_the_next_call_count(runs: Runs) -> None:
    assert runs.steps([late("a", None), *[late("a", "x")] * 10]) == 5, "the fourth result comes with the fifth call"


def test_circles_of_two_to_six_steps_are_found_in_their_fourth_round() -> None:
    for length in range(2, 7):
        names = "abcdef"[:length]
        circle = (tool(name, name) for name in itertools.cycle(names))
        assert Runs().steps(itertools.islice(circle, 100)) == 4 * length


def test_a_poller_whose_answers_change_is_no_loop(runs: Runs) -> None:
    assert runs.steps(tool("poll", f"{percent} %") for percent in range(100)) is None


def test_another_question_each_time_is_no_loop_even_when_the_answers_are_equal(runs: Runs) -> None:
    assert runs.steps(tool(f"delete {number}", "ok") for number in range(100)) is None


def test_a_step_that_comes_back_again_and_again_between_others_is_found(runs: Runs) -> None:
    pieces = ((tool("stuck", "x"), tool(f"other {n}", f"{n}"), tool(f"and {n}", f"{n}")) for n in range(20))
    found = runs.steps(itertools.chain.from_iterable(pieces))
    assert found is not None and found <= REMEMBERED


def test_three_equal_steps_are_routine(runs: Runs) -> None:
    assert runs.steps([*[tool("a", "x")] * 3, tool("b", "y"), *[tool("a", "x")] * 2]) is None


def test_without_results_a_poller_cannot_be_told_from_a_loop_so_it_takes_longer(runs: Runs) -> None:
    assert runs.steps([late("poll", None)] * 40) == RULE.blind + 1


def test_of_tools_whose_names_alone_are_known_nothing_is_said(runs: Runs) -> None:
    assert runs.steps([late("read_file~", None)] * 100) is None


def test_the_same_answer_to_the_same_message_is_a_loop_without_tools(runs: Runs) -> None:
    assert runs.steps([said("I cannot", "try again")] * 10) == RULE.rounds


def test_labels_for_different_messages_are_no_loop(runs: Runs) -> None:
    assert runs.steps(said("positive", f"review {number}") for number in range(100)) is None


def test_patient_retries_are_no_loop_and_hasty_ones_are() -> None:
    patient, hasty = Runs(), Runs()
    failing = {"status": "rate_limited", "error_type": "rate_limit"}
    for attempt in range(12):
        patient.step(said("", "q"), after_ms=1_000 * 2**attempt, **failing)
    assert patient.found == []
    assert hasty.steps([said("", "q")] * 20, **failing) == RULE.failed


def test_a_producer_that_waits_as_long_as_it_was_told_is_left_alone(runs: Runs) -> None:
    for _ in range(30):
        runs.step(said("", "q"), after_ms=20_000, status="rate_limited", retry_after_s=20.0)
    assert runs.found == []


def test_a_tool_that_fails_each_time_in_nearly_the_same_way_is_found(runs: Runs) -> None:
    attempts = (
        Loop(actions=(f"a{n}.near",), results=(f"r{n}.near",), own_results=True, tool_errors=1) for n in range(30)
    )
    assert runs.steps(attempts) == RULE.near_errors


def test_a_loop_that_goes_on_or_becomes_expensive_is_escalated(runs: Runs) -> None:
    for _ in range(45):
        runs.step(tool("a", "x"), usd=0.0001)
    assert [(one.revision, one.severity, one.observed) for one in runs.found] == [
        (1, "SEV2", 4), (2, "SEV2", 8), (3, "SEV2", 16), (4, "SEV1", 20), (5, "SEV1", 40)]  # fmt: skip
    costly = Runs()
    costly.steps([tool("a", "x")] * 4, usd=0.6)
    assert costly.found[0].severity == "SEV1"


def test_one_run_has_one_finding_from_warning_to_resolution(runs: Runs) -> None:
    runs.steps([tool("a", "x")] * 4)
    runs.steps(tool("work", str(number)) for number in range(5))
    runs.tick(11 * MINUTE_MS)
    runs.tick(11 * MINUTE_MS)
    assert [(one.state, one.revision) for one in runs.found] == [("open", 1), ("resolved", 2)]
    runs.steps([tool("b", "y")] * 4)
    assert [(one.state, one.revision) for one in runs.found][2:] == [("update", 3)]
    assert len({one.id for one in runs.found}) == 1


def test_runs_of_several_tenants_do_not_mix(runs: Runs) -> None:
    for number in range(20):
        runs.step(tool("a", "x"), tenant=f"t{number % 7}")
    assert runs.found == []


def test_calls_without_a_run_are_watched_by_their_session_and_others_not_at_all(runs: Runs) -> None:
    assert runs.steps([tool("a", "x")] * 4, run=None, session="s1") == 4
    assert runs.found[0].subject == {"tenant": "acme", "feature": "chat", "session": "s1"}
    assert runs.steps([tool("a", "x")] * 10, run=None) is None


def test_history_raises_nothing(runs: Runs) -> None:
    assert runs.steps([tool("a", "x")] * 30, backfill=True) is None
    assert runs.watch.keys_held() == 0


def test_a_producer_whose_clock_is_hours_behind_is_watched_all_the_same(runs: Runs) -> None:
    for _ in range(4):
        runs.tick(20_000)
        runs._fold(runs.facts.call(runs.now_ms - 5 * HOUR_MS, run="r1", loop=tool("a", "x")))
    assert [one.state for one in runs.found] == ["open"]


def test_memory_is_bounded_by_number_and_by_idleness() -> None:
    runs = Runs(max_runs=100)
    for number in range(500):
        runs.step(tool("a", "x"), run=f"r{number}")
    assert len(runs.watch.runs) == 100 == runs.watch.keys_held()
    assert runs.watch.forgotten == 400
    runs.tick(IDLE_MS + MINUTE_MS)
    assert runs.watch.keys_held() == 0


def test_an_open_finding_of_a_forgotten_run_is_resolved() -> None:
    runs = Runs(max_runs=1)
    runs.steps([tool("a", "x")] * 4)
    runs.step(tool("b", "y"), run="r2")
    assert [one.state for one in runs.found] == ["open", "resolved"]
    assert runs.watch.cases == {}
