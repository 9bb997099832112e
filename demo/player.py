"""Plays events into Kafka on a simulated clock: in order of time, at a pace, never far ahead of the pipeline.

One producer sends everything, so that each partition holds its events in order of their time; the ticks that move
watermarks on while a partition is silent are sent by the same clock, to every partition. Knows Kafka, but no ClickHouse
and nothing of what is planted.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from demo.desk import Body
from demo.scenario import MINUTE_MS
from demo.wire import PARTITIONER, Writer, tick

FLUSH_S: Final = 30.0
# How often the clock is compared with the wall and the pipeline with the bound.
BREATH_S: Final = 0.01
LOOK_S: Final = 0.25


class Player:
    """One producer and its clock.

    Args:
        settings: librdkafka settings that reach the broker.
        topic: Physical name of the raw topic.
        partitions: How many it has.
        worked_off: How many records of the topic the pipeline has worked off by now.
        most_ahead: Records that may be sent and not worked off; beyond it the clock stands still.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        partitions: int,
        worked_off: Callable[[], int],
        most_ahead: int = 4_000,
    ) -> None:
        self._producer = Producer(
            {**settings, "acks": "all", "enable.idempotence": True, "partitioner": PARTITIONER, "linger.ms": 10}
        )
        self._topic = topic
        self._partitions = partitions
        self._worked_off = worked_off
        self._most_ahead = most_ahead
        self._writer = Writer()
        self._moments: list[tuple[int, float]] = []
        self.stopped = threading.Event()
        self.now_ms = 0
        self.events = 0
        self.records = 0
        self.waited_s = 0.0
        self._failed: str | None = None

    def play(self, events: Sequence[Body], begin_ms: int, end_ms: int, seconds: float, tick_minutes: int = 1) -> None:
        """Play from one moment to another in about so many seconds; returns early when `stopped` is set.

        Args:
            events: In order of `ts`, all within the two moments.
            begin_ms: Milliseconds since 1970.
            end_ms: Likewise.
            seconds: Wall time for it when nothing has to be waited for.
            tick_minutes: Simulated minutes between two ticks.

        Raises:
            KafkaException: A record was refused.
        """
        speed = (end_ms - begin_ms) / seconds / 1_000
        begun_s = time.monotonic()
        looked_s = begun_s
        steps = _steps(events, begin_ms, end_ms, tick_minutes * MINUTE_MS)
        for ts_ms, event in steps:
            while True:
                now_s = time.monotonic()
                if now_s - looked_s >= LOOK_S:
                    begun_s += self._hold()
                    looked_s = now_s = time.monotonic()
                ahead_s = (ts_ms - begin_ms) / 1_000 / speed - (now_s - begun_s)
                if ahead_s <= 0 or self.stopped.is_set():
                    break
                self._producer.poll(min(ahead_s, BREATH_S))
            if self.stopped.is_set():
                return
            self._send(ts_ms, event)
        self._flush()

    def sent_s(self, ts_ms: int) -> float:
        """When a simulated moment was played, on the monotonic clock."""
        place = bisect_right(self._moments, (ts_ms, float("inf")))
        return self._moments[max(place - 1, 0)][1]

    def _send(self, ts_ms: int, event: Body | None) -> None:
        self.now_ms = ts_ms
        if event is None:
            self._moments.append((ts_ms, time.monotonic()))
            for partition in range(self._partitions):
                self._produce(None, tick(ts_ms), None, partition)
            return
        message = self._writer.message(event)
        self._produce(message.key, message.value, message.headers, -1)
        self.events += 1

    def _produce(
        self, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]] | None, partition: int
    ) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key, partition, headers=headers, on_delivery=self._on_delivery
                )
                break
            except BufferError:
                self._producer.poll(0.05)
        self.records += 1
        if self.records % 200 == 0:
            self._producer.poll(0)

    def _hold(self) -> float:
        """Let the clock stand while the pipeline is too far behind; returns for how many seconds it did."""
        held_s = time.monotonic()
        while not self.stopped.is_set() and self.records - self._worked_off() > self._most_ahead:
            self._producer.poll(0.1)
        if self._failed is not None:
            raise KafkaException(self._failed)
        waited_s = time.monotonic() - held_s
        self.waited_s += waited_s
        return waited_s

    def _flush(self) -> None:
        missing = self._producer.flush(FLUSH_S)
        if missing or self._failed is not None:
            raise KafkaException(self._failed or f"{missing} records were not acknowledged within {FLUSH_S:.0f} s")

    def _on_delivery(self, error: KafkaError | None, message: object) -> None:
        if error is not None:
            self._failed = error.str()


def _steps(events: Sequence[Body], begin_ms: int, end_ms: int, tick_ms: int) -> Iterator[tuple[int, Body | None]]:
    """Events and ticks (None) in order of time; a tick comes before the events of its moment, and one at the end."""
    next_tick_ms = begin_ms
    for event in events:
        while next_tick_ms <= event["ts"]:
            yield next_tick_ms, None
            next_tick_ms += tick_ms
        yield event["ts"], event
    while next_tick_ms < end_ms:
        yield next_tick_ms, None
        next_tick_ms += tick_ms
    yield end_ms, None
