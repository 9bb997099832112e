"""How far each reader of a topic is behind, and how long until what it has not read is deleted: the time to loss.

Reads only; blocking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.transport.ledgers import LEDGER, state_before
from pipeline.transport.tail import Reader
from schemas.topics import BY_NAME

# What each stage reads; a test holds it against the stages.
SOURCES: Final = {
    "measure": "calls.raw",
    "redact": "calls.raw",
    "sink": "calls",
    "guard": "facts",
    "meter": "facts",
    "judge": "partials",
    "act": "anomalies",
}
# Readers that are no stages of their own.
BESIDE: Final = (("archive", "anomalies"), ("archive", "windows"))
# Share of a topic's life that may be used up before somebody should look, and before it is urgent.
EARLY, LATE = 0.25, 0.75
REQUEST_S: Final = 5.0
ANSWER_S: Final = 10.0

Urgency = Literal["none", "early", "late"]


@dataclass(frozen=True, slots=True)
class Lag:
    """One reader on one partition.

    Attributes:
        records: Not worked off yet; ticks count.
        age_ms: How long the oldest of them has waited.
        lost: Records that were deleted before the stage read them.
    """

    stage: str
    partition: int
    records: int
    age_ms: int
    lost: int = 0

    def left_ms(self, life_ms: int) -> int:
        """Until the oldest waiting record has had its life of `life_ms`; all of that when none waits."""
        return life_ms - self.age_ms if self.records else life_ms


def urgency(age_ms: int, life_ms: int) -> Urgency:
    """How urgent it is that a record of this age is read; a negative life is for ever."""
    used = age_ms / life_ms if life_ms > 0 else 0.0
    return "late" if used >= LATE else "early" if used >= EARLY else "none"


def lags(settings: Settings, client: AdminClient, reader: Reader, stage: str, source: str) -> Iterator[Lag]:
    """How far one reader is on every partition of its topic (logical name). The sink's place is what the ledger says.

    Raises:
        RetryableError: Kafka does not answer.
    """
    group, topic = settings.group(stage), settings.topic(source)
    try:
        asked = [ConsumerGroupTopicPartitions(group)]
        found = client.list_consumer_group_offsets(asked, request_timeout=REQUEST_S)[group].result(ANSWER_S)
        ends = bounds(client, topic)
    except KafkaException as error:
        raise _away(error) from error
    committed = {place.partition: place.offset for place in found.topic_partitions if place.topic == topic}
    now_ms = time.time_ns() // 1_000_000
    for number, (start, end) in sorted(ends.items()):
        if stage == "sink":
            state = state_before(reader, number, reader.bounds(LEDGER, number)[1])
            if state is not None:
                committed[number] = state.input_next
        place = max(0, committed.get(number, 0))
        if place > end:  # a place in a topic that was recreated
            place = 0
        lost = max(0, start - place) if place or number in committed else 0
        age_ms = 0
        if max(place, start) < end:
            record = next(iter(reader.read(source, number, max(place, start), max(place, start) + 1)), None)
            age_ms = max(0, now_ms - record.timestamp) if record else 0
        yield Lag(stage, number, end - max(place, start), age_ms, lost)


def lives(settings: Settings, client: AdminClient) -> Mapping[str, int]:
    """Life of a record by logical topic as the broker has it, milliseconds; -1 for ever.

    Raises:
        RetryableError: Kafka does not answer.
    """
    names = {settings.topic(name): name for name in {*SOURCES.values(), *(topic for _, topic in BESIDE)}}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    found = {}
    try:
        for resource, answer in client.describe_configs(asked, request_timeout=REQUEST_S).items():
            name = names[resource.name]
            value: Any = answer.result(ANSWER_S).get("retention.ms")
            found[name] = int(value.value) if value is not None else BY_NAME[name].retention_ms
    except KafkaException as error:
        raise _away(error) from error
    return found


def bounds(client: AdminClient, topic: str) -> dict[int, tuple[int, int]]:
    """Log start and log end of every partition of a topic (physical name); one request for all is quicker."""
    places = [
        TopicPartition(topic, number)
        for number in client.list_topics(topic, timeout=REQUEST_S).topics[topic].partitions
    ]

    def ask(which: OffsetSpec) -> dict[int, int]:
        answers = client.list_offsets(dict.fromkeys(places, which), request_timeout=REQUEST_S)
        return {place.partition: answer.result(ANSWER_S).offset for place, answer in answers.items()}

    starts, ends = ask(OffsetSpec.earliest()), ask(OffsetSpec.latest())
    return {number: (starts[number], ends[number]) for number in starts}


def _away(error: KafkaException) -> RetryableError:
    return RetryableError(f"Kafka does not say how far its readers are: {error.args[0].str()}.")
