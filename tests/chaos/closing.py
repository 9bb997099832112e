"""The end of a run in event time: ticks that close every window, and a heartbeat behind them, so that none waits."""

from __future__ import annotations

import time

import orjson
from confluent_kafka import Producer

from pipeline.settings import Settings
from tests.chaos import events

MINUTE_MS = 60_000
# After the last event; time goes on in steps, as it does with a tick a second, only faster.
STEPS_MS = (MINUTE_MS, 20 * MINUTE_MS, 80 * MINUTE_MS, 180 * MINUTE_MS, 600 * MINUTE_MS, 602 * MINUTE_MS)
PAUSE_S = 1.0


def close_windows(settings: Settings, begin_ms: int, count: int) -> int:
    """Send the ticks and a heartbeat to every partition; returns how many ticks each got. A tick gives no row."""
    producer = Producer(settings.librdkafka(acks="all", log_level=0))
    topic, last_ms = settings.topic("calls.raw"), begin_ms + count * events.STEP_MS
    steps = [*(last_ms + step for step in STEPS_MS)]
    for ts in steps:
        for partition in range(settings.partitions):
            producer.produce(topic, orjson.dumps({"tenant": "_tick", "kind": "tick", "ts": ts}), partition=partition)
        assert producer.flush(60) == 0
        time.sleep(PAUSE_S)
    for partition in range(settings.partitions):
        beat = {"tenant": "tenant-0", "kind": "heartbeat", "ts": steps[-1]}
        producer.produce(topic, orjson.dumps(beat), partition=partition)
    assert producer.flush(60) == 0
    return len(steps)
