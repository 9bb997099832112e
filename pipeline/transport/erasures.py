"""Erasure requests on `llm.controls`, and how long Kafka still knows what a subject's records said. Blocking."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pipeline.control.erasures import KIND, Request, read
from pipeline.errors import RetryableError, UsageError
from pipeline.settings import Settings
from pipeline.transport.policies import read_controls
from pipeline.transport.tail import Reader
from schemas.topics import DAY_MS, TOPICS

# The ledger and the controls hold no pseudonym; every other topic may.
BEARING: Final = tuple(topic.name for topic in TOPICS if topic.name not in ("ledger", "controls"))
# A key that is silent for so long leaves the stages' state, and with it what they write.
STATE_MS: Final = 8 * DAY_MS
# What a broker takes where a topic does not say.
SEGMENT_MS: Final = 7 * DAY_MS
REQUEST_S: Final = 10.0


def requests(settings: Settings) -> tuple[Request, ...]:
    """All requests in the order of the log.

    Raises:
        RetryableError: Kafka does not answer.
    """
    return read(read_controls(settings, KIND))


def longest_life_ms(settings: Settings) -> int:
    """How long at the most a pseudonym written now may be found in Kafka, as the broker has the topics' lives.

    A segment is deleted when its newest record is old enough, and a stage may write what it holds until it forgets it.

    Raises:
        RetryableError: Kafka does not answer.
        UsageError: One of the topics keeps its records for ever.
    """
    client = AdminClient(settings.librdkafka(**{"log_level": 3, "client.id": "tokentrail-erasures"}))
    asked = [ConfigResource(ResourceType.TOPIC, settings.topic(name)) for name in BEARING]
    longest = 0
    try:
        for answer in client.describe_configs(asked, request_timeout=REQUEST_S).values():
            known: Any = answer.result(REQUEST_S)
            life_ms, segment = int(known["retention.ms"].value), known.get("segment.ms")
            if life_ms < 0:
                raise UsageError(f"A topic of {settings.prefix}* keeps records for ever: set its retention.ms.")
            longest = max(longest, life_ms + (int(segment.value) if segment else SEGMENT_MS))
    except KafkaException as error:
        raise RetryableError(f"Kafka does not say how long its topics live: {error.args[0].str()}.") from error
    return longest + STATE_MS


def still_held(settings: Settings, partitions: int, before_ms: int) -> list[str]:
    """Physical names of the topics whose oldest record is older than `before_ms`.

    Raises:
        RetryableError: Kafka does not answer.
    """
    spread = {topic.name: topic.spread for topic in TOPICS}
    found = []
    with Reader(settings) as reader:
        for name in BEARING:
            for partition in range(partitions if spread[name] else 1):
                start, end = reader.bounds(name, partition)
                oldest = next(iter(reader.read(name, partition, start, end)), None) if start < end else None
                if oldest is not None and oldest.timestamp < before_ms:
                    found.append(settings.topic(name))
                    break
    return found
