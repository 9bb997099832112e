"""Planted against found: what counts as the finding, as its consequence, and as invented."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.catalogue import LARGE, SMALL
from demo.scenario import HOUR_MS, Feature, Incident, Scenario, Tenant
from demo.truth import Found, compare

AGENT = Feature("claims-agent", "agent", LARGE[0], 0.5, 7_000, 160)
CHAT = Feature("broker-chat", "chat", SMALL[0], 0.5, 5_000, 200)
TENANTS = (
    Tenant("alder-insurance", "insurance", "office", "claims", 1_400, (AGENT, CHAT)),
    Tenant("birch-shop", "shop", "evening", "storefront", 1_400, (replace(CHAT, name="shop-assistant"),)),
)
LOOP = Incident("loop", 9 * HOUR_MS, 9 * HOUR_MS + 600_000, "alder-insurance", "claims-agent", "run-1")
COST = Incident("cost", 11 * HOUR_MS, 14 * HOUR_MS, "alder-insurance", factor=2.8, calls_factor=1.6)
SLOW = Incident("slow", 16 * HOUR_MS, 17 * HOUR_MS + 1, provider=LARGE[0].provider, model=LARGE[0].model, factor=3.0)
SCENARIO = Scenario(1, TENANTS, (LOOP, COST, SLOW))


def found(rule: str, subject: dict[str, str], at_h: float, name: str = "", received_s: float | None = None) -> Found:
    at_ms = round(at_h * HOUR_MS)
    return Found(name or f"{rule}{subject}{at_h}", rule, subject, at_ms, at_ms + 60_000, received_s)


def run_hash(tenant: str, run: str) -> str:
    return f"hash of {tenant} {run}"


RUN = {"tenant": "alder-insurance", "feature": "claims-agent", "run": "hash of alder-insurance run-1"}
ALL = [
    found("loop.runaway", RUN, 9.05),
    found("cost.spike", {"tenant": "alder-insurance"}, 11.4),
    found("latency.p95", {"provider": LARGE[0].provider, "model": LARGE[0].model}, 16.3),
]


def test_each_incident_has_its_finding() -> None:
    verdict = compare(SCENARIO, ALL, run_hash)
    assert verdict.holds
    assert [outcome.found for outcome in verdict.outcomes] == ALL
    assert verdict.outcomes[0].delay_event_s == pytest.approx(0.05 * 3_600 + 60)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missed_incident_is_not_made_up_for_by_the_others(missing: int) -> None:
    verdict = compare(SCENARIO, [one for place, one in enumerate(ALL) if place != missing], run_hash)
    assert verdict.outcomes[missing].found is None
    assert not verdict.holds


@pytest.mark.parametrize(
    "other",
    [
        found("loop.runaway", {**RUN, "run": "another"}, 9.05),
        found("cost.spike", {"tenant": "birch-shop"}, 11.4),
        found("cost.spike", {"tenant": "alder-insurance"}, 8.0),
        found("cost.spike", {"tenant": "alder-insurance"}, 20.0),
        found("user.cost", {"tenant": "birch-shop", "user": "f00d"}, 9.1),
        found("user.cost", {"tenant": "alder-insurance", "user": "f00d"}, 20.0),
        found("latency.p95", {"provider": SMALL[0].provider, "model": SMALL[0].model}, 16.3),
        found("latency.p95", {"tenant": "birch-shop", "feature": "shop-assistant"}, 16.3),
        found("price.unknown", {"provider": LARGE[0].provider, "model": LARGE[0].model}, 16.3),
    ],
)
def test_what_no_incident_explains_is_invented(other: Found) -> None:
    verdict = compare(SCENARIO, [*ALL, other], run_hash)
    assert verdict.invented == (other,)
    assert not verdict.holds


@pytest.mark.parametrize(
    "part",
    [
        found("cost.spike", {"tenant": "alder-insurance", "feature": "broker-chat"}, 11.5),
        found("cost.spike", {"tenant": "alder-insurance", "feature": "claims-agent"}, 9.1),
        found("user.cost", {"tenant": "alder-insurance", "user": "f00d"}, 9.1),
        found("latency.p95", {"tenant": "alder-insurance", "feature": "claims-agent"}, 16.4),
    ],
)
def test_parts_of_an_incident_are_explained_by_it(part: Found) -> None:
    verdict = compare(SCENARIO, [*ALL, part], run_hash)
    assert verdict.explained == (part,)
    assert verdict.holds


def test_a_finding_on_a_part_does_not_stand_for_the_whole() -> None:
    part = found("cost.spike", {"tenant": "alder-insurance", "feature": "broker-chat"}, 11.5)
    verdict = compare(SCENARIO, [ALL[0], part, ALL[2]], run_hash)
    assert verdict.outcomes[1].found is None


def test_revisions_of_a_finding_count_once_and_the_first_tells_the_delay() -> None:
    first = replace(ALL[0], received_s=100.5)
    later = replace(first, detected_ms=first.detected_ms + HOUR_MS, received_s=130.0)
    verdict = compare(Scenario(1, TENANTS, (LOOP,)), [first, later], run_hash, lambda at_ms: 100.0)
    assert verdict.outcomes[0].delay_wall_s == pytest.approx(0.5)
    assert not verdict.explained
    assert not verdict.invented


def test_in_a_quiet_day_every_finding_is_invented() -> None:
    assert compare(Scenario(1, TENANTS, ()), [], run_hash).holds
    assert len(compare(Scenario(1, TENANTS, ()), ALL, run_hash).invented) == 3
