"""What seeds plant: properties of the truth over many seeds."""

from __future__ import annotations

import pytest

from demo.scenario import APART_MS, EARLIEST_MS, LATEST_END_MS, Scenario, activity, draw
from pipeline.pricing import PriceBook
from pipeline.redaction.identifiers import is_clean_identifier
from schemas.event import Usage

SEEDS = range(50)
MIDNIGHT_MS = 1_780_012_800_000


@pytest.fixture(scope="module")
def scenarios() -> list[Scenario]:
    return [draw(seed) for seed in SEEDS]


def test_the_same_seed_is_the_same_scenario_and_another_seed_another(scenarios: list[Scenario]) -> None:
    assert draw(7) == scenarios[7]
    assert len({scenario.tenants for scenario in scenarios}) == len(scenarios)


def test_about_a_quarter_of_the_seeds_plants_nothing(scenarios: list[Scenario]) -> None:
    quiet = sum(not scenario.incidents for scenario in scenarios)
    assert 6 <= quiet <= 20


def test_every_kind_and_every_form_of_loop_is_planted_somewhere(scenarios: list[Scenario]) -> None:
    planted = [incident for scenario in scenarios for incident in scenario.incidents]
    assert {incident.kind for incident in planted} == {"loop", "cost", "slow"}
    assert {incident.form for incident in planted if incident.kind == "loop"} == {"same", "alternating", "volatile"}
    assert len({incident.tenant for incident in planted}) > 10
    assert len({incident.start_ms // 3_600_000 for incident in planted}) > 8


def test_incidents_begin_after_the_warm_up_and_stand_apart(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        for one, two in zip(scenario.incidents, scenario.incidents[1:], strict=False):
            assert one.end_ms + APART_MS <= two.start_ms
        for one in scenario.incidents:
            assert one.start_ms >= EARLIEST_MS
            assert one.end_ms <= LATEST_END_MS
        kinds = [incident.kind for incident in scenario.incidents]
        assert len(kinds) == len(set(kinds))


def test_subjects_of_incidents_are_busy_while_they_last(scenarios: list[Scenario]) -> None:
    for scenario in scenarios:
        tenants = {tenant.name: tenant for tenant in scenario.tenants}
        for incident in scenario.incidents:
            if incident.kind == "cost":
                shape = tenants[incident.tenant].shape
                assert min(activity(shape, incident.start_ms), activity(shape, incident.end_ms)) >= 0.49
                assert incident.end_ms - incident.start_ms >= 2 * 3_600_000
            if incident.kind == "slow":
                using = [t for t in scenario.tenants if any(f.offer.model == incident.model for f in t.features)]
                assert using
                assert incident.end_ms - incident.start_ms >= 3_600_000
            if incident.kind == "loop":
                feature = next(f for f in tenants[incident.tenant].features if f.name == incident.feature)
                assert feature.work == "agent"


def test_every_model_has_a_price_and_every_name_may_be_read(scenarios: list[Scenario]) -> None:
    book = PriceBook()
    for scenario in scenarios:
        for tenant in scenario.tenants:
            assert is_clean_identifier(tenant.name)
            for feature in tenant.features:
                usage = Usage(input=1_000, output=100)
                offer = feature.offer
                price = book.price(offer.provider, offer.model, None, usage, None, MIDNIGHT_MS)
                assert price.source == "computed", offer
                assert is_clean_identifier(feature.name)
