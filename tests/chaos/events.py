"""The events that a chaos run sends: each a function of its number, so that everything that comes of them is known.

Every hundredth run goes in circles (one `loop.runaway` each), one event in 500 is unusable (a counted dead letter), one
in eight has a little text. Event time goes on with the number and ends in the past, so that windows depend on nothing
but the events.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

# Event time from one event to the next.
STEP_MS = 20
RUN = 10
LOOP_EVERY = 100  # runs
BAD_EVERY = 500
TENANTS = 4
FEATURES = 3


@dataclass(frozen=True)
class Event:
    """One record for `calls.raw`; `is_bad`: it must become a dead letter; `loops`: its run goes in circles."""

    number: int
    key: bytes
    value: bytes
    is_bad: bool
    loops: bool


def cost_nano_usd(number: int) -> int:
    """What a call costs: reported by the provider, so that no price book is needed to know the sums."""
    return 1_000_000 + number % 997 * 1_000


def of(number: int) -> tuple[str, str]:
    """Tenant and feature of an event: the same for all of a run."""
    run = number // RUN
    return f"tenant-{run % TENANTS}", f"feature-{run // TENANTS % FEATURES}"


def is_bad(number: int) -> bool:
    """Whether an event is unusable."""
    return number % BAD_EVERY == BAD_EVERY - 1 and not loops(number)


def loops(number: int) -> bool:
    """Whether an event belongs to a run that goes in circles."""
    return number // RUN % LOOP_EVERY == 7


def event(number: int, begin_ms: int) -> Event:
    """The event with this number; `begin_ms` is the event time of number 0."""
    tenant, feature = of(number)
    run = number // RUN
    key = f"{tenant}\x1frun-{run}".encode()
    if is_bad(number):
        return Event(number, key, b'{"tenant":"%s","n":%d' % (tenant.encode(), number), True, False)
    value: dict[str, object] = {
        "id": f"{number:032x}",
        "kind": "call",
        "ts": begin_ms + number * STEP_MS,
        "tenant": tenant,
        "feature": feature,
        "run": f"run-{run}",
        "step": number,
        "provider": "openai",
        "model": "gpt-4o",
        "usage": {"input": 100 + number % 91, "output": 10 + number % 17},
        "latency_ms": 100.0 + number % 1_013,
        "cost_usd": cost_nano_usd(number) / 1e9,
        "status": "error" if number % 211 == 0 else "ok",
    }
    if loops(number):
        value["status"] = "ok"
        value["tool_calls"] = [{"name": "find", "arguments": {"id": 17}, "result": "not found"}]
    elif number % 8 == 0:
        value["input"] = [{"role": "user", "content": f"Where is order {number}?"}]
    return Event(number, key, orjson.dumps(value), False, loops(number))


@dataclass(frozen=True)
class Expected:
    """What must come of the events, a further copy of some of them included.

    Attributes:
        calls: Copies of each usable event, by number.
        bad: Unusable records.
        sums: (tenant, feature): calls, cost in nano-dollars, input tokens, output tokens.
        loops: Runs that go in circles.
    """

    calls: Counter[int]
    bad: int
    sums: dict[tuple[str, str], tuple[int, int, int, int]]
    loops: int


def expected(count: int, again: Iterable[int]) -> Expected:
    """For events 0 to `count` - 1, once each, and `again` once more each time it is named."""
    calls: Counter[int] = Counter()
    sums: dict[tuple[str, str], list[int]] = {}
    bad = 0
    circling = set()
    for numbers in (range(count), again):
        for number in numbers:
            if is_bad(number):
                bad += 1
                continue
            calls[number] += 1
            if loops(number):
                circling.add(number // RUN)
            found = sums.setdefault(of(number), [0, 0, 0, 0])
            found[0] += 1
            found[1] += cost_nano_usd(number)
            found[2] += 100 + number % 91
            found[3] += 10 + number % 17
    return Expected(calls, bad, {name: (a, b, c, d) for name, (a, b, c, d) in sums.items()}, len(circling))
