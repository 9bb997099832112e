"""Over SASL_SSL with rules for each stage, and ClickHouse behind TLS: rows arrive, no stage may do another's work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from typer.testing import CliRunner

import infra.embedded.kafka
from infra.embedded import EmbeddedServers, ports, read_secret
from pipeline.cli import main
from pipeline.cli.context import stage_settings
from pipeline.keys import create_root
from pipeline.settings import Settings
from pipeline.storage.client import ClickHouseError, Client
from tests.installation import wait_for
from tests.system.secured_support import Certificates, TlsProxy, listeners, make_logins

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
EVENTS = 40
STAGES = ("measure", "redact", "sink", "act", "keep")
ROOT = Path(__file__).parents[2]


@dataclass
class Secured:
    """What runs, and how an operator reaches it."""

    environment: dict[str, str]
    folder: Path
    credentials: Path
    proxy: TlsProxy
    processes: dict[str, subprocess.Popen[bytes]]

    def settings(self, principal: str, user: str = "") -> Settings:
        """Settings of anybody."""
        known: dict[str, object] = {
            "kafka_user": principal,
            "kafka_password_file": self.credentials / f"kafka.{principal}",
        }
        if user:
            known |= {"clickhouse_user": user, "clickhouse_password_file": self.credentials / f"clickhouse.{user}"}
        return Settings(**known)  # type: ignore[arg-type]

    def output(self, stage: str) -> str:
        return (self.folder / f"{stage}.out").read_text()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    credentials = folder / "credentials"
    credentials.mkdir(mode=0o700)
    certificates, secure_port = Certificates(folder), ports.pick(None)
    with pytest.MonkeyPatch.context() as patch:
        lines = infra.embedded.kafka.SETTINGS + listeners(secure_port, certificates)
        patch.setattr(infra.embedded.kafka, "SETTINGS", lines)
        with EmbeddedServers(folder / "data") as servers:
            at = servers.endpoints
            make_logins(at.kafka_bootstrap, credentials)
            for user in ("pipeline", "ingest", "archive", "custodian", "auditor"):
                (credentials / f"clickhouse.{user}").write_text(read_secret(at.data_dir, user))
            create_root(folder / "root.key")
            proxy = TlsProxy(certificates, (at.clickhouse_host, at.clickhouse_port))
            environment = {
                "TOKENTRAIL_KAFKA_BOOTSTRAP": f"127.0.0.1:{secure_port}",
                "TOKENTRAIL_KAFKA_PROTOCOL": "sasl_ssl",
                "TOKENTRAIL_KAFKA_CA_FILE": str(certificates.ca_file),
                "TOKENTRAIL_CLICKHOUSE_HOST": "127.0.0.1",
                "TOKENTRAIL_CLICKHOUSE_PORT": str(proxy.port),
                "TOKENTRAIL_CLICKHOUSE_SECURE": "true",
                "TOKENTRAIL_CLICKHOUSE_CA_FILE": str(certificates.ca_file),
                "TOKENTRAIL_CREDENTIALS_DIR": str(credentials),
                "TOKENTRAIL_KEY_ROOT_FILE": str(folder / "root.key"),
                "TOKENTRAIL_NER": "false",
                "TOKENTRAIL_PARTITIONS": "1",
            }
            for name, value in environment.items():
                patch.setenv(name, value)
            made = Secured(environment, folder, credentials, proxy, {})
            try:
                _prepare(made, at.kafka_bootstrap)
                yield made
            finally:
                for process in made.processes.values():
                    process.kill()
                    process.wait()
                proxy.close()


def _prepare(made: Secured, plain_bootstrap: str) -> None:
    """Rules by who may make rules, everything else by the operator over the secured ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENTRAIL_KAFKA_BOOTSTRAP", plain_bootstrap)
        patch.setenv("TOKENTRAIL_KAFKA_PROTOCOL", "plaintext")
        done = CliRunner().invoke(main.app, ["access", "kafka", "--apply"])
        assert done.exit_code == 0, done.output
    operator = {
        "TOKENTRAIL_KAFKA_USER": "operator",
        "TOKENTRAIL_KAFKA_PASSWORD_FILE": str(made.credentials / "kafka.operator"),
        "TOKENTRAIL_CLICKHOUSE_USER": "pipeline",
        "TOKENTRAIL_CLICKHOUSE_PASSWORD_FILE": str(made.credentials / "clickhouse.pipeline"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in operator.items():
            patch.setenv(name, value)
        done = CliRunner().invoke(main.app, ["migrate"])
        assert done.exit_code == 0, done.output + str(done.exception)
    for stage in STAGES:
        command = [sys.executable, "-m", "pipeline.cli.main", "worker", "--stage", stage]
        with (made.folder / f"{stage}.out").open("ab") as output:
            made.processes[stage] = subprocess.Popen(
                command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=output, stderr=output
            )


def test_events_of_an_application_become_rows_over_the_secured_ways(secured: Secured) -> None:
    settings = secured.settings("application")
    producer = Producer(settings.librdkafka(**{"linger.ms": 5}))
    for number in range(EVENTS):
        event = {"tenant": "acme", "kind": "call", "model": "m", "ts": int(time.time() * 1000), "status": "ok",
                 "input": [{"role": "user", "content": f"write to jane.doe{number}@example.com"}]}  # fmt: skip
        producer.produce(settings.topic("calls.raw"), orjson.dumps(event))
    assert producer.flush(30) == 0
    client = Client(secured.settings("operator", "auditor"), purpose="test")

    def arrived() -> bool:
        for stage, process in secured.processes.items():
            assert process.poll() is None, secured.output(stage)[-3000:]
        return bool(client.rows("SELECT count() FROM tokentrail.calls")[0][0] == EVENTS)

    wait_for("the rows", arrived, 100, 0.2)
    wait_for("the copy of the ledger", lambda: client.rows("SELECT count() FROM tokentrail.ledger")[0][0] > 1, 30, 0.2)
    client.close()
    assert secured.proxy.connections >= 3
    for stage in STAGES:
        said = secured.output(stage)
        assert "AUTHORIZATION" not in said and "ACCESS_DENIED" not in said and "497" not in said, said[-3000:]


def read(settings: Settings, topic: str) -> str:
    """Name of the error of reading a topic; empty when it can be read."""
    consumer = Consumer(
        settings.librdkafka(**{"group.id": settings.group("reader"), "enable.partition.eof": True, "log_level": 0})
    )
    try:
        consumer.assign([TopicPartition(settings.topic(topic), 0, 0)])
        message = consumer.poll(20)
        assert message is not None
        return message.error().name() if message.error() else ""
    finally:
        consumer.close()


def write(settings: Settings, topic: str) -> str:
    """Name of the error of writing to a topic; empty when it was written."""
    failures: list[str] = []
    producer = Producer(settings.librdkafka(log_level=0))
    producer.produce(
        settings.topic(topic), b"{}", on_delivery=lambda error, _: failures.append(error.name()) if error else None
    )
    assert producer.flush(20) == 0
    return "".join(failures)


@pytest.mark.parametrize(
    ("principal", "topic"),
    [("sink", "calls.raw"), ("act", "calls"), ("guard", "calls"), ("application", "calls.raw"), ("subscriber", "calls"),
     ("redact", "ledger"), ("meter", "calls.raw")],
)  # fmt: skip
def test_a_principal_cannot_read_what_is_not_its_own(secured: Secured, principal: str, topic: str) -> None:
    assert read(secured.settings(principal), topic) == "TOPIC_AUTHORIZATION_FAILED"


@pytest.mark.parametrize(
    ("principal", "topic"), [("sink", "calls"), ("measure", "calls"), ("redact", "ledger"), ("application", "controls")]
)
def test_a_principal_cannot_write_what_is_not_its_own(secured: Secured, principal: str, topic: str) -> None:
    assert write(secured.settings(principal), topic) == "TOPIC_AUTHORIZATION_FAILED"


def test_the_same_principals_can_do_what_is_their_own(secured: Secured) -> None:
    assert read(secured.settings("redact"), "calls.raw") in ("", "_PARTITION_EOF")
    assert read(secured.settings("sink"), "calls") in ("", "_PARTITION_EOF")


def test_without_a_password_or_without_trust_nobody_gets_in(secured: Secured, tmp_path: Path) -> None:
    wrong = secured.settings("sink").model_copy(update={"kafka_password_file": secured.credentials / "kafka.act"})
    with pytest.raises(KafkaException):
        Consumer(wrong.librdkafka(**{"group.id": "x", "log_level": 0})).list_topics(timeout=4)
    stranger = Certificates(tmp_path)
    untrusting = secured.settings("sink").model_copy(update={"kafka_ca_file": stranger.ca_file})
    with pytest.raises(KafkaException):
        Consumer(untrusting.librdkafka(**{"group.id": "x", "log_level": 0})).list_topics(timeout=4)
    with pytest.raises(ClickHouseError, match="could not be reached"):
        doubting = secured.settings("operator", "auditor").model_copy(update={"clickhouse_ca_file": stranger.ca_file})
        Client(doubting, purpose="test", timeout_s=5)


def test_a_stage_that_has_no_business_with_clickhouse_is_not_given_it(secured: Secured) -> None:
    assert stage_settings(None, "measure").clickhouse_host == ""
    sink = stage_settings(None, "sink")
    assert (sink.clickhouse_user, sink.kafka_user) == ("ingest", "sink")


# The words that must stand nowhere.
def secrets_of(secured: Secured) -> dict[str, str]:
    found = {path.name: path.read_text().strip() for path in secured.credentials.iterdir()}
    return found | {"root.key": (secured.folder / "root.key").read_text().strip()}


def test_no_secret_stands_in_a_log_in_doctors_words_or_in_a_list_of_processes(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENTRAIL_KAFKA_USER", "operator")
    monkeypatch.setenv("TOKENTRAIL_KAFKA_PASSWORD_FILE", str(secured.credentials / "kafka.operator"))
    monkeypatch.setenv("TOKENTRAIL_CLICKHOUSE_PASSWORD_FILE", str(secured.credentials / "clickhouse.pipeline"))
    doctor = [CliRunner().invoke(main.app, ["doctor", *how]).output for how in ((), ("--json",))]
    assert "127.0.0.1" in doctor[0]
    listed = subprocess.run(
        ["ps", "axwww", "-o", "args"], capture_output=True, text=True, check=True, timeout=20
    ).stdout
    assert "pipeline.cli.main worker --stage sink" in listed
    places = {"doctor": "".join(doctor), "ps": listed, "settings": repr(secured.settings("sink", "ingest"))}
    for path in secured.folder.rglob("*"):
        if path.is_file() and (path.suffix in (".log", ".out") or path.name in ("stages.json", "servers.json")):
            places[str(path)] = path.read_text(errors="replace")
    assert len(places) > len(STAGES) + 3
    for name, secret in secrets_of(secured).items():
        assert len(secret) > 20
        for place, text in places.items():
            assert secret not in text, f"{name} stands in {place}"
