"""How far the pipeline has come, by Kafka alone: records of a topic, and what consumer groups have still to read."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

TIMEOUT_S = 10.0


class Lag:
    """Reads offsets; commits and consumes nothing.

    Args:
        settings: librdkafka settings that reach the broker.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._consumer = Consumer({**settings, "group.id": "tokentrail-demo", "enable.auto.commit": False})
        self._admin = AdminClient(dict(settings))
        self._partitions: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of each partition."""
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in self._numbers(topic)}
        found = self._admin.list_offsets(asked, request_timeout=TIMEOUT_S)
        return {place.partition: future.result().offset for place, future in found.items()}

    def records(self, topic: str) -> int:
        """Sum of the end offsets."""
        return sum(self.ends(topic).values())

    def behind(self, group: str, topic: str) -> int:
        """Records of the topic that the group has not committed."""
        ends = self.ends(topic)
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in ends])
        (future,) = self._admin.list_consumer_group_offsets([asked], request_timeout=TIMEOUT_S).values()
        committed = {place.partition: max(place.offset, 0) for place in future.result().topic_partitions}
        return sum(end - committed.get(number, 0) for number, end in ends.items())

    def _numbers(self, topic: str) -> list[int]:
        if topic not in self._partitions:
            found = self._consumer.list_topics(topic, timeout=TIMEOUT_S).topics[topic]
            self._partitions[topic] = sorted(found.partitions)
        return self._partitions[topic]
