"""Budgets on the real Kafka: set by the command, in force by the log, near and exceeded, the judge killed between."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from pipeline.cli.main import main
from schemas.anomaly import Anomaly
from tests.installation import Installation, wait_for

pytestmark = pytest.mark.system


def anomalies(installation: Installation) -> list[Anomaly]:
    found = [msgspec.json.decode(message.value(), type=Anomaly) for message in installation.read("anomalies")]
    return [one for one in found if one.rule.startswith("budget.")]


def spend(installation: Installation, number: int, usd: float) -> None:
    event = {
        "tenant": "acme", "feature": "chat", "team": "core", "provider": "openai", "model": "gpt-4o",
        "ts": time.time_ns() // 10**6, "run": f"r{number}", "usage": {"input": 10, "output": 1}, "cost_usd": usd,
    }  # fmt: skip
    installation.produce([event], f"acme\x1fr{number}".encode())


def test_a_budget_is_watched_from_its_moment_on_whatever_happens_to_the_judge(tmp_path: Path) -> None:
    installation = Installation(tmp_path, {"TOKENTRAIL_NER": "false"})
    try:
        installation.start()
        installation.start_stages(("measure", "meter", "judge"))
        for name in installation.environment:
            os.environ.pop(name)
        for number in range(4):
            spend(installation, number, 1.0)
        with pytest.raises(SystemExit) as ended:
            main(["budget", "set", "--tenant", "acme", "--team", "core", "--month", "5", "--by", "finance",
                  "--data", str(installation.folder)])  # fmt: skip
        assert not ended.value.code
        assert anomalies(installation) == []
        # In force thirty seconds later; four of five dollars are 80 %.
        wait_for("budget.near", lambda: anomalies(installation), 90)
        (near,) = anomalies(installation)
        assert (near.rule, near.observed, near.subject) == (
            "budget.near", 4.0, {"tenant": "acme", "team": "core", "budget": "month"},
        )  # fmt: skip
        installation.kill("judge")
        for number in range(4, 6):
            spend(installation, number, 1.0)
        wait_for("its close", lambda: any(one.state == "resolved" for one in anomalies(installation)), 90)
        by_revision: dict[tuple[str, int], set[bytes]] = {}
        for one in anomalies(installation):
            by_revision.setdefault((one.id, one.revision), set()).add(msgspec.json.encode(one))
        assert all(len(contents) == 1 for contents in by_revision.values()), "a repeat says the same"
        assert {(one.rule, one.state) for one in anomalies(installation)} == {
            ("budget.near", "open"), ("budget.exceeded", "open"), ("budget.near", "resolved"),
        }  # fmt: skip
        (over,) = [one for one in anomalies(installation) if one.rule == "budget.exceeded"]
        assert over.observed is not None and over.observed >= 6.0 - 1e-9 and over.tier == 1
    finally:
        installation.stop()
