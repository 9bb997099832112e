"""Sinks as processes on real Kafka and ClickHouse, fed with clean records as `redact` would write them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from pipeline.audit.ledger import Follower
from pipeline.audit.report import Report
from pipeline.settings import Settings
from pipeline.storage.check import verify_installation
from pipeline.storage.client import Client
from pipeline.transport.admin import migrate_topics
from pipeline.transport.tail import read_all
from schemas.clean import Clean
from tests.installation import wait_for

ROOT = Path(__file__).parent.parent.parent
_encode = msgspec.json.Encoder().encode


class Sinks:
    """Topics under a prefix of their own, sink processes, and what came of them."""

    def __init__(self, settings: Settings, client: Client, folder: Path) -> None:
        self.settings = settings
        self.client = client
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sent: dict[int, list[Clean]] = {}
        migrate_topics(settings)
        self._producer = Producer(settings.librdkafka(**{"linger.ms": 20, "message.max.bytes": 2_000_000}))

    def send(self, records: Sequence[Clean], partition: int = 0) -> None:
        """Append clean records to `calls`, in order, and as many to `calls.raw` as they stand for."""
        before = max((clean.fact.next_offset for clean in self.sent.get(partition, [])), default=0)
        self.sent.setdefault(partition, []).extend(records)
        for _ in range(before, max(clean.fact.next_offset for clean in records)):
            self._producer.produce(self.settings.topic("calls.raw"), b"raw", partition=partition)
        for clean in records:
            self._producer.produce(self.settings.topic("calls"), _encode(clean), partition=partition)
            self._producer.poll(0)
        assert self._producer.flush(20) == 0

    def environment(self) -> dict[str, str]:
        """What a process of ours needs to reach this installation."""
        secret = self.settings.clickhouse_password.get_secret_value()
        known = {
            "TOKENTRAIL_KAFKA_BOOTSTRAP": self.settings.kafka_bootstrap,
            "TOKENTRAIL_PREFIX": self.settings.prefix,
            "TOKENTRAIL_CLICKHOUSE_HOST": self.settings.clickhouse_host,
            "TOKENTRAIL_CLICKHOUSE_PORT": str(self.settings.clickhouse_port),
            "TOKENTRAIL_CLICKHOUSE_PASSWORD": secret,
            "TOKENTRAIL_KEY_ROOT": self.settings.key_root.get_secret_value(),
            "PYTHONPATH": str(ROOT),
        }
        return {**os.environ, **known}

    def start(self, name: str = "sink") -> subprocess.Popen[bytes]:
        """One sink process."""
        code = (
            "from agents.sink import Sink; from pipeline.settings import Settings; "
            "from pipeline.transport.runtime import run_stage; raise SystemExit(run_stage(Sink(), Settings()))"
        )
        with (self.folder / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", code], env=self.environment(), stdout=output, stderr=output
            )
        self.processes[name] = process
        return process

    def output(self, name: str = "sink") -> str:
        """What a process wrote."""
        return (self.folder / f"{name}.out").read_text()

    def ledger(self, partition: int = 0) -> Follower:
        """The whole ledger of a partition, folded."""
        follower = Follower(partition)
        for record in read_all(self.settings, "ledger", partition):
            follower.fold(record.offset, record.value or b"")
        return follower

    def attempts(self, partition: int = 0) -> list[int]:
        """The attempt of every accepted INTENT."""
        follower, found = Follower(partition), []
        for record in read_all(self.settings, "ledger", partition):
            verdict = follower.fold(record.offset, record.value or b"")
            if verdict.accepted and verdict.entry is not None and verdict.entry.intent is not None:
                found.append(verdict.entry.intent.attempt)
        return found

    def is_settled(self) -> bool:
        """Whether everything that was sent is done in the ledger (but for silence at the end)."""
        for partition, records in self.sent.items():
            state = self.ledger(partition).state
            last = max(
                (clean.fact.position.epoch, clean.fact.next_offset)
                for clean in records
                if clean.fact.type not in ("tick", "gap")
            )
            if state.open is not None or (state.epoch, state.next) < last:
                return False
        return True

    def wait(self, deadline_s: float = 40.0) -> None:
        """Until all is settled."""
        wait_for("everything is done in the ledger", self.is_settled, deadline_s)

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        tables = ("calls", "call_content", "evaluations", "feedback", "heartbeats", "dead_letters")
        return {
            table: self.client.rows(f"SELECT count() FROM {self.client.database}.{table}")[0][0] for table in tables
        }

    def positions(self, table: str = "calls") -> Counter[tuple[int, int, int]]:
        """How often each position stands in a table."""
        found = self.client.rows(f"SELECT epoch, partition, offset FROM {self.client.database}.{table}")
        return Counter((int(epoch), int(partition), int(offset)) for epoch, partition, offset in found)

    def end(self, name: str = "sink") -> int:
        """Stop a process as an operator would; its exit code."""
        process = self.processes[name]
        process.terminate()
        return process.wait(20)

    def verify(self, **how: bool) -> Report:
        """What `verify` says."""
        return verify_installation(self.settings, **how)

    def stop(self) -> None:
        """End what is left."""
        for process in self.processes.values():
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            process.wait()
