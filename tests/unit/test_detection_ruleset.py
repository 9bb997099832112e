"""Rules as data: a file's mistakes have a line and a reason, and a version holds by the time of the log."""

from __future__ import annotations

import re

import pytest

from pipeline.detection.cost_spike import CostSpike
from pipeline.detection.describe import meanings, template
from pipeline.detection.latency_p95 import LatencyP95
from pipeline.detection.registry import RULES
from pipeline.detection.rules_file import RulesFileError, parse
from pipeline.detection.ruleset import DEFAULT
from pipeline.detection.versions import Versions
from schemas.control import EFFECT_DELAY_MS, Control


def mistakes(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(RulesFileError) as caught:
        parse(text)
    return [(one.line, ".".join(one.path), one.reason) for one in caught.value.mistakes]


def version(number: int, text: str) -> Control:
    return Control("rules", version=number, body={"text": text})


# -- what wins


def test_an_empty_file_is_the_defaults() -> None:
    ruleset = parse("")
    for entry in RULES:
        for dimension, default in entry.dimensions.items():
            assert ruleset.recipe(entry.name, dimension) == default == DEFAULT.recipe(entry.name, dimension)


def test_what_is_more_particular_wins() -> None:
    ruleset = parse("""
        ["latency.p95"]
        ratio = 2.5
        least_calls = 7
        ["latency.p95".feature]
        ratio = 3
        [tenants.acme."latency.p95"]
        ratio = 4
        [tenants.acme."latency.p95".feature]
        shadow = true
    """)

    def of(dimension: str, tenant: str) -> tuple[float, bool, int]:
        found = ruleset.find(LatencyP95, dimension, tenant)
        assert found is not None
        return found.ratio, found.shadow, found.least_calls

    assert of("provider", "globex") == (2.5, False, 7)
    assert of("feature", "globex") == (3.0, False, 7)
    assert of("provider", "acme") == (4.0, False, 7)
    assert of("feature", "acme") == (4.0, True, 7)


def test_a_rule_that_is_not_enabled_is_not_asked() -> None:
    ruleset = parse('["cost.spike".feature]\nenabled = false\n[tenants.acme."cost.spike"]\nenabled = false')
    assert ruleset.find(CostSpike, "feature") is None
    assert ruleset.find(CostSpike, "tenant") is not None
    assert ruleset.find(CostSpike, "tenant", "acme") is None
    assert "cost.spike" not in {one.life.rule for one in ruleset.active("feature")}


def test_a_rules_name_needs_no_quotes() -> None:
    assert parse("[cost.spike]\nleast_calls = 3").settings == parse('["cost.spike"]\nleast_calls = 3').settings


def test_tables_in_arrays_are_read() -> None:
    found = parse('[["cost.spike".same_hour]]\nminutes = 60\nratio = 2\nsurprise = 5').find(CostSpike, "tenant")
    assert found is not None and [(one.minutes, one.ratio) for one in found.same_hour] == [(60, 2.0)]


# -- mistakes


def test_every_mistake_is_named_with_its_line() -> None:
    found = mistakes("""
# a comment, and a text over several lines
["cost.spike"]
least_calls = -1
leest_calls = 1
same_hour = [
  { minutes = 60, ratio = 0.5, surprise = 4.0 },
]
clear = 1.2

[cost.spike.feature]
enabled = "yes"

["cost.spkie"]
[tenants.acme."latency.p95"]
minutes = []
[tenants.globex]
"nothing.known" = { enabled = true }
""")
    assert [(line, path) for line, path, _ in found] == [
        (4, "cost.spike.least_calls"), (5, "cost.spike.leest_calls"), (6, "cost.spike.same_hour"),
        (12, "cost.spike.feature.enabled"), (14, "cost.spkie"), (16, "tenants.acme.latency.p95.minutes"),
        (18, "tenants.globex.nothing.known")]  # fmt: skip
    reasons = {path: reason for _, path, reason in found}
    assert reasons["cost.spike.least_calls"] == "expected `int` >= 0"
    assert "did you mean least_calls" in reasons["cost.spike.leest_calls"]
    assert "did you mean cost.spike" in reasons["cost.spkie"]
    assert "[0].ratio" in reasons["cost.spike.same_hour"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = \n", 1),
        ('["cost.spike"]\n\nratio = = 2', 3),
        ('["cost.spike"]\nratio = 2\nratio = 3', 3),
        ('["cost.spike"]\nenabled = [', 2),
        ("tenants = 3", 1),
        ('"cost.spike" = 3', 1),
        ("[tenants]\nacme = 3", 2),
    ],
)
def test_what_is_no_rules_file_has_a_line_too(text: str, line: int) -> None:
    assert mistakes(text)[0][0] == line


def test_a_mistake_inside_a_long_text_is_not_looked_for_there() -> None:
    text = '["cost.spike"]\nnote = """\n["latency.p95"]\nleast_calls = -1\n"""\nleast_calls = -1'
    assert [line for line, _, _ in mistakes(text)] == [2, 6]


# -- words


def test_the_template_is_a_file_that_changes_nothing_and_neither_does_it_uncommented() -> None:
    text = template()
    assert parse(text).settings == {entry.name: {"": {}} for entry in RULES}
    parameters = re.compile(r'^# (\w+ = |\["[a-z0-9.]+"\.\w+\])', re.MULTILINE)
    ruleset = parse(parameters.sub(r"\1", text))
    for entry in RULES:
        for dimension, default in entry.dimensions.items():
            assert ruleset.recipe(entry.name, dimension) == default, (entry.name, dimension)


def test_every_parameter_says_what_it_means() -> None:
    for entry in RULES:
        for name, text in meanings(entry.recipe).items():
            assert len(text) > 10, (entry.name, name)


# -- versions


def test_a_version_holds_from_half_a_minute_after_it_was_appended_on() -> None:
    versions = Versions([(1_000_000, version(1, '["cost.spike"]\nleast_calls = 3')), (2_000_000, version(2, ""))])
    assert versions.latest() == 2
    assert [versions.at(ms)[0] for ms in (0, 1_000_000 + EFFECT_DELAY_MS - 1, 1_000_000 + EFFECT_DELAY_MS)] == [0, 0, 1]
    assert versions.at(1_999_999)[1].recipe("cost.spike", "tenant") == CostSpike(least_calls=3)
    number, ruleset = versions.at(9_000_000)
    assert number == 2 and ruleset.recipe("cost.spike", "tenant") == CostSpike()


def test_a_version_that_cannot_be_read_leaves_the_one_before_it_in_force() -> None:
    good, bad = version(1, '["cost.spike"]\nleast_calls = 3'), version(2, '["rule.of.tomorrow"]')
    versions = Versions([(0, good), (1, bad)])
    assert versions.unreadable == [2] and versions.latest() == 2
    assert versions.at(9_000_000)[0] == 1


@pytest.mark.parametrize("rule", ["refusal.rate", "evaluation.drop", "output.shift", "run.latency"])
def test_a_window_that_no_rule_has_is_refused_when_the_file_is_read(rule: str) -> None:
    ((_, path, reason),) = mistakes(f'["{rule}"]\nhours = [3]\n')
    assert path == f"{rule}.hours" and "1, 6 or 24" in reason
