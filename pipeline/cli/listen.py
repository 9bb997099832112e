"""A plain consumer of `llm.anomalies`: a group of its own that commits nothing, so that reading changes nothing."""

from __future__ import annotations

import sys
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.cli.sender import Silent
from pipeline.errors import RetryableError, UsageError
from schemas.anomaly import Anomaly

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from pipeline.settings import Settings

CONNECT_S: Final = 15.0
# Revisions remembered, so that a repeated record is told once: about 20 MB.
REMEMBERED: Final = 100_000

_decoder = msgspec.json.Decoder(Anomaly)


class Listener:
    """Reads from a moment on; what is there when it opens is decided before it returns, so nothing falls between.

    Args:
        settings: The installation.
        begin_ms: From which append time on, milliseconds since 1970; None is from now.

    Raises:
        RetryableError: Kafka does not answer.
        UsageError: The topic is not there.
    """

    def __init__(self, settings: Settings, begin_ms: int | None) -> None:
        self.topic = settings.topic("anomalies")
        self._problem: str | None = None
        self._consumer = Consumer(
            settings.librdkafka(
                **{
                    "client.id": "tokentrail-subscribe",
                    "group.id": f"tokentrail-subscribe-{uuid.uuid4().hex}",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": 100,
                    "error_cb": self._on_error,
                    "logger": Silent(),
                }
            )
        )
        try:
            self._consumer.assign(self._places(begin_ms))
        except KafkaException as error:
            self._consumer.close()
            raise RetryableError(
                f"Kafka at {settings.kafka_bootstrap} does not answer ({self._problem or error.args[0].str()})."
            ) from error
        except UsageError:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def records(self, deadline_s: float | None = None) -> Iterator[bytes]:
        """Every record's value from the beginning on, until `deadline_s` (monotonic clock); None waits for ever.

        Raises:
            RetryableError: The consumer cannot go on.
        """
        told: str | None = None
        while deadline_s is None or time.monotonic() < deadline_s:
            message = self._consumer.poll(0.2)
            if message is None:
                if self._problem != told:
                    told = self._problem
                    print(f"Kafka does not answer ({told}); waiting for it.", file=sys.stderr, flush=True)
                continue
            if (error := message.error()) is not None:
                if error.retriable():
                    continue
                raise RetryableError(f"{self.topic} cannot be read: {error.str()}.")
            told = self._problem = None
            yield message.value() or b""

    def _places(self, begin_ms: int | None) -> list[TopicPartition]:
        found = self._consumer.list_topics(self.topic, timeout=CONNECT_S).topics[self.topic]
        if found.error is not None:
            raise UsageError(f"There is no topic {self.topic} ({found.error.str()}). Run `tokentrail migrate`.")
        partitions = [TopicPartition(self.topic, number) for number in found.partitions]
        if begin_ms is not None:
            asked = [TopicPartition(self.topic, place.partition, begin_ms) for place in partitions]
            partitions = self._consumer.offsets_for_times(asked, timeout=CONNECT_S)
        for place in partitions:
            if place.offset < 0:
                _, place.offset = self._consumer.get_watermark_offsets(place, timeout=CONNECT_S)
        return partitions

    def _on_error(self, error: KafkaError) -> None:
        self._problem = error.str()


def first_of_each(values: Iterable[bytes]) -> Iterator[tuple[bytes, Anomaly | None]]:
    """Each revision of each anomaly once, with its record; None for a record that is no anomaly."""
    seen: OrderedDict[tuple[str, int], None] = OrderedDict()
    for value in values:
        try:
            anomaly = _decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            yield value, None
            continue
        key = (anomaly.id, anomaly.revision)
        if key in seen:
            continue
        seen[key] = None
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)
        yield value, anomaly
