"""Environments stay apart: a worker of staging that is given production's addresses is refused, and says why."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.embedded import EmbeddedServers
from pipeline import identity
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.storage.client import connect
from pipeline.storage.migrate import migrate
from pipeline.transport.admin import migrate_topics
from pipeline.transport.identity import check, registered
from tests.system.storage_support import settings_for

pytestmark = pytest.mark.system


def root(byte: int) -> SecretStr:
    return SecretStr(base64.b64encode(bytes([byte]) * 32).decode())


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Production, migrated."""
    folder = tmp_path_factory.mktemp("prod") / "data"
    with EmbeddedServers(folder, database="tokentrail_prod") as servers:
        settings = settings_for(servers.endpoints, environment="prod", key_root=root(1))
        assert (settings.prefix, settings.database) == ("prod.llm.", "tokentrail_prod")
        migrate_topics(settings)
        migrate(settings)
        yield settings


def worker(settings: Settings, stage: str, environment: str, key: SecretStr) -> tuple[int, str]:
    """A worker that was given production's addresses and names."""
    known = {
        "TOKENTRAIL_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TOKENTRAIL_PREFIX": settings.prefix,
        "TOKENTRAIL_CLICKHOUSE_HOST": settings.clickhouse_host,
        "TOKENTRAIL_CLICKHOUSE_PORT": str(settings.clickhouse_port),
        "TOKENTRAIL_CLICKHOUSE_PASSWORD": settings.password(),
        "TOKENTRAIL_DATABASE": settings.database,
        "TOKENTRAIL_ENVIRONMENT": environment,
        "TOKENTRAIL_KEY_ROOT": key.get_secret_value(),
    }
    command = [sys.executable, "-m", "pipeline.cli.main", "worker", "--stage", stage]
    done = subprocess.run(command, env={**os.environ, **known}, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr + done.stdout


@pytest.mark.parametrize("stage", ["guard", "keep"])
def test_a_worker_of_another_environment_is_refused_in_prod(prod: Settings, stage: str) -> None:
    code, said = worker(prod, stage, "staging", root(1))
    assert code == 2, said
    assert "belongs to the environment 'prod', and this process to 'staging'" in said


def test_a_worker_with_another_key_root_is_refused_in_prod(prod: Settings) -> None:
    code, said = worker(prod, "sink", "prod", root(2))
    assert code == 2, said
    assert "was made with another key root" in said
    assert root(2).get_secret_value() not in said


def test_prods_own_settings_are_taken_and_a_second_migration_changes_nothing(prod: Settings) -> None:
    check(prod)
    connect(prod, purpose="test").close()
    assert migrate_topics(prod) == []
    assert registered(prod) == identity.of(prod)


@pytest.mark.parametrize("change", [{"environment": "staging"}, {"environment": ""}, {"key_root": root(3)}])
def test_others_can_neither_migrate_prod_nor_write_rows_into_it(prod: Settings, change: dict[str, object]) -> None:
    other = prod.model_copy(update=change)
    for attempt in (migrate_topics, connect, check):
        with pytest.raises(UsageError, match=r"belongs to the environment|another key root"):
            attempt(other)  # type: ignore[operator]


def test_the_users_of_one_environment_are_not_granted_anothers_database(prod: Settings) -> None:
    client = connect(prod, purpose="test")
    for statement in ("CREATE DATABASE tokentrail", "CREATE DATABASE tokentrail_staging"):
        with pytest.raises(Exception, match="ACCESS_DENIED"):
            client.command(statement)
    client.close()


def test_what_is_not_named_is_named_after_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFIX", "DATABASE", "ENVIRONMENT"):
        monkeypatch.delenv(f"TOKENTRAIL_{name}", raising=False)
    staging, plain = Settings(environment="staging"), Settings()
    assert (staging.topic("calls"), staging.database, staging.group("sink")) == (
        "staging.llm.calls",
        "tokentrail_staging",
        "tokentrail.staging.llm.sink",
    )
    assert staging.login("ingest") == "staging_ingest"
    assert (plain.topic("calls"), plain.database, plain.login("ingest")) == ("llm.calls", "tokentrail", "ingest")
    assert Settings(environment="staging", prefix="x.").topic("calls") == "x.calls"


def test_a_file_for_a_password_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = Settings(kafka_protocol="sasl_ssl", kafka_user="sink", kafka_password_file=tmp_path / "none")
    with pytest.raises(UsageError, match="TOKENTRAIL_KAFKA_PASSWORD_FILE"):
        settings.librdkafka()
