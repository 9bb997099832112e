"""Embedded servers for one bench run, in a folder of their own that is gone afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from infra.embedded.servers import EmbeddedServers
from pipeline.cli.up import prepare
from pipeline.settings import Settings


@contextmanager
def installation(environment: dict[str, str] | None = None) -> Iterator[tuple[EmbeddedServers, Settings, Path]]:
    """Servers, migrated; the environment variables hold for stages started meanwhile."""
    before = {name: os.environ.get(name) for name in environment or {}}
    os.environ.update(environment or {})
    try:
        with tempfile.TemporaryDirectory(prefix="tokentrail-bench-") as name:
            folder = Path(name)
            servers = EmbeddedServers(folder)
            servers.start()
            try:
                yield servers, prepare(folder, None), folder
            finally:
                servers.stop()
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def fill(settings: Settings, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
    """Send (key, value) records to a physical topic, and wait for the broker."""
    producer = Producer(
        settings.librdkafka(
            **{"partitioner": "murmur2_random", "linger.ms": 20, "compression.type": "lz4", "acks": "all"}
        )
    )
    for key, value in records:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(120)
    if left:
        raise RuntimeError(f"{left} records were not delivered")


def ends(settings: Settings, topic: str) -> dict[int, int]:
    """End offset of each partition of a physical topic."""
    consumer = Consumer(settings.librdkafka(**{"group.id": f"bench-{time.monotonic_ns()}"}))
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        return {n: consumer.get_watermark_offsets(TopicPartition(topic, n), 10)[1] for n in partitions}
    finally:
        consumer.close()
