"""A whole installation for system tests: embedded servers, migrations, stages as real processes, and ways to look in.

Waits for conditions with deadlines; ends only the processes it started, by process id.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.cli.supervisor import Supervisor
from pipeline.cli.up import prepare
from pipeline.settings import Settings


def wait_for(what: str, condition: Callable[[], Any], deadline_s: float = 30.0, every_s: float = 0.05) -> Any:
    """The first true answer of `condition`; fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(every_s)


class Installation:
    """Servers, settings and stages of one data folder."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = environment or {}
        self.servers = EmbeddedServers(folder)
        self.settings: Settings
        self.supervisor: Supervisor | None = None

    def start(self) -> None:
        """Servers and migrations."""
        os.environ.update(self.environment)
        self.servers.start()
        self.settings = prepare(self.folder, None)

    def stop(self) -> None:
        """Stages, then servers."""
        self.stop_stages()
        self.servers.stop()
        for name in self.environment:
            os.environ.pop(name, None)

    def start_stages(self, stages: Sequence[str]) -> Supervisor:
        """Run these stages as processes."""
        self.supervisor = Supervisor(self.settings, self.folder, stages)
        self.supervisor.start()
        return self.supervisor

    def stop_stages(self) -> None:
        """End the stages in good order."""
        if self.supervisor is not None:
            self.supervisor.stop()
            self.supervisor = None

    def kill(self, stage: str) -> int:
        """SIGKILL one stage; the supervisor starts it again at its next `tend`. Returns the process id."""
        assert self.supervisor is not None
        pid = self.supervisor.pids()[stage]
        os.kill(pid, signal.SIGKILL)
        return pid

    def produce(self, values: Sequence[bytes | dict[str, Any]], key: bytes | None = None, **more: Any) -> None:
        """Send records to `calls.raw` as they are, and wait for the broker."""
        producer = Producer(self.settings.librdkafka(**{"partitioner": "murmur2_random", "linger.ms": 5}))
        for value in values:
            data = value if isinstance(value, bytes) else orjson.dumps(value)
            while True:
                try:
                    producer.produce(self.settings.topic("calls.raw"), data, key, **more)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(30) == 0

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of every partition of a topic (logical name)."""
        with self.consumer() as consumer:
            name = self.settings.topic(topic)
            partitions = consumer.list_topics(name, 10).topics[name].partitions
            return {n: consumer.get_watermark_offsets(TopicPartition(name, n), 10)[1] for n in partitions}

    def read(self, topic: str) -> list[Any]:
        """Every record of a topic (logical name) as it is now, as confluent-kafka messages."""
        found = []
        with self.consumer() as consumer:
            name = self.settings.topic(topic)
            ends = self.ends(topic)
            consumer.assign([TopicPartition(name, n, 0) for n in ends])
            left = {
                n for n, end in ends.items() if end > consumer.get_watermark_offsets(TopicPartition(name, n), 10)[0]
            }
            end_s = time.monotonic() + 60
            while left and time.monotonic() < end_s:
                for message in consumer.consume(1000, 0.5):
                    if message.error():
                        if message.error().name() == "_PARTITION_EOF":
                            left.discard(message.partition())
                            continue
                        raise KafkaException(message.error())
                    found.append(message)
                    if message.offset() + 1 >= ends[message.partition()]:
                        left.discard(message.partition())
            assert not left, f"{topic} could not be read to its end"
        return found

    @contextmanager
    def consumer(self) -> Iterator[Consumer]:
        """A plain consumer without a group of its own."""
        consumer = Consumer(
            self.settings.librdkafka(
                **{
                    "group.id": f"test-{os.getpid()}-{time.monotonic_ns()}",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "enable.partition.eof": True,
                }
            )
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def clickhouse(self, user: str = "pipeline") -> Any:
        """A clickhouse-connect client as one of the installation's users."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            host=self.settings.clickhouse_host,
            port=self.settings.clickhouse_port,
            username=user,
            password=read_secret(self.folder, user),
            database=self.settings.database,
        )

    def wait_settled(self, deadline_s: float = 60.0) -> None:
        """Until the sink's ledger has reached the end of `calls.raw` as it is now."""
        from bench.marks import sink_marks

        ends = self.ends("calls.raw")

        def reached() -> bool:
            if self.supervisor is not None:
                assert self.supervisor.tend() is None, "a stage cannot be kept alive; see its log"
            marks = sink_marks(self.settings)
            return all(marks.get(partition, 0) >= end for partition, end in ends.items())

        wait_for(f"the sink to reach {ends}", reached, deadline_s, 0.2)
