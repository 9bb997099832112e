"""Every anomaly carries the command that shows what it is about; a subject is data and never part of it."""

from __future__ import annotations

import shlex

import pytest

from pipeline.cli.query import _SQL
from pipeline.detection.registry import RULES
from pipeline.detection.shown import query, sql
from schemas.anomaly import Span

WINDOW = Span(1_772_352_000_000, 1_772_355_600_000)


@pytest.mark.parametrize("rule", [entry.name for entry in RULES])
def test_the_command_of_every_rule_is_one_that_there_is(rule: str) -> None:
    words = shlex.split(query(rule, {"tenant": "acme", "feature": "chat", "run": "ab" * 16}, WINDOW))
    assert words[0] == "tokentrail" and words[1] in ("query", "verify")
    if len(words) == 3:
        assert _SQL.match(words[2])


def test_what_stands_in_a_subject_stays_a_value() -> None:
    hostile = {"tenant": "a' OR 1=1 -- \\", "feature": "$(rm -rf /)`x`"}
    text = query("cost.spike", hostile, WINDOW)
    assert len(shlex.split(text)) == 3
    assert "tenant = 'a\\' OR 1=1 -- \\\\'" in sql("cost.spike", hostile, WINDOW)


def test_errors_come_first_where_it_is_about_errors_and_money_where_it_is_about_money() -> None:
    assert "status != 'ok'" in sql("error.rate", {"tenant": "a"}, WINDOW)
    assert "ORDER BY cost_usd DESC" in sql("budget.near", {"tenant": "a", "budget": "month"}, WINDOW)
    assert "FROM evaluations" in sql("evaluation.drop", {"tenant": "a", "provider": "x"}, WINDOW)
    assert "budget" not in sql("budget.near", {"tenant": "a", "budget": "month"}, WINDOW).split("WHERE")[1]
