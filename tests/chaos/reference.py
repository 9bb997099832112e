"""The same events through the same stages without a fault: what windows and findings must be."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable

from confluent_kafka import Producer

from tests.chaos import events
from tests.chaos.closing import close_windows
from tests.chaos.house import House, names, temporary
from tests.chaos.judge import Windows, windows_of
from tests.chaos.player import Played
from tests.installation import wait_for

STAGES = ("measure", "meter", "judge", "act")


def play(played: Played, say: Callable[[str], None], deadline_s: float = 1_500.0) -> Windows:
    """Windows of a run without faults; each event as often as it was sent, its copies beside it."""
    folder = temporary()
    house = House(folder, small_disk=False)
    try:
        house.start()
        begun = time.monotonic()
        house.workers.start(*names(STAGES))
        _send(house, played)
        total = sum(house.ends("calls.raw").values())
        wait_for(
            "all facts of the run without faults", lambda: sum(house.ends("facts").values()) >= total, deadline_s, 0.5
        )
        close_windows(house, played.begin_ms, played.count)
        hour = f"SELECT sum(calls) FROM {house.settings.database}.windows FINAL WHERE dimension = 'tenant' AND "
        client, due = house.clickhouse(), sum(events.expected(played.count, played.again).calls.values())
        wait_for(
            "all windows of the run without faults",
            lambda: client.query(f"{hour} window_ms = 3600000").result_rows[0][0] >= due,
            deadline_s,
            0.5,
        )
        say(f"run without faults: {total} records in {time.monotonic() - begun:.0f} s")
        return windows_of(house)
    finally:
        house.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _send(house: House, played: Played) -> None:
    settings, again = house.direct, Counter(played.again)
    producer = Producer(
        settings.librdkafka(
            **{"partitioner": "murmur2_random", "enable.idempotence": True, "linger.ms": 10, "compression.type": "lz4"}
        )
    )
    topic = settings.topic("calls.raw")

    def produce(value: bytes, key: bytes | None) -> None:
        while True:
            try:
                return producer.produce(topic, value, key)
            except BufferError:
                producer.poll(0.05)

    for number in range(played.count):
        one = events.event(number, played.begin_ms)
        for _ in range(1 + again[number]):
            produce(one.value, one.key)
    assert producer.flush(120) == 0
