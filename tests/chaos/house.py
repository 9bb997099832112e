"""One installation for chaos: Kafka and ClickHouse behind proxies, workers, and a way around the proxies for the judge.

The servers' published ports belong to the proxies; Kafka tells its clients the proxy's address, so that stages cannot
get around it. `direct` settings reach a further listener of Kafka without a proxy: for those who watch.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.embedded import clickhouse, kafka, ports
from infra.embedded.servers import EmbeddedServers, ServerName, read_secret
from pipeline.cli.up import prepare
from pipeline.settings import Settings
from tests.chaos.inserts import InsertProxy
from tests.chaos.proxy import Proxy
from tests.chaos.watch import LedgerWatch
from tests.chaos.workers import Workers

ALL = ("measure-1", "redact-1", "sink-1", "sink-2", "guard-1", "meter-1", "judge-1", "act-1")
CLOCK = Path(__file__).parent / "clock"
DISK_BYTES = 2 << 30
# As they are without a proxy in front.
KAFKA, CLICKHOUSE = kafka.SETTINGS, clickhouse._CONFIG_XML


class House:
    """Servers, proxies, workers and watch of one folder.

    Args:
        folder: Of the embedded servers.
        environment: For the stages.
        small_disk: Put ClickHouse's data on a tmpfs where that is allowed, so that its disk can be filled up.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None, *, small_disk: bool = True) -> None:
        self.folder = folder
        self._clock = folder / "clock"
        self._environment = {
            "TOKENTRAIL_TICKS": "off",
            "TOKENTRAIL_NER": "false",
            "TOKENTRAIL_TEST_CLOCK": str(self._clock),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(CLOCK), os.environ.get("PYTHONPATH", "")])),
            **(environment or {}),
        }
        self._before: dict[str, str | None] = {}
        self._before_us = kafka.SETTINGS, clickhouse._CONFIG_XML
        self._small_disk = small_disk
        self.disk: Path | None = None
        self.settings: Settings
        self.direct: Settings
        self.workers: Workers
        self.watch: LedgerWatch
        self.kafka_proxy: Proxy
        self.clickhouse_proxy: InsertProxy
        self.servers: EmbeddedServers
        self.raw_epoch = 1

    def start(self) -> None:
        """Servers, migrations, watch; no workers yet."""
        self._before = {name: os.environ.get(name) for name in self._environment}
        os.environ.update(self._environment)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clock.write_bytes(struct.pack("<d", 0.0))
        chosen: list[int] = []
        for _ in range(5):
            chosen.append(ports.pick(None, but_not=frozenset(chosen)))
        public, hidden, direct, sql, hidden_sql = chosen
        kafka.SETTINGS = _behind(KAFKA, hidden, direct)
        clickhouse._CONFIG_XML = CLICKHOUSE.replace(
            "<http_port>{port}</http_port>", f"<http_port>{hidden_sql}</http_port>"
        )
        self.kafka_proxy, self.clickhouse_proxy = Proxy(public, hidden), InsertProxy(sql, hidden_sql)
        started: list[str] = []

        def told(sentence: str) -> None:
            # The servers are asked through the proxies; by now their published ports have been found free.
            for name, proxy in (("Kafka", self.kafka_proxy), ("ClickHouse", self.clickhouse_proxy)):
                if sentence.startswith(f"starting {name}") and name not in started:
                    started.append(name)
                    proxy.start()

        self._mount()
        self.servers = EmbeddedServers(self.folder, kafka_port=public, clickhouse_port=sql, on_progress=told)
        self.servers.start()
        self.settings = prepare(self.folder, None)
        self.direct = self.settings.model_copy(update={"kafka_bootstrap": f"127.0.0.1:{direct}"})
        self.watch = LedgerWatch(self.direct)
        self.watch.start()
        self.workers = Workers(self.settings, self.folder)

    def stop(self) -> None:
        """Everything, whatever state it is in."""
        for name, step in (
            ("workers", lambda: self.workers.close()),
            ("watch", lambda: self.watch.close()),
            ("servers", lambda: self.servers.stop()),
            ("kafka_proxy", lambda: self.kafka_proxy.stop()),
            ("clickhouse_proxy", lambda: self.clickhouse_proxy.stop()),
        ):
            if hasattr(self, name):
                with suppress(Exception):
                    step()
        kafka.SETTINGS, clickhouse._CONFIG_XML = self._before_us
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if self.disk is not None:
            subprocess.run(["umount", "-l", str(self.disk)], check=False, capture_output=True)

    def heal(self) -> None:
        """Proxies forward, clocks are right, the disk has room."""
        self.kafka_proxy.heal()
        self.clickhouse_proxy.heal()
        self.shift_clock(0.0)
        if self.disk is not None:
            (self.disk / "filler").unlink(missing_ok=True)

    def restart(self, server: ServerName, *, kill: bool) -> None:
        """End a server, with SIGKILL or in good order, and start it again; returns when it answers."""
        if kill:
            self.servers.kill(server)
        self.servers.restart(server)

    def shift_clock(self, seconds: float) -> None:
        """Let the wall clocks of all workers jump to so much beside the truth."""
        with self._clock.open("r+b") as file:
            file.write(struct.pack("<d", seconds))

    def clickhouse(self) -> Any:
        """A client of the owner of all tables."""
        import clickhouse_connect

        return clickhouse_connect.get_client(
            host=self.settings.clickhouse_host,
            port=self.settings.clickhouse_port,
            username="pipeline",
            password=read_secret(self.folder, "pipeline"),
            database=self.settings.database,
        )

    def ends(self, topic: str) -> dict[int, int]:
        """End offset of every partition of a topic (logical name); waits while Kafka is away."""
        name, deadline = self.settings.topic(topic), time.monotonic() + 90
        consumer = Consumer(self.direct.librdkafka(**{"group.id": f"chaos-{time.monotonic_ns()}", "log_level": 0}))
        try:
            while True:
                try:
                    partitions = consumer.list_topics(name, 5).topics[name].partitions
                    return {n: consumer.get_watermark_offsets(TopicPartition(name, n), 5)[1] for n in partitions}
                except KafkaException:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
        finally:
            consumer.close()

    def read(self, topic: str, partition: int, first: int, next: int) -> list[Any]:
        """Records of one partition as confluent-kafka messages."""
        consumer = Consumer(
            self.direct.librdkafka(
                **{"group.id": f"chaos-{time.monotonic_ns()}", "enable.auto.commit": False, "log_level": 0}
            )
        )
        found: list[Any] = []
        try:
            consumer.assign([TopicPartition(self.settings.topic(topic), partition, first)])
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and (not found or found[-1].offset() < next - 1):
                found += [one for one in consumer.consume(2_000, 0.3) if one.error() is None]
        finally:
            consumer.close()
        return [one for one in found if one.offset() < next]

    def _mount(self) -> None:
        if not self._small_disk:
            return
        disk = self.folder / "clickhouse" / "data"
        disk.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if done.returncode == 0:
            self.disk = disk


def _behind(template: str, hidden: int, direct: int) -> str:
    """Kafka's settings with a hidden port behind the published one, and a further listener that is told as it is."""
    found = re.sub(
        r"(?m)^listeners=(\w+)://\{host\}:\{port\}",
        rf"listeners=\1://{{host}}:{hidden},DIRECT://{{host}}:{direct}",
        template,
    )
    found = re.sub(r"(?m)^(advertised\.listeners=.*)$", rf"\1,DIRECT://{{host}}:{direct}", found)
    found = re.sub(r"(?m)^(listener\.security\.protocol\.map=.*)$", r"\1,DIRECT:PLAINTEXT", found)
    found = re.sub(r"(?m)^inter\.broker\.listener\.name=.*$", "inter.broker.listener.name=DIRECT", found)
    assert found.count("DIRECT") == 4, "Kafka's settings have changed; see infra/embedded/kafka.py"
    return found


def temporary() -> Path:
    """A new folder."""
    return Path(tempfile.mkdtemp(prefix="tokentrail-chaos-"))


def names(stages: Sequence[str]) -> list[str]:
    """Workers' names of stages; a stage twice is two workers."""
    return [f"{stage}-{stages[: place + 1].count(stage)}" for place, stage in enumerate(stages)]
