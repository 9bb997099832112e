"""`tokentrail demo` as a person runs it: real servers, real stages, to an end and without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DEMO = (sys.executable, "-m", "pipeline.cli.main", "demo", "--patterns-only", "--seconds", "10")


def demo(*arguments: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run((*DEMO, *arguments), capture_output=True, text=True, timeout=240, env=environment)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """(temporary folder, data folder, the finished process) of a day with an incident of every kind."""
    temporary, data = tmp_path_factory.mktemp("tmp"), tmp_path_factory.mktemp("data") / "demo"
    return temporary, data, demo("--seed", "0", "--json", "--data", str(data), temporary=temporary)


def test_the_played_day_holds(played: tuple[Path, Path, subprocess.CompletedProcess[str]]) -> None:
    *_, process = played
    assert process.returncode == 0, process.stderr[-3_000:]
    result = json.loads(process.stdout)
    assert result["holds"] is True
    assert result["invented"] == []
    found = {one["kind"]: one for one in result["planted"]}
    assert {kind: one["rule"] for kind, one in found.items()} == {
        "loop": "loop.runaway",
        "cost": "cost.spike",
        "slow": "latency.p95",
    }
    assert all(one["delay_wall_s"] >= 0 for one in found.values())
    rows = result["rows"]
    assert rows["calls"] + rows["evaluations"] + rows["feedback"] == result["events"]
    assert rows["dead_letters"] == 0
    assert rows["anomalies"] >= 3
    assert result["verify"]["holds"] is True
    assert result["verify"]["problems"] == 0


def test_what_a_person_wrote_is_not_what_is_stored(
    played: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    sample = json.loads(played[2].stdout)["sample"]
    card = next(word for word in sample["sent"].split() if word.isdigit() and len(word) == 16)
    assert card not in sample["stored"]
    assert "<CREDIT_CARD" in sample["stored"]


def test_it_leaves_no_process_and_only_the_folder_that_was_named(
    played: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    temporary, data, _ = played
    assert (data / "logs").is_dir()
    assert list(temporary.glob("tokentrail-demo-*")) == []
    left = [
        line
        for line in subprocess.run(("ps", "-eo", "pid,args"), capture_output=True, text=True).stdout.splitlines()
        if str(data) in line
    ]
    assert left == []


def test_a_folder_that_holds_a_day_is_refused_in_one_sentence(
    played: tuple[Path, Path, subprocess.CompletedProcess[str]],
) -> None:
    temporary, data, _ = played
    process = demo("--seed", "1", "--data", str(data), temporary=temporary)
    assert process.returncode == 2
    assert "The folder holds events already" in process.stderr
    assert "Traceback" not in process.stderr
