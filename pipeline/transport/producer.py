"""Deliver a range's records to Kafka, all or an error: idempotent, acks=all, never a silent loss.

Must not repeat a range (the lane does) and must not hide a delivery error. Records are handed to librdkafka in the
event loop (about 1 us each) and acknowledged in a thread that polls; the range's task is woken once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import DeliveryError
from pipeline.settings import Settings
from schemas.topics import CLEAN_MAX_BYTES

log = logging.getLogger(__name__)
LIBRARY_LOG: Final = logging.getLogger("librdkafka")

# Long enough for a range to go out as few batches, short beside everything else.
LINGER_MS: Final = 1
QUEUE_FULL_WAIT_S: Final = 0.005
POLL_S: Final = 0.5
CLOSE_WAIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to deliver.

    Attributes:
        topic: Logical topic name (`facts`).
        value: The value.
        key: The key, or None.
        partition: Target partition; -1: by the key (murmur2, as Java's clients do).
        headers: Names and values.
    """

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int = -1
    headers: Sequence[tuple[str, bytes]] = ()


class _Delivery:
    """Acknowledgements of one range: counted in the polling thread, awaited in the event loop."""

    def __init__(self, size: int) -> None:
        self.offsets = [-1] * size
        self.failed = 0
        self.reason = ""
        self._reported = 0
        self._expected = -1
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()

    def reported(self, index: int, error: Any, message: Any) -> None:
        """Delivery report of the record at `index`, in the polling thread."""
        if error is None:
            self.offsets[index] = message.offset()
        else:
            self.failed += 1
            self.reason = self.reason or error.name()
        self._reported += 1
        # The other thread writes `_expected` before it reads `_reported`: one of the two sees them equal.
        if self._reported == self._expected:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish)

    def expect(self, count: int) -> None:
        """So many records were handed to the client; that many reports will come."""
        self._expected = count
        if self._reported == count:
            self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class RangeProducer:
    """One idempotent producer for a process; safe to use from concurrent tasks of one event loop.

    Args:
        settings: Where Kafka is.
        client_id: Name of the client in the broker's logs.
        message_timeout_s: A record that is not acknowledged within this counts as not delivered.
    """

    def __init__(self, settings: Settings, *, client_id: str = "tokentrail", message_timeout_s: float = 30.0) -> None:
        self._settings = settings
        self._message_timeout_s = message_timeout_s
        self._conf = settings.librdkafka(
            **{
                "client.id": client_id,
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": LINGER_MS,
                "batch.num.messages": 10_000,
                "message.max.bytes": CLEAN_MAX_BYTES,
                "message.timeout.ms": int(message_timeout_s * 1000),
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 262_144,
                "error_cb": self._on_error,
            }
        )
        self._topics: dict[str, str] = {}
        self._broken = False
        self._closed = threading.Event()
        self._producer = Producer(self._conf, logger=LIBRARY_LOG)
        self._thread = threading.Thread(target=self._poll, name="producer-poll", daemon=True)
        self._thread.start()

    async def deliver(self, records: Sequence[Outgoing]) -> list[int]:
        """Deliver all records; returns their offsets in the order of `records`.

        A caller that is cancelled does not stop what was handed over: those records may still arrive.

        Raises:
            DeliveryError: At least one was not acknowledged; the caller repeats the whole range.
        """
        delivery = _Delivery(len(records))
        taken, refusal = await self._hand_over(records, delivery)
        delivery.expect(taken)
        await delivery.done
        failed = delivery.failed + len(records) - taken
        if failed:
            raise DeliveryError(failed, delivery.reason or refusal)
        return delivery.offsets

    async def close(self) -> None:
        """Wait shortly for what is in flight and end the polling thread."""
        self._closed.set()
        await asyncio.to_thread(self._thread.join, CLOSE_WAIT_S + 2 * POLL_S)

    async def _hand_over(self, records: Sequence[Outgoing], delivery: _Delivery) -> tuple[int, str]:
        """Give records to the client; returns how many it took and why it refused the next one, if it did."""
        produce = self._producer.produce
        deadline = time.monotonic() + self._message_timeout_s
        for index, record in enumerate(records):
            topic = self._topics.get(record.topic) or self._topics.setdefault(
                record.topic, self._settings.topic(record.topic)
            )
            report = partial(delivery.reported, index)
            while True:
                try:
                    if record.headers:
                        produce(topic, record.value, record.key, record.partition, report, headers=list(record.headers))
                    else:
                        produce(topic, record.value, record.key, record.partition, report)
                    break
                except BufferError:
                    if time.monotonic() > deadline:
                        return index, "_QUEUE_FULL"
                    await asyncio.sleep(QUEUE_FULL_WAIT_S)
                except KafkaException as error:
                    kafka_error: KafkaError = error.args[0]
                    self._broken = self._broken or kafka_error.code() == KafkaError._FATAL
                    return index, str(kafka_error.name())
        return len(records), ""

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._broken = True
        log.warning("kafka producer", extra={"error": error.name(), "fatal": error.fatal()})

    def _poll(self) -> None:
        """Thread: serve delivery reports; after a fatal error put a new producer in place of the broken one."""
        while not self._closed.is_set():
            try:
                self._producer.poll(POLL_S)
            except KafkaException as error:  # how the client tells of fatal errors
                self._on_error(error.args[0])
            if self._broken:
                broken, self._producer, self._broken = (
                    self._producer,
                    Producer(self._conf, logger=LIBRARY_LOG),
                    False,
                )
                log.error("the producer broke and was replaced; ranges in flight are sent again")
                _finish(broken)
        _finish(self._producer)


def _finish(producer: Any) -> None:
    """Get the reports of everything that a producer still holds, sent or not."""
    deadline = time.monotonic() + CLOSE_WAIT_S
    while len(producer) and time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            if producer.flush(CLOSE_WAIT_S / 4):
                producer.purge()
