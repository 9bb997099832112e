"""Topics and worker processes for the transport's system tests, and ways to look at what they did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from transport_worker import journal

from infra.embedded.servers import EmbeddedServers
from pipeline.settings import Settings
from pipeline.transport.admin import migrate_topics

WORKER = Path(__file__).with_name("transport_worker.py")


class Pipeline:
    """Topics under a prefix of their own, workers of one stage, and what they wrote down."""

    def __init__(self, servers: EmbeddedServers, folder: Path) -> None:
        self.servers = servers
        self.folder = folder
        self.settings = Settings(
            kafka_bootstrap=servers.endpoints.kafka_bootstrap, prefix=f"t{uuid.uuid4().hex[:8]}.", key_root="A" * 44
        )
        self.stage = "scribe"
        self.admin = AdminClient(self.settings.librdkafka(log_level=3))
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        migrate_topics(self.settings)

    def fill(self, records_each: int, size: int = 100, topic: str = "calls.raw", **settings: Any) -> None:
        """So many records in each of the four partitions."""
        producer = Producer(self.settings.librdkafka(**{"linger.ms": 20, "acks": "all", **settings}))
        transactional = "transactional.id" in settings
        if transactional:
            producer.init_transactions(20)
            producer.begin_transaction()
        for number in range(records_each):
            for partition in range(4):
                value = b"%d %d " % (partition, number)
                producer.produce(self.settings.topic(topic), value.ljust(size, b"."), partition=partition)
            producer.poll(0)
        if transactional:
            producer.commit_transaction(20)
        assert producer.flush(20) == 0

    def start(self, name: str, **plan: Any) -> subprocess.Popen[bytes]:
        """One worker process; `plan` is what `transport_worker` reads."""
        known = {
            "kafka_bootstrap": self.settings.kafka_bootstrap,
            "prefix": self.settings.prefix,
            **plan.pop("settings", {}),
        }
        whole = {"stage": self.stage, "settings": known, **plan}
        root = WORKER.parent.parent.parent
        with (self.folder / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), str(self.folder / f"{name}.journal")],
                env={**os.environ, "TRANSPORT_PLAN": json.dumps(whole), "PYTHONPATH": str(root)},
                stdout=output,
                stderr=output,
            )
        self.workers[name] = process
        return process

    def told(self, **fields: Any) -> list[dict[str, Any]]:
        """Journal entries with these fields."""
        return [entry for entry in journal(self.folder) if all(entry.get(k) == v for k, v in fields.items())]

    def done(self, partition: int) -> set[int]:
        """Offsets of a partition that lie in ranges that were worked off."""
        found: set[int] = set()
        for entry in self.told(did=partition):
            found.update(range(entry["first"], entry["next"]))
        return found

    def committed(self) -> dict[int, int]:
        """Committed offsets of the stage's group."""
        request = ConsumerGroupTopicPartitions(self.settings.group(self.stage))
        answer = next(iter(self.admin.list_consumer_group_offsets([request]).values()))
        try:
            return {place.partition: place.offset for place in answer.result().topic_partitions}
        except Exception:
            return {}

    def commit(self, offsets: dict[int, int]) -> None:
        """Commit for the stage's group, which must have no member."""
        places = [TopicPartition(self.settings.topic("calls.raw"), p, o) for p, o in offsets.items()]
        request = ConsumerGroupTopicPartitions(self.settings.group(self.stage), places)
        next(iter(self.admin.alter_consumer_group_offsets([request]).values())).result()

    def output(self, name: str) -> str:
        """What a worker wrote to standard output and error."""
        return (self.folder / f"{name}.out").read_text()

    def stop(self) -> None:
        """End what is left."""
        for process in self.workers.values():
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            process.wait()
