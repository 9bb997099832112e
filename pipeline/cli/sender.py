"""Sends prepared lines to `llm.calls.raw` and knows what became of each: delivered, refused or lost.

A file can wait: where the local queue is full, sending waits for the broker. Memory is bounded by that queue (64 MB).
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.errors import RetryableError, UsageError
from schemas.topics import EVENT_SCHEMA, RAW_MAX_BYTES

if TYPE_CHECKING:
    from confluent_kafka import Message

    from pipeline.cli.lines import Prepared
    from pipeline.settings import Settings

QUEUE_RECORDS: Final = 50_000
QUEUE_KBYTES: Final = 65_536
POLL_EVERY: Final = 500
CONNECT_S: Final = 15.0
# Neither acknowledged nor refused: nobody can say whether the broker has these.
_UNKNOWN: Final = frozenset(
    (KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE, KafkaError._FATAL)
)


@dataclass
class Tally:
    """What became of the lines.

    Attributes:
        read: Lines that were not blank.
        bytes: Their size as sent.
        handed: Lines given to the Kafka client.
        delivered: Acknowledged by the broker.
        refused: By reason; the broker's own words begin with `broker:`.
        turned_down: How many of those were handed over before.
        unknown: Given up without an answer, by reason.
        ends: By partition, one more than the highest delivered offset.
        unplaced: Partitions where the broker did not say at which offset (it had the batch already).
    """

    read: int = 0
    bytes: int = 0
    handed: int = 0
    delivered: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    turned_down: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    ends: dict[int, int] = field(default_factory=dict)
    unplaced: set[int] = field(default_factory=set)

    @property
    def pending(self) -> int:
        """Handed over and not answered yet."""
        return self.handed - self.delivered - self.turned_down - self.unknown.total()

    @property
    def lost(self) -> int:
        """Lines that were neither acknowledged nor refused."""
        return self.pending + self.unknown.total()

    @property
    def holds(self) -> bool:
        """True when every line that was read has been acknowledged."""
        return self.delivered == self.read


class Sender:
    """One producer instance.

    Args:
        settings: The installation.
        timeout_s: How long a record may wait for its acknowledgement before it counts as lost.

    Raises:
        RetryableError: Kafka does not answer.
        UsageError: The topic is not there.
    """

    def __init__(self, settings: Settings, timeout_s: float = 120.0) -> None:
        self.tally = Tally()
        self.instance = uuid.uuid4().hex
        self.problem: str | None = None
        self._topic = settings.topic("calls.raw")
        self._sequence = 0
        self._headers = [("schema", EVENT_SCHEMA.encode()), ("producer", self.instance.encode())]
        self._producer = Producer(
            settings.librdkafka(
                **{
                    "client.id": "tokentrail-emit",
                    "acks": "all",
                    "enable.idempotence": True,
                    "partitioner": "murmur2_random",
                    "compression.type": "lz4",
                    "linger.ms": 20,
                    "delivery.timeout.ms": int(timeout_s * 1000),
                    "message.max.bytes": RAW_MAX_BYTES + 65_536,
                    "queue.buffering.max.messages": QUEUE_RECORDS,
                    "queue.buffering.max.kbytes": QUEUE_KBYTES,
                    "error_cb": self._on_error,
                    "logger": Silent(),
                }
            )
        )
        self._check(settings)

    def send(self, prepared: Prepared) -> None:
        """Hand one line over; waits while the local queue is full.

        Raises:
            RetryableError: The producer can send nothing any more; what it did send is in the tally.
        """
        tally = self.tally
        tally.read += 1
        if prepared.reason is not None:
            tally.refused[prepared.reason] += 1
            return
        self._sequence += 1
        headers = [*self._headers, ("sequence", str(self._sequence))]
        while True:
            try:
                # Positional: topic, value, key, partition, report, report, timestamp, headers.
                self._producer.produce(
                    self._topic, prepared.value, prepared.key, -1, self._on_delivery, None, 0, headers
                )
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                code = error.args[0].code()
                self._sequence -= 1
                if code == KafkaError._FATAL:
                    tally.read -= 1
                    raise RetryableError(f"The producer can send no more: {error.args[0].str()}.") from error
                tally.refused["too_large" if code == KafkaError.MSG_SIZE_TOO_LARGE else _word(error.args[0])] += 1
                return
        tally.handed += 1
        tally.bytes += len(prepared.value)
        if tally.handed % POLL_EVERY == 0:
            self._producer.poll(0)

    def poll(self, seconds: float = 0.0) -> None:
        """Serve delivery reports for this long."""
        self._producer.poll(seconds)

    def flush(self, seconds: float) -> int:
        """Wait at most so long for acknowledgements; returns how many are still missing."""
        self._producer.flush(seconds)
        return self.tally.pending

    def close(self) -> None:
        """Give up what is still without an answer and count it."""
        if self.tally.pending:
            self._producer.purge()
            self._producer.flush(2.0)

    def _check(self, settings: Settings) -> None:
        try:
            found = self._producer.list_topics(self._topic, timeout=CONNECT_S).topics[self._topic]
        except KafkaException as error:
            raise RetryableError(
                f"Kafka at {settings.kafka_bootstrap} does not answer ({self.problem or error.args[0].str()})."
            ) from error
        if found.error is not None:
            raise UsageError(
                f"Kafka at {settings.kafka_bootstrap} has no topic {self._topic} ({found.error.str()}). "
                "Run `tokentrail migrate`."
            )

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        tally = self.tally
        if error is None:
            tally.delivered += 1
            self.problem = None
            partition, offset = message.partition(), message.offset()
            if offset is None or offset < 0:
                tally.unplaced.add(partition)
            elif offset >= tally.ends.get(partition, 0):
                tally.ends[partition] = offset + 1
        elif error.code() in _UNKNOWN:
            tally.unknown[_word(error)] += 1
        else:
            tally.refused["broker: " + _word(error)] += 1
            tally.turned_down += 1

    def _on_error(self, error: KafkaError) -> None:
        self.problem = error.str()


class Silent:
    """Takes librdkafka's log lines, which would otherwise break into progress and output."""

    def log(self, level: int, line: str, *parts: Any) -> None:
        """The one method of `logging.Logger` that confluent-kafka calls."""


class Pace:
    """Holds sending to so many events a second; 0 is as fast as it goes."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._begun_s = time.monotonic()

    def due_in_s(self, sent: int) -> float:
        """Seconds until the next event is due, when `sent` have gone out; 0 or less is now."""
        if not self._per_s:
            return 0.0
        return self._begun_s + sent / self._per_s - time.monotonic()


def _word(error: KafkaError) -> str:
    """An error's name in librdkafka as a word, for example `msg_timed_out`."""
    return str(error.name()).lstrip("_").lower()
