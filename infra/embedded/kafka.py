"""Apache Kafka as one KRaft node on loopback: its settings, its command line, and when it is ready.

Knows nothing of topics. It is meant for one machine: everything has one replica, and pools are small, so that it does
not use the processor when nothing happens.
"""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

from infra.embedded.errors import StartFailed
from infra.embedded.folder import Folder, told_as_not_writable, write_private
from infra.embedded.kafka_runtime import KafkaRuntime
from infra.embedded.leash import bare_environment
from infra.embedded.ports import HOST

FORMAT_LIMIT_S = 60.0
MESSAGE_MAX_BYTES = 4 * 1024 * 1024

# Paths are relative to the working folder: Kafka reads a list where a folder's name has a comma.
# Why, where it is not plain from the name:
# - group.min.session.timeout.ms: a killed worker must be noticed in seconds.
# - metadata.max.idle.interval.ms: without followers nobody needs a no-op record twice a second.
# - broker.session.timeout.ms: after kill -9 the controller takes the node back only when its old session is over.
# - log.index.size.max.bytes: indexes are preallocated; 10 MB for each of hundreds of segments look like a full disk.
# - log.cleaner.dedupe.buffer.size: 128 MB by default, allocated at start.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
auto.leader.rebalance.enable=false
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.segment.bytes=16777216
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
metadata.max.idle.interval.ms=10000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.retention.check.interval.ms=30000
log.segment.delete.delay.ms=5000
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.threads=1
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
background.threads=2
"""

LOGGING = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <RollingFile name="file" fileName="../logs/kafka.log" filePattern="../logs/kafka.log.%i">
      <PatternLayout pattern="%d{ISO8601} %-5p %c{1} %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="5 MB"/></Policies>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Logger name="kafka.server.BrokerServer" level="INFO"/>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="kafka.server.BrokerLifecycleManager" level="INFO"/>
    <Root level="WARN"><AppenderRef ref="file"/></Root>
  </Loggers>
</Configuration>
"""


class Kafka:
    """One Kafka node in a data folder."""

    title = "Kafka"
    leashed = True

    def __init__(self, folder: Folder, port: int, controller_port: int, runtime: KafkaRuntime) -> None:
        self._folder = folder
        self.port = port
        self.all_ports: tuple[int, ...] = (port, controller_port)
        self._controller_port = controller_port
        self._runtime = runtime
        self._home = folder.kafka
        self._data = folder.kafka / "data"
        self._settings = folder.kafka / "server.properties"
        self.log_file = folder.logs / "kafka.log"
        self.output_file = folder.logs / "kafka.out"

    def prepare(self) -> list[str]:
        """Write the settings; format the data folder if this is its first start.

        Returns:
            The command line.

        Raises:
            NotWritable: if the folder cannot be written.
            StartFailed: if formatting does not succeed.
        """
        scratch = self._home / "tmp"
        # Native libraries are unpacked here; what a kill -9 left behind goes.
        shutil.rmtree(scratch, ignore_errors=True)
        with told_as_not_writable(self._home):
            scratch.mkdir()
        settings = SETTINGS.format(
            host=HOST,
            port=self.port,
            controller_port=self._controller_port,
            message_max_bytes=MESSAGE_MAX_BYTES,
        )
        write_private(self._settings, settings)
        write_private(self._home / "log4j2.xml", LOGGING)
        properties = (
            f"-Djava.io.tmpdir={scratch}",
            "-Dlog4j2.configurationFile=log4j2.xml",
            f"-XX:ErrorFile={self._folder.logs}/java-crash.log",
        )
        if not (self._data / "meta.properties").exists():
            self._format(properties)
        return self._runtime.command(properties, "kafka.Kafka", self._settings.name)

    def _format(self, properties: tuple[str, ...]) -> None:
        if (self._data / "__cluster_metadata-0").exists():
            raise StartFailed(
                f"Kafka's data in {self._data} is damaged: meta.properties is missing. "
                "Restore it, or use another data folder."
            )
        # A format that a kill interrupted is begun anew.
        shutil.rmtree(self._data, ignore_errors=True)
        arguments = ("format", "-t", _new_cluster_id(), "-c", self._settings.name)
        done = subprocess.run(
            self._runtime.command(properties, "kafka.tools.StorageTool", *arguments),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=bare_environment(),
            cwd=self._home,
            timeout=FORMAT_LIMIT_S,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise StartFailed(f"Kafka could not format {self._data}: {said[-1] if said else 'it said nothing'}.")

    @property
    def working_folder(self) -> Path:
        """Where the process runs."""
        return self._home

    def is_ready(self) -> bool:
        """Say whether this very node (by its cluster id) answers on its port."""
        try:
            socket.create_connection((HOST, self.port), timeout=0.5).close()
        except OSError:
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": f"{HOST}:{self.port}", "log_level": 0})
        try:
            answer = client.list_topics(timeout=2.0)
        except KafkaException:
            return False
        return bool(answer.cluster_id == self._cluster_id() and answer.brokers)

    def _cluster_id(self) -> str | None:
        for line in (self._data / "meta.properties").read_text().splitlines():
            key, _, value = line.partition("=")
            if key == "cluster.id":
                return value
        return None


def _new_cluster_id() -> str:
    """A random id in Kafka's notation; one that begins with a dash would be read as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
