"""Settings: one frozen model, read from `TOKENTRAIL_*` and an optional `.env`-style file, checked at start.

`--data DIR` names the embedded servers' folder: what runs there (ports, passwords) fills in what was not said.
Secrets are references (files or variables), never printed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import UsageError


class Settings(BaseSettings):
    """Everything a stage or a command needs to know about its surroundings."""

    model_config = SettingsConfigDict(env_prefix="TOKENTRAIL_", frozen=True, extra="ignore")

    # Kafka
    kafka_bootstrap: str = Field("", description="host:port of one broker or more")
    kafka_security: dict[str, str] = Field(default_factory=dict, description="further librdkafka settings, as JSON")
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

    def password(self) -> str:
        """ClickHouse password, from its file when one is named.

        Raises:
            UsageError: The file cannot be read.
        """
        if self.clickhouse_password_file is None:
            return self.clickhouse_password.get_secret_value()
        try:
            return self.clickhouse_password_file.read_text().strip()
        except OSError as error:
            raise UsageError(
                f"The ClickHouse password file {self.clickhouse_password_file} cannot be read ({error.strerror}). "
                "Set TOKENTRAIL_CLICKHOUSE_PASSWORD_FILE to a readable file."
            ) from error

    def librdkafka(self, **more: object) -> dict[str, object]:
        """Settings for a confluent-kafka client, with the security settings of the installation."""
        return {"bootstrap.servers": self.kafka_bootstrap, **self.kafka_security, **more}
