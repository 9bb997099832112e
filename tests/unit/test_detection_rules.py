"""Rules on a plant in memory: what each finds, what it must leave alone, and one finding for one cause."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from pipeline.detection.trial import always
from pipeline.detection.versions import Versions
from schemas.anomaly import Anomaly
from schemas.control import EFFECT_DELAY_MS, Control
from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Plant

NOON = MIDNIGHT_MS + 12 * HOUR_MS


def steady(plant: Plant, start_ms: float, hours: float, a_minute: float = 3.0, seed: int = 1, **fields: Any) -> None:
    """Calls at random moments, cost and latency varying."""
    rng, at_ms = Random(seed), start_ms
    usd, latency_ms = fields.pop("usd", 0.01), fields.pop("latency_ms", 1_000.0)
    while (at_ms := at_ms + rng.expovariate(a_minute) * MINUTE_MS) < start_ms + hours * HOUR_MS:
        plant.call(
            at_ms,
            usd=usd * rng.lognormvariate(0, 0.5) if usd is not None else None,
            latency_ms=latency_ms * rng.lognormvariate(0, 0.4),
            **fields,
        )


def several(plant: Plant, start_ms: float, hours: float, seed: int, *kinds: dict[str, Any]) -> None:
    """Several streams of calls at the same time, in order of time."""
    calls = []
    for place, kind in enumerate(kinds):
        rng, at_ms = Random(f"{seed} {place}"), start_ms
        a_minute = kind.get("a_minute", 3.0)
        fields = {name: value for name, value in kind.items() if name not in ("a_minute", "usd", "latency_ms")}
        while (at_ms := at_ms + rng.expovariate(a_minute) * MINUTE_MS) < start_ms + hours * HOUR_MS:
            usd = kind.get("usd", 0.01) * rng.lognormvariate(0, 0.5)
            latency_ms = kind.get("latency_ms", 1_000.0) * rng.lognormvariate(0, 0.4)
            calls.append((at_ms, {"usd": usd, "latency_ms": latency_ms, **fields}))
    for at_ms, fields in sorted(calls, key=lambda call: call[0]):
        plant.call(at_ms, **fields)


def minutes_after(anomaly: Anomaly, at_ms: float) -> float:
    return (anomaly.detected_at - at_ms) / MINUTE_MS


@pytest.fixture
def plant() -> Plant:
    return Plant(flush_ms=5 * MINUTE_MS)


# -- cost


def test_a_tenant_whose_calls_triple_is_found_within_the_hour(plant: Plant) -> None:
    steady(plant, MIDNIGHT_MS, 36)
    steady(plant, NOON + DAY_MS, 1, a_minute=9.0, seed=2)
    (finding,) = plant.opened()
    assert (finding.rule, finding.subject, finding.tier) == ("cost.spike", {"tenant": "acme"}, 1)
    assert 0 < minutes_after(finding, NOON + DAY_MS) < 60
    assert abs(finding.opened_at - NOON - DAY_MS) < 15 * MINUTE_MS
    assert finding.baseline is not None and finding.ratio is not None and finding.ratio > 1.75
    assert finding.details["calls_ratio"] > 1.75
    assert finding.details["features_usd"] == {"chat": pytest.approx(finding.observed, rel=1e-5)}
    # The dearest call of each five minutes of the window, which may be the one of twenty.
    assert 4 <= len(finding.evidence) <= 5
    assert "times the" in finding.why and "tenant acme" in finding.why


def test_calls_that_cost_double_are_found_without_a_day_of_history(plant: Plant) -> None:
    steady(plant, NOON, 5)
    steady(plant, NOON + 5 * HOUR_MS, 1, usd=0.022, seed=2)
    (finding,) = plant.opened()
    assert finding.details["baseline"] == "per_call"
    assert 0 < minutes_after(finding, NOON + 5 * HOUR_MS) <= 60


def test_a_first_morning_is_no_spike(plant: Plant) -> None:
    steady(plant, MIDNIGHT_MS, 7, a_minute=0.4)
    for hour, rate in enumerate((1.0, 3.0, 6.0, 7.0, 7.0)):
        steady(plant, MIDNIGHT_MS + (7 + hour) * HOUR_MS, 1, a_minute=rate, seed=hour)
    assert plant.opened() == []


def test_the_same_morning_on_the_next_day_is_no_spike(plant: Plant) -> None:
    for day in range(2):
        for hour in range(24):
            rate = 0.4 if hour < 7 else min(1.0 + 2 * (hour - 7), 6.0) if hour < 18 else 0.5
            steady(plant, MIDNIGHT_MS + day * DAY_MS + hour * HOUR_MS, 1, a_minute=rate, seed=day * 100 + hour)
    assert plant.opened() == []


def test_a_rise_that_is_spread_over_features_is_found_at_the_tenant(plant: Plant) -> None:
    kinds = [{"feature": name, "a_minute": 1.2, "usd": usd} for name, usd in (("a", 0.01), ("b", 0.02), ("c", 0.005))]
    several(plant, MIDNIGHT_MS, 36, 1, *kinds)
    several(plant, NOON + DAY_MS, 2, 2, *[{**kind, "a_minute": 3.0} for kind in kinds])
    (finding,) = plant.opened()
    assert finding.subject == {"tenant": "acme"}
    assert set(finding.details["features_usd"]) == {"a", "b", "c"}


def test_one_feature_that_rises_beside_a_large_one_is_found_at_the_feature(plant: Plant) -> None:
    several(plant, MIDNIGHT_MS, 36, 1, {"feature": "large", "usd": 0.1}, {"feature": "small", "usd": 0.02})
    kinds: list[dict[str, Any]] = [
        {"feature": "large", "usd": 0.1},
        {"feature": "small", "usd": 0.02, "a_minute": 12.0},
    ]
    several(plant, NOON + DAY_MS, 2, 2, *kinds)
    assert {frozenset(one.subject.items()) for one in plant.opened()} == {
        frozenset({"tenant": "acme", "feature": "small"}.items())}  # fmt: skip


def test_a_mix_that_shifts_to_dearer_calls_within_the_habit_is_no_price_rise(plant: Plant) -> None:
    several(plant, NOON, 5, 1, {"feature": "cheap", "usd": 0.001}, {"feature": "dear", "usd": 0.05, "a_minute": 0.7})
    kinds: list[dict[str, Any]] = [
        {"feature": "cheap", "usd": 0.001},
        {"feature": "dear", "usd": 0.05, "a_minute": 3.0},
    ]
    several(plant, NOON + 5 * HOUR_MS, 1, 2, *kinds)
    assert plant.opened() == []


def test_a_new_tenant_is_no_spike(plant: Plant) -> None:
    steady(plant, MIDNIGHT_MS, 30)
    several(plant, MIDNIGHT_MS + 30 * HOUR_MS, 4, 1, {}, {"tenant": "new", "a_minute": 6.0, "usd": 0.1})
    assert plant.opened() == []


def test_small_change_is_not_worth_a_page(plant: Plant) -> None:
    steady(plant, MIDNIGHT_MS, 36, usd=0.00001)
    steady(plant, NOON + DAY_MS, 2, usd=0.00001, a_minute=15.0, seed=2)
    assert plant.opened() == []


def test_one_expensive_call_is_no_spike(plant: Plant) -> None:
    steady(plant, MIDNIGHT_MS, 36)
    plant.call(NOON + DAY_MS, usd=4.0)
    steady(plant, NOON + DAY_MS, 2, seed=2)
    assert [one.rule for one in plant.opened()] == ["call.outlier"]


def test_a_spike_is_resolved_when_the_hour_is_ordinary_again_and_its_hours_are_no_baseline(plant: Plant) -> None:
    # The first Monday after a weekend has no baseline, so this begins on one.
    monday = MIDNIGHT_MS + 2 * DAY_MS
    noon = monday + DAY_MS + 12 * HOUR_MS
    steady(plant, monday, 36)
    steady(plant, noon, 2, a_minute=9.0, seed=2)
    steady(plant, noon + 2 * HOUR_MS, 22, seed=3)
    states = [(one.state, one.revision) for one in plant.anomalies]
    assert states[0] == ("open", 1) and states[-1][0] == "resolved"
    assert minutes_after(plant.anomalies[-1], noon + 2 * HOUR_MS) < 150
    # The same again a day later: yesterday's spike has taught nobody that this is normal.
    steady(plant, noon + DAY_MS, 2, a_minute=9.0, seed=4)
    assert len(plant.opened()) == 2


def test_a_short_spike_is_over_soon_and_what_comes_then_is_another(plant: Plant) -> None:
    """The window of two hours remembers the spike itself: it must not hold the finding of twenty minutes."""
    steady(plant, MIDNIGHT_MS, 36)
    noon = MIDNIGHT_MS + 36 * HOUR_MS
    steady(plant, noon, 0.5, a_minute=12.0, seed=2)
    steady(plant, noon + 0.5 * HOUR_MS, 2, seed=3)
    steady(plant, noon + 2.5 * HOUR_MS, 1.5, a_minute=9.0, seed=4)
    opened = plant.opened("cost.spike")
    assert [one.subject for one in opened] == 2 * [{"tenant": "acme"}]
    over = next(one for one in plant.anomalies if one.state == "resolved")
    assert minutes_after(over, noon + 0.5 * HOUR_MS) < 110


def test_a_price_rise_is_found_in_events_that_all_arrive_late_at_once() -> None:
    """A script tells thirty hours within a second, on a clock that is at now already."""
    plant = Plant(partitions=4)
    now_ms = NOON + 40 * HOUR_MS
    plant.until(now_ms)
    for age in range(30 * 60, 0, -1):
        at_ms = now_ms - age * MINUTE_MS
        partition = age % 4
        fact = plant.facts[partition].call(at_ms, usd=0.0075 if age > 120 else 0.01875, received_at=now_ms)
        plant.folds[partition].fold(fact)
        if age % 500 == 0:
            plant.flush()
    plant.flush()
    (finding,) = plant.opened()
    assert finding.subject == {"tenant": "acme"} and finding.ratio is not None and finding.ratio >= 1.8


@pytest.mark.parametrize("minute", [6, 36, 54])
def test_a_price_rise_is_found_by_late_hours_at_any_minute_of_the_hour(minute: int) -> None:
    """A backlog of nine hours comes in pieces while time goes on; calls of the last hour cost three times as much."""
    plant, dice = Plant(partitions=4), Random(5)
    now_ms = late_ms = NOON + minute * MINUTE_MS
    plant.until(now_ms)
    for number in range(3_000):
        if number % 250 == 249:
            late_ms += 4_000
            plant.until(late_ms)
            plant.flush()
        at_ms = now_ms - 9 * HOUR_MS * (1 - number / 3_000)
        usd = dice.uniform(0.002, 0.003) * (3 if at_ms > now_ms - HOUR_MS else 1)
        plant.folds[number % 4].fold(plant.facts[number % 4].call(at_ms, usd=usd, received_at=int(late_ms)))
    plant.until(now_ms + 10 * MINUTE_MS)
    plant.flush()
    assert [one.subject for one in plant.opened("cost.spike")] == [{"tenant": "acme"}]


# -- latency


def slow_kinds(factor: float) -> list[dict[str, Any]]:
    kinds: list[dict[str, Any]] = [
        {"tenant": tenant, "feature": feature, "provider": "anthropic", "model": model}
        for tenant in ("acme", "globex")
        for feature in ("chat", "search")
        for model in ("claude-sonnet", "claude-haiku")
    ]
    return [{**kind, "a_minute": 0.5, "latency_ms": 1_000.0 * factor} for kind in kinds] + [
        {"tenant": "acme", "feature": "chat", "a_minute": 1.0}]  # fmt: skip


def test_a_slow_provider_is_one_finding_that_names_its_models(plant: Plant) -> None:
    several(plant, NOON, 4, 1, *slow_kinds(1.0))
    several(plant, NOON + 4 * HOUR_MS, 1.5, 2, *slow_kinds(4.0))
    several(plant, NOON + 5.5 * HOUR_MS, 3, 3, *slow_kinds(1.0))
    (finding,) = plant.opened()
    assert finding.rule == "latency.p95"
    assert finding.subject["provider"] == "anthropic"
    assert 5 < minutes_after(finding, NOON + 4 * HOUR_MS) <= 20
    last = [one for one in plant.anomalies if one.state == "update"][-1]
    models = {"claude-sonnet", "claude-haiku"}
    features = {f"tenant {name} feature {each}" for name in ("acme", "globex") for each in ("chat", "search")}
    assert {finding.subject["model"], *last.details["also"]} == models | features
    assert plant.anomalies[-1].state == "resolved"


def test_a_feature_that_is_slow_by_itself_is_found_at_the_feature(plant: Plant) -> None:
    ordinary: list[dict[str, Any]] = [{"feature": "chat", "a_minute": 6.0}, {"feature": "search", "a_minute": 0.8}]
    several(plant, NOON, 4, 1, *ordinary)
    several(plant, NOON + 4 * HOUR_MS, 2, 2, ordinary[0], {**ordinary[1], "latency_ms": 9_000.0, "provider": None})
    assert [one.subject for one in plant.opened()] == [{"tenant": "acme", "feature": "search"}]


@pytest.mark.parametrize("slow_minutes", [3, 8])
def test_a_few_slow_minutes_are_no_finding(plant: Plant, slow_minutes: int) -> None:
    several(plant, NOON, 4, 1, *slow_kinds(1.0))
    several(plant, NOON + 4 * HOUR_MS, slow_minutes / 60, 2, *slow_kinds(5.0))
    several(plant, NOON + 4 * HOUR_MS + slow_minutes * MINUTE_MS, 1, 3, *slow_kinds(1.0))
    assert plant.opened() == []


def test_one_slow_call_in_a_quiet_night_is_no_finding(plant: Plant) -> None:
    steady(plant, NOON, 5)
    steady(plant, NOON + 5 * HOUR_MS, 3, a_minute=0.1, seed=2)
    plant.call(NOON + 8 * HOUR_MS + MINUTE_MS, latency_ms=60_000.0)
    plant.until(NOON + 9 * HOUR_MS)
    assert plant.opened() == []


# -- prices


def test_a_model_without_a_price_is_one_ticket(plant: Plant) -> None:
    steady(plant, NOON, 6, a_minute=1.0, usd=None, model="brand-new")
    (ticket,) = plant.anomalies
    assert (ticket.rule, ticket.tier, ticket.severity, ticket.state) == ("price.unknown", 2, "SEV3", "open")
    assert ticket.subject == {"provider": "openai", "model": "brand-new"}
    assert ticket.unit == "calls"


def test_a_missing_price_is_found_in_late_events_too(plant: Plant) -> None:
    plant.until(NOON + HOUR_MS)
    plant.call(NOON, usd=None)
    plant.until(NOON + HOUR_MS + 10 * MINUTE_MS)
    assert [one.rule for one in plant.opened()] == ["price.unknown"]


# -- history


def test_two_years_of_history_raise_no_page(plant: Plant) -> None:
    plant.until(NOON)
    for day in range(700):
        plant.facts[0].offset += 0
        at_ms = NOON - (700 - day) * DAY_MS
        plant.folds[0].fold(plant.facts[0].call(at_ms, backfill=True, usd=None if day % 2 else 50.0))
    plant.until(NOON + HOUR_MS)
    assert plant.anomalies == [] and plant.windows == []


# -- rules that change


def test_a_rule_that_is_switched_off_resolves_its_findings_from_then_on() -> None:
    flushes_before = (4 * HOUR_MS + 40 * MINUTE_MS) // (5 * MINUTE_MS)
    off = Control("rules", version=1, body={"text": '["latency.p95"]\nenabled = false'})
    plant = Plant(flush_ms=5 * MINUTE_MS, versions=Versions([(flushes_before * 200 - EFFECT_DELAY_MS, off)]))
    several(plant, NOON, 4, 1, *slow_kinds(1.0))
    several(plant, NOON + 4 * HOUR_MS, 2, 2, *slow_kinds(4.0))
    assert [one.state for one in plant.anomalies if one.state != "update"] == ["open", "resolved"]
    assert "switched off" in plant.anomalies[-1].why
    assert 30 < minutes_after(plant.anomalies[-1], NOON + 4 * HOUR_MS) <= 50


def test_one_tenant_may_have_bounds_of_its_own() -> None:
    plant = Plant(flush_ms=5 * MINUTE_MS, versions=always('[tenants.acme."cost.spike"]\nshadow = true'))
    kinds: list[dict[str, Any]] = [{"tenant": "acme"}, {"tenant": "globex"}]
    several(plant, MIDNIGHT_MS, 36, 1, *kinds)
    several(plant, NOON + DAY_MS, 1, 2, *[{**kind, "a_minute": 9.0} for kind in kinds])
    assert {(one.subject["tenant"], one.shadow) for one in plant.opened("cost")} == {("acme", True), ("globex", False)}


# -- retrieval


def retrievals(plant: Plant, start_ms: float, hours: float, a_minute: float, missed: float) -> None:
    """Calls that each want ten documents and find all of them, or, at regular intervals, none."""
    count, due = int(hours * 60 * a_minute), 0.0
    for number in range(count):
        due += missed
        hits = 10 if due < 1 else 0
        due %= 1
        plant.call(start_ms + number / a_minute * MINUTE_MS, retrieval_requested=10, retrieval_hits=hits)


def test_documents_that_one_retrieval_misses_together_are_one_miss(plant: Plant) -> None:
    retrievals(plant, MIDNIGHT_MS, 36, 1.0, 0.05)
    retrievals(plant, MIDNIGHT_MS + 36 * HOUR_MS, 1, 0.35, 0.24)
    retrievals(plant, MIDNIGHT_MS + 37 * HOUR_MS, 3, 1.0, 0.05)
    assert not plant.opened("retrieval.hit_rate")


def test_retrieval_that_finds_less_for_an_hour_is_a_ticket(plant: Plant) -> None:
    retrievals(plant, MIDNIGHT_MS, 36, 1.0, 0.05)
    retrievals(plant, MIDNIGHT_MS + 36 * HOUR_MS, 1, 1.0, 0.4)
    retrievals(plant, MIDNIGHT_MS + 37 * HOUR_MS, 3, 1.0, 0.05)
    (found,) = plant.opened("retrieval.hit_rate")
    assert minutes_after(found, MIDNIGHT_MS + 36 * HOUR_MS) <= 60
