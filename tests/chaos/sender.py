"""The application of a chaos run: sends known events with a real producer, at a pace that leaves each fault work."""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import Producer

from tests.chaos import events
from tests.chaos.house import House

# Records that may wait for the sink: enough to be hit, little enough to come to an end.
BACKLOG = 30_000
FIRST_GUESS_S = 12.0
RESERVE = 0.05
LEAST_RATE = 20.0


class Sender(threading.Thread):
    """Sends events `first` to `next` - 1 of one round.

    Attributes:
        faults_left: Faults of the longer side that are still to come; the player counts it down.
        fault_s: How long a fault takes on average.
        sent: How many events it has sent.
        failed: Deliveries that were given up; must stay 0.
    """

    def __init__(self, house: House, first: int, next: int, begin_ms: int, rate: float | None = None) -> None:
        super().__init__(name="sender", daemon=True)
        self._house, self._first, self._next, self._begin_ms, self._steady = house, first, next, begin_ms, rate
        self.faults_left, self.fault_s, self.sent, self.failed = 0, FIRST_GUESS_S, 0, 0
        self.problem: BaseException | None = None
        self.given_up = threading.Event()

    def run(self) -> None:
        """Send everything; ends when all is acknowledged."""
        producer = Producer(
            self._house.direct.librdkafka(
                **{
                    "client.id": "chaos-application",
                    "partitioner": "murmur2_random",
                    "enable.idempotence": True,
                    "acks": "all",
                    "linger.ms": 10,
                    "compression.type": "lz4",
                    "message.timeout.ms": 600_000,
                    "reconnect.backoff.max.ms": 500,
                    "log_level": 0,
                }
            )
        )
        try:
            self._send(producer)
            self.failed += producer.flush(120)
        except BaseException as error:
            self.problem = error

    def _send(self, producer: Any) -> None:
        topic, size = self._house.settings.topic("calls.raw"), self._next - self._first
        due = 0.0
        at = time.monotonic()
        while self.sent < size and not self.given_up.is_set():
            now = time.monotonic()
            due, at = min(due + (now - at) * self._rate(size), 20_000.0), now
            while due >= 1 and self.sent < size:
                one = events.event(self._first + self.sent, self._begin_ms)
                try:
                    producer.produce(topic, one.value, one.key, on_delivery=self._delivered)
                except BufferError:
                    break
                self.sent += 1
                due -= 1
            producer.poll(0.02)

    def _rate(self, size: int) -> float:
        """Events a second now: so that they last as long as the faults, and none once enough wait."""
        if self._steady is not None and self.faults_left:
            return self._steady  # whatever waits: a steady application does not know of faults
        if self.sent - self._house.watch.done(self._house.raw_epoch) > BACKLOG:
            return 0.0
        if not self.faults_left:
            return 1e6
        left = size * (1 - RESERVE) - self.sent
        return max(LEAST_RATE, left / (self.faults_left * self.fault_s))

    def _delivered(self, error: Any, _: Any) -> None:
        self.failed += error is not None
