"""A minute of what `make chaos` does at length: every kind of fault, once or twice; nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults.outage import Outage
from tests.chaos.outage import growth
from tests.chaos.planner import KINDS, plan, shares
from tests.chaos.run import run

FAULTS = 12
OUTAGE_S = 15.0


@pytest.mark.system
@pytest.mark.timeout(500)
def test_faults_of_every_kind_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    away = Outage("clickhouse", OUTAGE_S)
    result = run(
        tmp_path,
        faults=FAULTS,
        count=20_000,
        seed=7,
        with_reference=False,
        also=[away],
        deadline_s=300,
        say=said.append,
    )
    told = "\n".join([*said, *result.problems])
    assert result.problems == [], told
    judged = result.judgement
    assert (judged.lost, judged.twice, judged.anomalies_twice, judged.verify) == (0, 0, 0, "ok"), told
    assert all(result.by_kind.values()), told
    (absence,) = [one.hit for one in result.played.outcomes if one.fault == away and one.hit is not None]
    grown = {name: last - before for name, (_, before, last) in growth(absence).items()}
    assert max(grown.values(), default=0.0) < 32, f"megabytes in the last third of an outage: {grown}"
    assert result.between >= 2, f"hardly a fault came between INTENT and DONE: the run proves little\n{told}"


def test_a_plan_is_a_function_of_its_seed_and_has_what_was_promised() -> None:
    assert plan(1, 200, 16) == plan(1, 200, 16) != plan(2, 200, 16)
    counts = shares(200)
    assert sum(counts.values()) == 200 and set(counts) == set(KINDS) and min(counts.values()) >= 15
    targets = {getattr(one, "target", "") for faults in plan(1, 200, 16) for one in faults}
    assert targets - {""} == {"measure", "redact", "helper", "sink", "guard", "meter", "judge", "act"}
