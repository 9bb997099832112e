"""Erasure requests on `llm.controls`: as a stage follows them, and as a command reads them (which blocks).

And how long Kafka still knows what a subject's records said.
"""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pipeline.audit.erasing import Subjects
from pipeline.control.erasures import KIND, Request, read
from pipeline.errors import RetryableError, UsageError
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.transport.controls import ControlsReader
from pipeline.transport.policies import read_controls
from pipeline.transport.tail import Reader
from schemas.control import Erasure
from schemas.topics import DAY_MS, TOPICS

# The ledger and the controls hold no pseudonym; every other topic may.
BEARING: Final = tuple(topic.name for topic in TOPICS if topic.name not in ("ledger", "controls"))
# A key that is silent for so long leaves the stages' state, and with it what they write.
STATE_MS: Final = 8 * DAY_MS
# What a broker takes where a topic does not say.
SEGMENT_MS: Final = 7 * DAY_MS
REQUEST_S: Final = 10.0


class Following:
    """The requests that a stage knows by its reader of `llm.controls`. Safe to use from several threads.

    Args:
        controls: The reader.
        keys: The key store.
    """

    def __init__(self, controls: ControlsReader, keys: Keys) -> None:
        self._controls = controls
        self._keys = keys
        self._read: tuple[int, tuple[Erasure, ...]] = (-1, ())  # up to where they were read, and the requests
        self._subjects: dict[int, Subjects] = {}

    @property
    def known(self) -> int:
        """How many requests were read until now."""
        return len(self._requests())

    def subjects(self, count: int) -> Subjects | None:
        """Whom the first `count` requests name; None when there are none."""
        if count == 0:
            return None
        found = self._subjects.get(count)
        if found is None:
            found = Subjects(self._keys, self._requests()[:count])
            # The newest, and the one before, which an open range may still need.
            self._subjects = {**dict(list(self._subjects.items())[-1:]), count: found}
        return found

    def _requests(self) -> tuple[Erasure, ...]:
        if self._read[0] != (position := self._controls.position):
            self._read = (position, tuple(request.body for request in read(self._controls.records(KIND))))
        return self._read[1]


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
