"""Part (d) of `bench detection`: what real users of one coding tool paid, with and without incidents.

The tool's users are taken for one tenant for five months: a few hundred calls on some days, none on others, at any
hour, with models that change. As it is, everything that pages is counted as a page, for ours and for the literal rule
of the contract (the cost of an hour over twice the hourly mean of the last seven days). For recall, incidents are
planted: the calls of 20 minutes to 6 hours become 2.1 to 10 times as dear, from an hour with at least five calls on;
hard negatives are 1.1 to 1.4 times. No number was chosen by this material, but one idea
came from it: that the usual cost of a call may be a week old where a day has few calls.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from bench.detection.feed import Spent, judged
from bench.detection.naive import BOUNDS, told
from bench.detection.play import Played, Series, Told
from bench.detection.score import add, score
from bench.detection.truth import Event, money_size
from bench.figures import Report
from bench.loops_material import SHARED
from pipeline.detection.registry import BY_NAME

FILE: Final = SHARED.parent / "traffic" / "aider" / "aider_analytics_before_2025-04-01.jsonl"
TENANT: Final = "aider"
RULE: Final = "cost.spike"
DAY: Final = 1_440
# 2024-11-01: before it there are two days with calls in three months.
FIRST: Final = 20_028 * DAY
SEEDS: Final = (1, 2)
LEAST_CALLS: Final = 5
ACTIVE_DAYS: Final = 30

Calls = dict[int, list[Spent]]


def figures(quick: bool = False) -> Report:
    """Every figure of part (d); empty, with a note, without the material."""
    report = Report("detection")
    if not FILE.is_file():
        report.notes.append("aider: the traffic is not beside this checkout (../shared/data/traffic); not measured")
        return report
    calls = _read(FILE)
    last = (max(calls) // DAY + 1) * DAY
    if quick:
        last = FIRST + 45 * DAY
        calls = {minute: found for minute, found in calls.items() if minute < last}
    ours, series = judged(calls, FIRST, last, step=1)
    _pages(report, calls, ours, series)
    worlds, naive = [], {name: list[Played]() for name in BOUNDS}
    for seed in SEEDS[: 1 if quick else None]:
        planted, events = _plant(calls, last, np.random.default_rng([seed, 11]))
        found, theirs = judged(planted, FIRST, last, ("cost.spike", "cost.daily"), step=1)
        days = (last - FIRST) // DAY
        worlds.append(Played(f"aider {seed}", 1, days, events, found, theirs))
        for name in BOUNDS:
            naive[name].append(Played("", 1, days, events, list(told(theirs, name, RULE)), theirs))
    add(report, f"{RULE}.aider", score(worlds, RULE))
    large = [_only_large(one) for one in worlds]
    add(report, f"{RULE}.aider_dollar", score(large, RULE))
    for name, played in naive.items():
        add(report, f"{RULE}.aider", score(played, RULE), f"naive.{name}.")
    report.notes.append(
        f"aider: {sum(map(len, calls.values())):,} calls on {len({minute // DAY for minute in calls})} active days, "
        f"{len(worlds)} times with incidents; `aider_dollar` are those that cost a dollar or more; months of false "
        "pages are of 30 days, active or not; what the traffic itself holds counts as false"
    )
    return report


def _read(path: Path) -> Calls:
    found: Calls = {}
    with path.open() as file:
        for line in file:
            event = json.loads(line)
            what = event["properties"]
            minute = int(event["time"]) // 60
            if event["event"] != "message_send" or minute < FIRST or not what.get("main_model"):
                continue
            provider, _, model = what["main_model"].rpartition("/")
            cost = what.get("cost")
            nano = None if cost is None else round(1e9 * cost)
            found.setdefault(minute, []).append(Spent(TENANT, "code", (provider or "direct", model), nano))
    return found


def _pages(report: Report, calls: Calls, ours: list[Told], series: Series) -> None:
    """Pages for 30 active days, side by side."""
    active = len({minute // DAY for minute in calls}) / ACTIVE_DAYS
    cost = [one for one in ours if one.rule in ("cost.spike", "cost.daily")]
    pages = [one for one in ours if BY_NAME[one.rule].recipe.tier == 1]
    report.add("aider.pages_cost_per_30_active_days", [len(cost) / active], "1")
    report.add("aider.pages_all_rules_per_30_active_days", [len(pages) / active], "1")
    report.add("aider.tickets_per_30_active_days", [(len(ours) - len(pages)) / active], "1")
    for name in BOUNDS:
        report.add(
            f"naive.{name}.aider.pages_cost_per_30_active_days", [len(list(told(series, name, RULE))) / active], "1"
        )
    by_rule = Counter(one.rule for one in ours)
    report.notes.append(
        f"aider as it is, told by rule: {dict(by_rule)}; `naive.twice` is the contract's rule, literally"
    )


def _plant(calls: Calls, last: int, dice: np.random.Generator) -> tuple[Calls, list[Event]]:
    """Incidents and hard negatives in turn, some two days apart."""
    planted, events = dict(calls), list[Event]()
    at, positive = FIRST + 8 * DAY, True
    busy = Counter[int]()
    for minute, found in calls.items():
        busy[minute // 60] += len(found)
    while True:
        hour = next((h for h in range(at // 60 + 1, last // 60 - 8) if busy[h] >= LEAST_CALLS), None)
        if hour is None:
            return planted, events
        start = hour * 60 + int(dice.integers(0, 30))
        end = start + round(float(np.exp(dice.uniform(np.log(20), np.log(360)))))
        size = money_size(dice) if positive else float(dice.uniform(1.1, 1.4))
        excess = 0
        for minute in range(start, end):
            if minute in calls:
                raised = [one._replace(nano_usd=one.nano_usd and round(size * one.nano_usd)) for one in calls[minute]]
                excess += sum((one.nano_usd or 0) for one in raised) - sum((one.nano_usd or 0) for one in calls[minute])
                planted[minute] = raised
        if excess or not positive:
            events.append(
                Event(
                    RULE, positive, start - FIRST, end - FIRST, TENANT, size=size, kind="price", excess_usd=excess / 1e9
                )
            )
            positive = not positive
        at = end + int(dice.uniform(20 * 60, 40 * 60))


def _only_large(world: Played) -> Played:
    """The same without the incidents that cost less than a dollar; what was told of those is not held against it."""
    small = [one for one in world.events if one.positive and one.excess_usd < 1.0]
    told = [one for one in world.told if not any(event.start <= one.minute <= event.end + 120 for event in small)]
    events = [one for one in world.events if not one.positive or one.excess_usd >= 1.0]
    return Played(world.name, world.tenants, world.days, events, told, world.series)
