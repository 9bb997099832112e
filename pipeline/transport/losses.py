"""How far each reader of a topic is behind, and how long until what it has not read is deleted: the time to loss.

Reads only; blocking.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
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

# A look at the first record of many partitions fetches as little as it can.
_ONE_RECORD: Final = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 16_384,
    "queued.min.messages": 1,
    "fetch.wait.max.ms": 20,
    "log_level": 3,
}

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


def lags(settings: Settings, client: AdminClient) -> dict[tuple[str, str], list[Lag]]:
    """How far each reader is on every partition of its topic, by (reader, topic). The sink's place is the ledger's.

    Raises:
        RetryableError: Kafka does not answer.
    """
    readers = (*SOURCES.items(), *BESIDE)
    ends: dict[str, dict[int, tuple[int, int]]] = {}
    places: dict[tuple[str, str], dict[int, int | None]] = {}
    try:
        for source in {source for _, source in readers}:
            ends[source] = bounds(client, settings.topic(source))
        for stage, source in readers:
            places[stage, source] = _committed(settings, client, stage, source)
    except KafkaException as error:
        raise _away(error) from error
    places["sink", "calls"] |= _of_the_ledger(settings, sorted(ends["calls"]))
    wanted = set()
    for (_, source), of_reader in places.items():
        for number, (start, end) in ends[source].items():
            place = max(start, of_reader.get(number) or 0)
            if place < end:
                wanted.add((source, number, place))
    times, now_ms = timestamps(settings, wanted), time.time_ns() // 1_000_000
    found: dict[tuple[str, str], list[Lag]] = {}
    for (stage, source), of_reader in places.items():
        for number, (start, end) in sorted(ends[source].items()):
            known = of_reader.get(number)
            if known is not None and known > end:  # a place in a topic that was recreated
                known = 0
            place = max(start, known or 0)
            lost = max(0, start - known) if known is not None else 0
            at_ms = times.get((source, number, place))
            age_ms = 0 if at_ms is None else max(0, now_ms - at_ms)
            found.setdefault((stage, source), []).append(Lag(stage, number, end - place, age_ms, lost))
    return found


def timestamps(settings: Settings, wanted: Collection[tuple[str, int, int]]) -> dict[tuple[str, int, int], int]:
    """When the first record at or beyond each place (topic, partition, offset) was appended; milliseconds since 1970.

    All partitions are read at once, a place of each at a time. What holds no record any more is left out.

    Raises:
        RetryableError: Kafka gives nothing for 10 s.
    """
    rounds: list[dict[tuple[str, int], int]] = []
    for topic, partition, offset in sorted(wanted):
        at = (settings.topic(topic), partition)
        free = next((each for each in rounds if at not in each), None)
        if free is None:
            rounds.append(free := {})
        free[at] = offset
    names = {settings.topic(topic): topic for topic, _, _ in wanted}
    found: dict[tuple[str, int, int], int] = {}
    for places in rounds:
        consumer = Consumer(settings.librdkafka(**_ONE_RECORD, **{"group.id": settings.group("losses")}))
        try:
            consumer.assign([TopicPartition(*at, offset) for at, offset in places.items()])
            waiting, deadline = set(places), time.monotonic() + ANSWER_S
            while waiting:
                for message in consumer.consume(len(waiting), timeout=0.1):
                    at = (str(message.topic()), int(message.partition() or 0))
                    if at in waiting and message.error() is None:
                        found[names[at[0]], at[1], places[at]] = message.timestamp()[1]
                    if message.error() is None or message.error().code() == KafkaError._PARTITION_EOF:
                        waiting.discard(at)
                if waiting and time.monotonic() > deadline:
                    raise RetryableError(f"Kafka gives no records of {', '.join(sorted({at[0] for at in waiting}))}.")
        except KafkaException as error:
            raise _away(error) from error
        finally:
            consumer.close()
    return found


def _committed(settings: Settings, client: AdminClient, stage: str, source: str) -> dict[int, int | None]:
    """Where a reader's group stands, by partition; what was never committed is left out."""
    group, topic = settings.group(stage), settings.topic(source)
    asked = [ConsumerGroupTopicPartitions(group)]
    answer = client.list_consumer_group_offsets(asked, request_timeout=REQUEST_S)[group].result(ANSWER_S)
    return {
        place.partition: place.offset for place in answer.topic_partitions if place.topic == topic and place.offset >= 0
    }


def _of_the_ledger(settings: Settings, partitions: Sequence[int]) -> dict[int, int | None]:
    with Reader(settings) as reader:
        states = {number: state_before(reader, number, reader.bounds(LEDGER, number)[1]) for number in partitions}
    return {number: state.input_next for number, state in states.items() if state is not None}


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
