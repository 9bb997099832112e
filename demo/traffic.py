"""A scenario to all events of its day, in order of time. Pure: the same scenario and midnight give the same events."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from random import Random
from typing import Final

from demo import runs, talks
from demo.catalogue import CURVES, Work
from demo.desk import Body, Desk
from demo.people import Person, people
from demo.scenario import CALLS_A_UNIT, DAY_MS, MINUTE_MS, Feature, Incident, Scenario, Tenant, activity

PERSONS: Final = 60
MINUTES: Final = DAY_MS // MINUTE_MS

UNITS: Final[dict[Work, Callable[[Desk, float], Iterator[Body]]]] = {
    "chat": talks.chat,
    "extract": talks.extract,
    "search": talks.search,
    "batch": talks.batch,
    "agent": runs.agent,
}


def day(scenario: Scenario, midnight_ms: int, *, before: int = 0) -> list[Body]:
    """The events of the played day, or of one of the days before it.

    Args:
        scenario: What is played.
        midnight_ms: Beginning of the played day, milliseconds since 1970.
        before: How many days before it; such a day is ordinary, has its own chance, and carries no text.

    Returns:
        Events in order of `ts`; what would go on after the end of the day is left out.
    """
    begin_ms = midnight_ms - before * DAY_MS
    incidents = scenario.incidents if before == 0 else ()
    events: list[Body] = []
    for tenant in scenario.tenants:
        persons = people(Random(f"people {scenario.seed} {tenant.name}"), PERSONS)
        for feature in tenant.features:
            events += _feature_day(scenario.seed, tenant, feature, persons, incidents, begin_ms, before)
    events = [event for event in events if event["ts"] < begin_ms + DAY_MS]
    events.sort(key=lambda event: (event["ts"], event["id"]))
    return events


def _feature_day(
    seed: int, tenant: Tenant, feature: Feature, persons: tuple[Person, ...], incidents: tuple[Incident, ...],
    begin_ms: int, before: int,
) -> Iterator[Body]:  # fmt: skip
    rng = Random(f"day {seed} {before} {tenant.name} {feature.name}")
    desk = Desk(tenant, feature, incidents, begin_ms, rng, persons, with_text=before == 0)
    unit = UNITS[feature.work]
    for at_ms in _starts(rng, tenant, feature, incidents):
        yield from unit(desk, at_ms)
    for incident in incidents:
        if incident.kind == "loop" and (incident.tenant, incident.feature) == (tenant.name, feature.name):
            # A chance of its own, so that the loop takes nothing from the ordinary day.
            yield from runs.loop(Desk(tenant, feature, incidents, begin_ms, Random(incident.run), persons), incident)


def _starts(rng: Random, tenant: Tenant, feature: Feature, incidents: tuple[Incident, ...]) -> Iterator[float]:
    """When units of work begin (ms of the day): a Poisson process along the tenant's curve.

    Unit-rate arrivals are mapped through the inverse of the cumulative rate, minute by minute.
    """
    units = tenant.calls_a_day * feature.share / CALLS_A_UNIT[feature.work]
    a_minute = units / sum(CURVES[tenant.shape]) / 60
    rates = [
        a_minute * activity(tenant.shape, minute * MINUTE_MS) * _busier(tenant, incidents, minute * MINUTE_MS)
        for minute in range(MINUTES)
    ]
    reached = list(accumulate(rates))
    mark = rng.expovariate(1)
    while mark < reached[-1]:
        minute = bisect_left(reached, mark)
        into = (mark - (reached[minute] - rates[minute])) / rates[minute]
        yield (minute + into) * MINUTE_MS
        mark += rng.expovariate(1)


def _busier(tenant: Tenant, incidents: tuple[Incident, ...], at_ms: int) -> float:
    for one in incidents:
        if one.kind == "cost" and one.tenant == tenant.name and one.start_ms <= at_ms < one.end_ms:
            return one.calls_factor
    return 1.0
