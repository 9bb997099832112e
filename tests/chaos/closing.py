"""The end of a run in event time: ticks that close every window, and a heartbeat behind them, so that none waits."""

from __future__ import annotations

import time

import orjson
from confluent_kafka import Producer

from tests.chaos import events
from tests.chaos.house import House
from tests.installation import wait_for

MINUTE_MS = 60_000
# After the last event; time goes on in steps, as it does with a tick a second, only faster.
STEPS_MS = (MINUTE_MS, 20 * MINUTE_MS, 80 * MINUTE_MS, 180 * MINUTE_MS, 600 * MINUTE_MS, 602 * MINUTE_MS)
QUIET_LOOKS = 4


def close_windows(house: House, begin_ms: int, count: int) -> int:
    """Send the ticks and a heartbeat to every partition; returns how many ticks each got. A tick gives no row."""
    settings = house.direct
    producer = Producer(settings.librdkafka(acks="all", log_level=0))
    topic, last_ms = settings.topic("calls.raw"), begin_ms + count * events.STEP_MS
    steps = [*(last_ms + step for step in STEPS_MS)]
    for ts in steps:
        _at_rest(house)
        for partition in range(settings.partitions):
            producer.produce(topic, orjson.dumps({"tenant": "_tick", "kind": "tick", "ts": ts}), partition=partition)
        assert producer.flush(60) == 0
        time.sleep(1.0)
    for partition in range(settings.partitions):
        beat = {"tenant": "tenant-0", "kind": "heartbeat", "ts": steps[-1]}
        producer.produce(topic, orjson.dumps(beat), partition=partition)
    assert producer.flush(60) == 0
    return len(steps)


def _at_rest(house: House) -> None:
    """Wait until the meters have said all: a jump of time that they see at once would pass windows by."""
    ends: list[int] = []

    def is_quiet() -> bool:
        ends.append(house.ends("partials")[0])
        return len(ends) >= QUIET_LOOKS and len(set(ends[-QUIET_LOOKS:])) == 1

    wait_for("the meters to have said all", is_quiet, 300, 0.4)
