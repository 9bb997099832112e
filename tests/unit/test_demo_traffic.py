"""A played day: keeps the event contract, repeats itself byte for byte, and holds what was planted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from demo.scenario import DAY_MS, Incident, Scenario, draw
from demo.traffic import day
from demo.wire import Writer, tick
from pipeline.intake.decode import decode, unknown_fields
from pipeline.pricing import PriceBook
from schemas.event import Event

MIDNIGHT_MS = 1_780_012_800_000
RECEIVED_MS = MIDNIGHT_MS + 2 * DAY_MS


def first(kind: str, form: str = "") -> Scenario:
    """The first scenario with an incident of a kind."""
    return next(
        scenario
        for scenario in map(draw, range(200))
        if any(one.kind == kind and (not form or one.form == form) for one in scenario.incidents)
    )


def wire(events: list[dict[str, Any]]) -> list[bytes]:
    writer = Writer()
    return [b"".join((m.key, m.value, *(value for _, value in m.headers))) for m in map(writer.message, events)]


def decoded(events: list[dict[str, Any]]) -> list[Event]:
    writer = Writer()
    return [decode(writer.message(event).value, RECEIVED_MS) for event in events]


@pytest.fixture(scope="module")
def played() -> list[dict[str, Any]]:
    return day(draw(3), MIDNIGHT_MS)


def test_the_same_seed_and_midnight_are_the_same_bytes(played: list[dict[str, Any]]) -> None:
    assert wire(day(draw(3), MIDNIGHT_MS)) == wire(played)


def test_on_another_date_only_times_and_ids_differ(played: list[dict[str, Any]]) -> None:
    later = day(draw(3), MIDNIGHT_MS + 5 * DAY_MS)

    def plain(event: dict[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in event.items() if name not in ("id", "ts", "feedback", "evaluation")}
        return {**rest, "at": event["ts"] % DAY_MS}

    assert [plain(event) for event in later] == [plain(event) for event in played]


def test_every_event_keeps_the_contract(played: list[dict[str, Any]]) -> None:
    writer = Writer()
    for event in played:
        value = writer.message(event).value
        decode(value, RECEIVED_MS)
        assert unknown_fields(value) == 0
    assert decode(tick(MIDNIGHT_MS), RECEIVED_MS).kind == "tick"


def test_events_come_in_order_of_time_within_the_day_and_none_is_history(played: list[dict[str, Any]]) -> None:
    times = [event["ts"] for event in played]
    assert times == sorted(times)
    assert times[0] >= MIDNIGHT_MS
    assert times[-1] < MIDNIGHT_MS + DAY_MS
    assert not any("backfill" in event for event in played)
    assert len({event["id"] for event in played}) == len(played)


def test_a_day_has_all_that_real_traffic_has(played: list[dict[str, Any]]) -> None:
    calls = [event for event in played if event["kind"] == "call"]
    kinds = Counter(event["kind"] for event in played)
    assert kinds["evaluation"] > 20
    assert kinds["feedback"] > 20
    statuses = Counter(call["status"] for call in calls)
    assert {"ok", "error", "refused", "rate_limited", "timeout"} <= set(statuses)
    assert 0.005 < 1 - statuses["ok"] / len(calls) < 0.04
    assert {call["content"] for call in calls} >= {"full", "none"}
    assert any(call.get("ttft_ms") for call in calls)
    assert any(call.get("usage", {}).get("cached") for call in calls)
    assert any(call.get("retrieval") for call in calls)
    assert all("@" in call["user"] for call in calls if "user" in call)
    assert sum("user" in call for call in calls) > len(calls) / 2


def test_prompts_of_a_talk_grow_turn_by_turn(played: list[dict[str, Any]]) -> None:
    talks: dict[str, list[int]] = {}
    for event in played:
        if event["kind"] == "call" and event["content"] == "full" and event.get("session") and event.get("streaming"):
            talks.setdefault(event["session"], []).append(len(event["input"]))
    longer = [sizes for sizes in talks.values() if len(sizes) > 2]
    assert longer
    assert all(sizes == sorted(sizes) for sizes in longer)


def test_retries_after_a_rate_limit_back_off_and_end(played: list[dict[str, Any]]) -> None:
    waits = [event["error"]["retry_after_s"] for event in played if event.get("status") == "rate_limited"]
    assert min(waits) >= 1.0
    answered = [event for event in played if event.get("retries") and event["status"] != "rate_limited"]
    assert answered


def test_ordinary_texts_hold_personal_data(played: list[dict[str, Any]]) -> None:
    texts = [
        message["content"]
        for event in played
        if event["kind"] == "call" and event["content"] == "full"
        for message in event["input"]
        if isinstance(message.get("content"), str)
    ]
    assert sum("@" in text for text in texts) > 20
    assert len(set(texts)) < len(texts) / 2  # histories repeat


def test_a_day_before_is_ordinary_and_carries_no_text() -> None:
    scenario = first("cost")
    before = day(scenario, MIDNIGHT_MS, before=1)
    assert all(MIDNIGHT_MS - DAY_MS <= event["ts"] < MIDNIGHT_MS for event in before)
    assert all(event["content"] == "none" for event in before)
    assert {event["tenant"] for event in before} == {tenant.name for tenant in scenario.tenants}
    assert not {event["id"] for event in before} & {event["id"] for event in day(scenario, MIDNIGHT_MS)}
    looped = first("loop")
    run = next(one.run for one in looped.incidents if one.kind == "loop")
    assert not any(event.get("run") == run for event in day(looped, MIDNIGHT_MS, before=1))


@pytest.mark.parametrize("form", ["same", "alternating", "volatile"])
def test_a_planted_loop_is_dozens_of_calls_within_minutes(form: str) -> None:
    scenario = first("loop", form)
    incident = next(one for one in scenario.incidents if one.kind == "loop")
    calls = [event for event in day(scenario, MIDNIGHT_MS) if event.get("run") == incident.run]
    assert len(calls) >= 36
    times = [event["ts"] - MIDNIGHT_MS for event in calls]
    assert incident.start_ms <= times[0]
    assert times[-1] < incident.end_ms
    asked = {str(event["tool_calls"][0]["arguments"]) for event in calls}
    assert len(asked) == (2 if form == "alternating" else 1)


def test_a_planted_cost_doubles_the_tenant_over_several_features_and_nobody_else() -> None:
    scenario = first("cost")
    incident = next(one for one in scenario.incidents if one.kind == "cost")
    risen, quiet = (day(replace(scenario, incidents=planted), MIDNIGHT_MS) for planted in ((incident,), ()))
    with_it, without = (_costs(events, incident) for events in (risen, quiet))
    assert 2.0 < sum(with_it.values()) / sum(without.values()) < 4.5
    assert sum(with_it[feature] > 1.5 * without[feature] for feature in without) >= 2
    # The other tenants' days are the same, event by event.
    assert [e for e in risen if e["tenant"] != incident.tenant] == [e for e in quiet if e["tenant"] != incident.tenant]


def test_a_planted_slow_provider_is_slow_for_all_tenants_that_use_it() -> None:
    scenario = first("slow")
    incident = next(one for one in scenario.incidents if one.kind == "slow")
    slow, quiet = (
        {event["id"]: event for event in day(one, MIDNIGHT_MS) if event.get("model") == incident.model}
        for one in (scenario, replace(scenario, incidents=()))
    )
    inside = [
        (event["latency_ms"], quiet[name]["latency_ms"])
        for name, event in slow.items()
        if name in quiet and incident.start_ms <= event["ts"] - MIDNIGHT_MS < incident.end_ms
    ]
    assert inside
    ratios = sorted(now / before for now, before in inside if before)
    assert 2.5 < ratios[len(ratios) // 2] < 3.6


def _costs(events: list[dict[str, Any]], incident: Incident) -> Counter[str]:
    """Nano-dollars by feature, of the incident's tenant while it lasts."""
    book = PriceBook()
    costs: Counter[str] = Counter()
    for event in decoded([event for event in events if event["tenant"] == incident.tenant and "usage" in event]):
        assert event.ts is not None
        if incident.start_ms <= event.ts - MIDNIGHT_MS < incident.end_ms:
            price = book.price(event.provider, event.model, None, event.usage, None, event.ts)
            costs[event.feature or ""] += price.cost_nano_usd or 0
    return costs
