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
    kafka_bootstrap: str = ""
    kafka_security: dict[str, str] = Field(default_factory=dict, description="further librdkafka settings, as JSON")
    prefix: str = Field("llm.", description="before every topic's logical name")
    group_prefix: str = Field("tokentrail.", description="before every consumer group")
    partitions: int = Field(4, ge=1, le=1024)
    replication: int = Field(1, ge=1, le=5)
    # ClickHouse
    clickhouse_host: str = ""
    clickhouse_port: int = 8123
    clickhouse_user: str = "pipeline"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_password_file: Path | None = None
    clickhouse_secure: bool = False
    database: str = Field("tokentrail", pattern=r"^[a-z][a-z0-9_]{0,40}$")
    # keys and policy
    key_root_file: Path | None = None
    key_root: SecretStr = Field(SecretStr(""), description="base64 root key, where no file can be used")
    policy_file: Path | None = None
    environment: str = "prod"
    # redaction
    ner: bool = True
    ner_model: str | None = Field(
        None, description="package or folder of a spaCy model; None is the packaged small one"
    )
    redaction: Literal["on", "off"] = Field("on", description="off exists for control runs; rows then say so")
    redact_processes: int = Field(1, ge=0, le=64)
    extra_recognizers: tuple[str, ...] = ()
    # time
    ticks: Literal["wall", "off"] = Field("wall", description="off: the producer sends ticks of its own (simulation)")
    allowed_lateness_s: float = Field(120.0, ge=0)
    # processes
    data_dir: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535, description="0: a free one")
    webhook_url: SecretStr = SecretStr("")
    log_level: str = "INFO"

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
