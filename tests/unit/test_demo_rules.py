"""Played days against the rules' pure cores: what is planted is found, what only looks alike is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from demo.dry import try_day
from demo.scenario import DAY_MS, Scenario, draw
from demo.traffic import day
from demo.wire import Writer
from pipeline.detection.fingerprint import loop_marks
from pipeline.intake.decode import decode

MIDNIGHT_MS = 1_780_012_800_000
KEY = b"k" * 32


def results_of(calls: Sequence[dict[str, Any]]) -> list[str]:
    """Fingerprints of the tool results that each call brought back, in order."""
    writer, found = Writer(), list[str]()
    for call in calls:
        marks = loop_marks(decode(writer.message(call).value, MIDNIGHT_MS + 2 * DAY_MS), KEY)
        found += marks.results[-1:] if marks is not None else []
    return found


def runs(scenario: Scenario) -> dict[str, list[dict[str, Any]]]:
    """Calls of each run of an agent that sends its text, in order."""
    hashed = {(t.name, f.name) for t in scenario.tenants for f in t.features if f.hashed}
    found: dict[str, list[dict[str, Any]]] = {}
    for event in day(scenario, MIDNIGHT_MS):
        if event["kind"] == "call" and "run" in event and (event["tenant"], event["feature"]) not in hashed:
            found.setdefault(event["run"], []).append(event)
    return found


def test_a_poller_brings_other_results_each_time_and_a_stuck_agent_the_same() -> None:
    scenario = next(s for s in map(draw, range(50)) if any(one.kind == "loop" for one in s.incidents))
    stuck = {one.run for one in scenario.incidents if one.kind == "loop"}
    pollers = 0
    for run, calls in runs(scenario).items():
        results = results_of(calls)
        asked = {call["name"] for event in calls for call in event.get("tool_calls", ())}
        if run in stuck:
            assert len(results) > 30
            assert len(set(results)) <= 2
        elif asked == {"get_job_status"} and len(results) > 3:
            pollers += 1
            assert len(set(results)) == len(results)
    assert pollers > 2


@pytest.mark.parametrize("seed", [0, 5])
def test_everything_planted_is_found_and_nothing_is_invented(seed: int) -> None:
    scenario = draw(seed)
    assert {one.kind for one in scenario.incidents} == ({"loop", "cost", "slow"} if seed == 0 else set())
    verdict, anomalies = try_day(scenario, flush_minutes=12)
    assert [outcome.incident for outcome in verdict.outcomes if outcome.found is None] == []
    assert [(found.rule, found.why) for found in verdict.invented] == []
    assert bool(anomalies) == bool(scenario.incidents)
