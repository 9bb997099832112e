"""A whole installation for system tests: embedded servers, migrations, stages as real processes, and ways to look in.

Waits for conditions with deadlines; ends only the processes it started, by process id. A stage that ends is started
again as `tokentrail up` would do it, in a thread beside the test; one that cannot be kept alive fails the test at once,
with the end of its log.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.cli.checks.machine import alive
from pipeline.cli.supervisor import Supervisor
from pipeline.cli.up import prepare
from pipeline.settings import Settings


def wait_for(what: str, condition: Callable[[], Any], deadline_s: float = 30.0, every_s: float = 0.05) -> Any:
    """The first true answer of `condition`; fails with `what` at the deadline.

    What is dear to ask is asked less often, lest the question takes the time of what it waits for.
    """
    end = time.monotonic() + deadline_s
    while True:
        asked = time.monotonic()
        answer = condition()
        if answer:
            return answer
        if (now := time.monotonic()) > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        time.sleep(max(every_s, 2 * (now - asked)))


def log_ends(folder: Path, lines: int = 12) -> str:
    """The last lines of every log of a data folder, for whoever reads a failure."""
    found = []
    for path in sorted((folder / "logs").glob("*.log")):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            end = file.read().decode(errors="replace").splitlines()[-lines:]
        found.append("\n".join([f"--- {path.name}", *(line[:400] for line in end)]))
    return "\n".join(found)


class Installation:
    """Servers, settings and stages of one data folder."""

    living: ClassVar[list[Installation]] = []

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.environment = environment or {}
        self.servers = EmbeddedServers(folder)
        self.settings: Settings
        self.supervisor: Supervisor | None = None
        self.given_up: int | None = None
        self._tending = threading.Lock()
        self._tender: threading.Thread | None = None

    def start(self) -> None:
        """Servers and migrations."""
        self.living.append(self)
        os.environ.update(self.environment)
        self.servers.start()
        self.settings = prepare(self.folder, None)

    def stop(self) -> None:
        """Stages, then servers."""
        self.stop_stages()
        self.servers.stop()
        if self in self.living:
            self.living.remove(self)
        for name in self.environment:
            os.environ.pop(name, None)

    def start_stages(self, stages: Sequence[str]) -> Supervisor:
        """Run these stages as processes, and start again what ends."""
        supervisor = self.supervisor = Supervisor(self.settings, self.folder, stages)
        supervisor.start()
        self.given_up = None
        self._tender = threading.Thread(target=self._tend, args=(supervisor,), name="tender", daemon=True)
        self._tender.start()
        return supervisor

    def _tend(self, supervisor: Supervisor) -> None:
        while self.given_up is None:
            with self._tending:
                if self.supervisor is not supervisor:
                    return
                self.given_up = supervisor.tend()
            time.sleep(0.1)

    def stop_stages(self) -> None:
        """End the stages in good order."""
        supervisor, tender = self.supervisor, self._tender
        if supervisor is not None and tender is not None:
            with self._tending:
                self.supervisor = None
            tender.join()
            supervisor.stop()

    def check(self) -> None:
        """Fail when a stage cannot be kept alive."""
        assert self.given_up is None, f"a stage ended with {self.given_up} again and again\n{log_ends(self.folder)}"

    def kill(self, stage: str) -> int:
        """SIGKILL one stage, which is then started again. Returns the process id."""
        assert self.supervisor is not None
        pid = self.supervisor.pids()[stage]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, stage: str, killed: int) -> None:
        """Until another process is the stage."""
        supervisor = self.supervisor
        assert supervisor is not None

        def other() -> bool:
            self.check()
            return supervisor.pids().get(stage) not in (None, killed)

        wait_for(f"{stage} to be there again", other)

    @contextmanager
    def without(self, stage: str) -> Iterator[None]:
        """One stage is dead by SIGKILL, and nobody starts it again before the end."""
        supervisor = self.supervisor
        assert supervisor is not None
        with self._tending:
            pid = self.kill(stage)
            wait_for(f"{stage} to be gone", lambda: not alive(pid), 10)
            yield
        self.wait_restarted(stage, pid)

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
            self.check()
            marks = sink_marks(self.settings)
            return all(marks.get(partition, 0) >= end for partition, end in ends.items())

        wait_for(f"the sink to reach {ends}", reached, deadline_s, 0.2)
