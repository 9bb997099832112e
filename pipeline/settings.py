"""Settings: one frozen model, read from `TOKENTRAIL_*` and an optional `.env`-style file, checked at start.

`--data DIR` names the embedded servers' folder: what runs there (ports, passwords) fills in what was not said.
Secrets are references (files or variables), never printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import UsageError


class Settings(BaseSettings):
    """Everything a stage or a command needs to know about its surroundings."""

    model_config = SettingsConfigDict(env_prefix="TOKENTRAIL_", frozen=True, extra="ignore")

    # which installation
    environment: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9]{0,20})?$",
        description="staging, prod, ...: topics, database and logins get its name",
    )
    credentials_dir: Path | None = Field(
        None, description="folder of password files, clickhouse.USER and kafka.STAGE: a login of its own for each stage"
    )
    # Kafka
    kafka_bootstrap: str = Field("", description="host:port of one broker or more")
    kafka_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="how to speak to the brokers"
    )
    kafka_ca_file: Path | None = Field(None, description="certificates that the brokers' are checked against")
    kafka_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("SCRAM-SHA-512", description="of SASL")
    kafka_user: str = Field("", description="of SASL; with a credentials folder: environment and stage")
    kafka_password: SecretStr = Field(SecretStr(""), description="better: the file below")
    kafka_password_file: Path | None = Field(None, description="file that holds the password")
    kafka_security: dict[str, str] = Field(
        default_factory=dict, repr=False, description="further librdkafka settings, as JSON; they win"
    )
    prefix: str = Field("llm.", description="before every topic's logical name")
    group_prefix: str = Field("tokentrail.", description="before every consumer group")
    partitions: int = Field(4, ge=1, le=1024, description="of a topic that `migrate` creates")
    replication: int = Field(1, ge=1, le=5, description="of a topic that `migrate` creates")
    # ClickHouse
    clickhouse_host: str = Field("", description="host of the HTTP interface")
    clickhouse_port: int = Field(8123, description="its port")
    clickhouse_user: str = Field("pipeline", description="user of the stages")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="better: the file below")
    clickhouse_password_file: Path | None = Field(None, description="file that holds the password")
    clickhouse_secure: bool = Field(False, description="TLS")
    clickhouse_ca_file: Path | None = Field(None, description="certificates that the server's is checked against")
    database: str = Field("tokentrail", pattern=r"^[a-z][a-z0-9_]{0,40}$", description="database of all tables")
    # keys and policy
    key_root_file: Path | None = Field(None, description="root of all keys: base64, a file of mode 0600")
    key_root: SecretStr = Field(SecretStr(""), description="the same as a value, where no file can be used")
    policy_file: Path | None = Field(None, description="retention and content policy (TOML), read by `migrate`")
    raw_hours: float = Field(
        6.0, ge=0, le=168, description="raw records are deleted so many hours after their row and their fact"
    )
    # proof
    head_every_s: float = Field(600.0, ge=1, description="the head of a ledger that moved is signed so often")
    anchors: str = Field(
        "", description="where a day's anchor goes: a folder, an fsspec URL, mailto:ADDRESS; none: DATA/anchors"
    )
    smtp_url: SecretStr = Field(SecretStr(""), description="mail server: smtps://USER:PASSWORD@HOST:PORT, or smtp://")
    mail_from: str = Field("", description="sender of anchors by mail; none: the address itself")
    # redaction
    ner: bool = Field(True, description="find names and places too, not only patterns")
    ner_model: str | None = Field(None, description="package or folder of a spaCy model; none: the small one")
    redaction: Literal["on", "off"] = Field("on", description="off exists for control runs; rows then say so")
    redact_processes: int = Field(1, ge=0, le=64, description="redaction processes of one `redact` worker, a core each")
    extra_recognizers: tuple[str, ...] = Field((), description="further Presidio recognisers, as module:Class")
    # classifiers
    classifiers: tuple[str, ...] = Field(
        (), description="what judges answers, as JSON: sentiment, safety, module:callable, or an http address"
    )
    classify_share: float = Field(0.05, ge=0, le=1, description="of all calls, chosen by their id")
    classify_timeout_s: float = Field(5.0, gt=0, le=300, description="a verdict that comes later is none")
    classify_concurrency: int = Field(8, ge=1, le=256, description="answers that are judged at the same time")
    # time
    ticks: Literal["wall", "off"] = Field("wall", description="off: the producer sends ticks of its own (simulation)")
    allowed_lateness_s: float = Field(120.0, ge=0, description="later events are counted and correct their window")
    # processes
    data_dir: Path | None = Field(None, description="folder of the embedded servers")
    metrics_host: str = Field("127.0.0.1", description="where Prometheus endpoints listen")
    metrics_port: int = Field(0, ge=0, le=65535, description="0: a free one")
    webhook_url: SecretStr = Field(SecretStr(""), description="where `act` posts anomalies")
    log_level: str = Field("INFO", description="of the stages' logs")

    def topic(self, name: str) -> str:
        """The physical name of a topic by its logical name."""
        return self.prefix + name

    def group(self, stage: str) -> str:
        """The consumer group of a stage; the prefix of the topics keeps environments apart."""
        return f"{self.group_prefix}{self.prefix}{stage}"

    @model_validator(mode="before")
    @classmethod
    def _keep_environments_apart(cls, values: dict[str, Any]) -> dict[str, Any]:
        """What nobody named is named after the environment."""
        environment = values.get("environment")
        named = {"prefix": f"{environment}.llm.", "database": f"tokentrail_{environment}"} if environment else {}
        return {**named, **values}

    def login(self, name: str) -> str:
        """The name under which a role or stage logs in, where servers may hold more than one environment."""
        return f"{self.environment}_{name}" if self.environment else name

    def password(self) -> str:
        """ClickHouse password, from its file when one is named.

        Raises:
            UsageError: The file cannot be read.
        """
        return _secret("ClickHouse", self.clickhouse_password, self.clickhouse_password_file)

    def librdkafka(self, **more: object) -> dict[str, object]:
        """Settings for a confluent-kafka client, with the security settings of the installation."""
        return {"bootstrap.servers": self.kafka_bootstrap, **self.kafka_access(), **more}

    def kafka_access(self) -> dict[str, str]:
        """Protocol, certificates and login, under librdkafka's names.

        Raises:
            UsageError: The password's file cannot be read.
        """
        found: dict[str, str] = {}
        if self.kafka_protocol != "plaintext":
            found["security.protocol"] = self.kafka_protocol
        if self.kafka_ca_file is not None:
            found["ssl.ca.location"] = str(self.kafka_ca_file)
        if self.kafka_protocol.startswith("sasl"):
            found["sasl.mechanism"] = self.kafka_mechanism
            found["sasl.username"] = self.kafka_user
            found["sasl.password"] = _secret("Kafka", self.kafka_password, self.kafka_password_file)
        return found | self.kafka_security


def _secret(server: str, value: SecretStr, file: Path | None) -> str:
    if file is None:
        return value.get_secret_value()
    try:
        return file.read_text().strip()
    except OSError as error:
        raise UsageError(
            f"The {server} password file {file} cannot be read ({error.strerror}). "
            f"Set TOKENTRAIL_{server.upper()}_PASSWORD_FILE to a readable file."
        ) from error
