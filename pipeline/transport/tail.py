"""Read the end of a partition, or all of it, without a consumer group: for resuming and for folding the ledger.

Everything here blocks: call it in a thread (`StageContext.to_thread`). Nothing is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.transport.ranges import KafkaRecord

# Without progress for this long Kafka counts as away.
PATIENCE_S: Final = 30.0
REQUEST_S: Final = 10.0
# A topic that was created a moment ago may have no leader yet.
SETTLE_S: Final = 15.0
BATCH: Final = 1_000


class Reader:
    """A consumer that reads single partitions from and to given offsets; use it as a context manager."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer(
            settings.librdkafka(
                **{
                    "group.id": f"{settings.group_prefix}{settings.prefix}reader",  # never joined
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_uncommitted",  # as the stages read
                    "fetch.wait.max.ms": 50,
                    "log_level": 3,
                }
            )
        )

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Log start and log end of a partition of the topic with this logical name.

        Raises:
            RetryableError: Kafka does not answer or does not know the partition.
        """
        name = self._settings.topic(topic)
        settled_by = time.monotonic() + SETTLE_S
        while True:
            try:
                start, end = self._consumer.get_watermark_offsets(
                    TopicPartition(name, partition), timeout=REQUEST_S, cached=False
                )
            except KafkaException as error:
                if time.monotonic() > settled_by:
                    raise _away(name, partition, error.args[0].name()) from error
                time.sleep(0.05)
            else:
                return start, end

    def offset_at(self, topic: str, partition: int, at_ms: int) -> int:
        """Offset of the first record of this time (milliseconds since 1970) or later; without one, the end.

        Every record before it is older.

        Raises:
            RetryableError: Kafka does not answer or does not know the partition.
        """
        name = self._settings.topic(topic)
        end = self.bounds(topic, partition)[1]
        try:
            (found,) = self._consumer.offsets_for_times([TopicPartition(name, partition, at_ms)], timeout=REQUEST_S)
        except KafkaException as error:
            raise _away(name, partition, error.args[0].name()) from error
        return int(found.offset) if found.offset >= 0 else end

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[KafkaRecord]:
        """Records with `start` <= offset < `end`, as far as the log holds them.

        Raises:
            RetryableError: Kafka gives nothing for 30 s although there is more.
        """
        if start >= end:
            return
        name = self._settings.topic(topic)
        self._consumer.assign([TopicPartition(name, partition, start)])
        patience = time.monotonic() + PATIENCE_S
        due = start
        try:
            while due < end:
                # No more than can be there, because the client waits until it has so many.
                for message in self._consumer.consume(min(BATCH, end - due), timeout=0.2):
                    error = message.error()
                    if error is None:
                        patience = time.monotonic() + PATIENCE_S
                        due = message.offset() + 1
                        if due > end:
                            return
                        yield record_of(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
                    elif time.monotonic() > patience or error.fatal():
                        raise _away(name, partition, error.name())
                if time.monotonic() > patience:
                    raise _away(name, partition, "no records")
        except KafkaException as error:
            raise _away(name, partition, error.args[0].name()) from error
        finally:
            self._consumer.unassign()


def record_of(message: Any) -> KafkaRecord:
    """One of confluent-kafka's messages as our record."""
    return KafkaRecord(
        message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or ()
    )


def end_offset(settings: Settings, topic: str, partition: int) -> int:
    """Offset that the next record of the partition will get; `topic` is the logical name."""
    with Reader(settings) as reader:
        return reader.bounds(topic, partition)[1]


def start_offset(settings: Settings, topic: str, partition: int) -> int:
    """Lowest offset that the partition still holds; `topic` is the logical name."""
    with Reader(settings) as reader:
        return reader.bounds(topic, partition)[0]


def last_records(settings: Settings, topic: str, partition: int, count: int = 1) -> list[KafkaRecord]:
    """The last `count` records of a partition in log order, fewer when it holds fewer.

    Raises:
        RetryableError: Kafka cannot be read now.
    """
    with Reader(settings) as reader:
        start, end = reader.bounds(topic, partition)
        back = count
        while True:
            begin = max(start, end - back)
            found = list(reader.read(topic, partition, begin, end))
            if len(found) >= count or begin == start:
                return found[-count:]
            back *= 8  # offsets without records: compaction or transaction markers


def read_all(
    settings: Settings,
    topic: str,
    partition: int,
    start: int = 0,
    keep: Callable[[KafkaRecord], bool] | None = None,
) -> Iterator[KafkaRecord]:
    """Every record from `start` to the end as it is when the call is made, filtered by `keep`.

    Raises:
        RetryableError: Kafka cannot be read now.
    """
    with Reader(settings) as reader:
        _, end = reader.bounds(topic, partition)
        for record in reader.read(topic, partition, start, end):
            if keep is None or keep(record):
                yield record


def _away(topic: str, partition: int, reason: str) -> RetryableError:
    return RetryableError(f"{topic}/{partition} cannot be read ({reason}); it will be tried again")
