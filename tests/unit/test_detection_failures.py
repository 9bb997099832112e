"""Failed calls: an outage is found, a request that waits for a rate limit and is answered is no failure."""

from __future__ import annotations

from random import Random

import pytest

from tests.streams import DAY_MS, HOUR_MS, MIDNIGHT_MS, MINUTE_MS, Plant

NOON = MIDNIGHT_MS + DAY_MS + 12 * HOUR_MS


def quiet(plant: Plant, start_ms: float, hours: float) -> None:
    """A call every other minute, now and then one that fails."""
    rng, at_ms = Random(1), start_ms
    while (at_ms := at_ms + rng.expovariate(0.5) * MINUTE_MS) < start_ms + hours * HOUR_MS:
        plant.call(at_ms, partition=0, run=f"r{at_ms}", status="error" if rng.random() < 0.01 else "ok")


def refused(plant: Plant, start_ms: float, minutes: int, *, waits_s: float, last: str) -> None:
    """Beside the usual calls a request every four minutes that is refused three times; told to wait two seconds."""
    for minute in range(minutes):
        at_ms = start_ms + minute * MINUTE_MS
        if minute % 2:
            plant.call(at_ms, partition=0, run=f"usual{minute}")
        if minute % 4:
            continue
        for attempt in range(3):
            plant.call(
                at_ms, partition=0, run=f"refused{minute}", status="rate_limited", retry_after_s=2.0, retries=attempt
            )
            at_ms += waits_s * 1_000
        plant.call(at_ms, partition=0, run=f"refused{minute}", status=last)
    plant.until(start_ms + minutes * MINUTE_MS)
    plant.flush()


@pytest.mark.parametrize(
    ("waits_s", "last", "is_found"),
    [(2.5, "ok", False), (2.5, "rate_limited", True), (2.5, "error", True), (0.2, "ok", True)],
    ids=["waits and is answered", "waits in vain", "waits and fails", "does not wait"],
)
def test_a_request_that_waited_is_judged_by_its_last_attempt(waits_s: float, last: str, is_found: bool) -> None:
    plant = Plant()
    quiet(plant, MIDNIGHT_MS, 36)
    refused(plant, NOON, 60, waits_s=waits_s, last=last)
    assert bool(plant.opened("error.rate")) == is_found


def test_the_finding_says_how_many_waited() -> None:
    plant = Plant()
    quiet(plant, MIDNIGHT_MS, 36)
    refused(plant, NOON, 60, waits_s=2.5, last="error")
    found = plant.opened("error.rate")[0]
    assert found.details["waited"] == 3 * found.details["failed"]
    assert "more waited for a rate limit" in found.why
