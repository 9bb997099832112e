"""A real broker for the tests of the shim, topics on it, and a plain consumer that reads what arrived."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from infra.embedded.servers import EmbeddedServers

PARTITIONS = 4


@dataclass(frozen=True)
class Record:
    """One record as a plain consumer sees it."""

    partition: int
    key: str
    headers: dict[str, str]
    event: dict[str, Any]

    @property
    def sequence(self) -> int:
        return int(self.headers["sequence"])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """One broker for the tests of a module."""
    with EmbeddedServers(tmp_path_factory.mktemp("shim"), clickhouse=False) as servers:
        yield servers


@pytest.fixture
def bootstrap(servers: EmbeddedServers) -> str:
    return servers.endpoints.kafka_bootstrap


@pytest.fixture
def topic(bootstrap: str) -> str:
    return new_topic(bootstrap)


def new_topic(bootstrap: str, **config: str) -> str:
    """A topic of four partitions under a name that is not used yet; returns when it can be written to."""
    name = f"shim-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(name, PARTITIONS, 1, config={key.replace("_", "."): value for key, value in config.items()})
    admin.create_topics([topic])[name].result(30)
    return name


def read(bootstrap: str, topic: str) -> list[Record]:
    """All records of a topic up to its present end, in the order of their partitions."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    places = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
    missing = {place.partition: consumer.get_watermark_offsets(place, timeout=30)[1] for place in places}
    missing = {partition: end for partition, end in missing.items() if end}
    consumer.assign(places)
    records: list[Record] = []
    deadline = time.monotonic() + 30
    while missing:
        assert time.monotonic() < deadline, f"not read to the end: {missing}"
        for message in consumer.consume(1_000, 0.1):
            assert message.error() is None, message.error()
            headers = {name: value.decode() for name, value in message.headers() or []}
            record = Record(message.partition(), message.key().decode(), headers, orjson.loads(message.value()))
            records.append(record)
            if message.offset() + 1 >= missing.get(record.partition, 1 << 60):
                del missing[record.partition]
    consumer.close()
    return records
