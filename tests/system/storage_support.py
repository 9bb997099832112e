"""A real ClickHouse for the storage tests, one for a test session, with an empty database for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.embedded.servers import EmbeddedServers, Endpoints, read_secret
from pipeline.settings import Settings
from pipeline.storage.client import Client, connect
from pipeline.storage.migrate import migrate


def settings_for(endpoints: Endpoints, user: str = "pipeline", **more: object) -> Settings:
    return Settings(
        clickhouse_host=endpoints.clickhouse_host,
        clickhouse_port=endpoints.clickhouse_port,
        clickhouse_user=user,
        clickhouse_password=SecretStr(read_secret(endpoints.data_dir, user)),
        kafka_bootstrap=endpoints.kafka_bootstrap,
        data_dir=endpoints.data_dir,
        **more,
    )


@pytest.fixture(scope="session")
def clickhouse_endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    folder = Path(tmp_path_factory.mktemp("clickhouse"))
    with EmbeddedServers(folder, kafka=False) as servers:
        yield servers.endpoints


@pytest.fixture
def storage_settings(clickhouse_endpoints: Endpoints) -> Settings:
    return settings_for(clickhouse_endpoints)


@pytest.fixture
def clickhouse(storage_settings: Settings) -> Iterator[Client]:
    """A client on a freshly migrated database."""
    found = connect(storage_settings, purpose="test")
    found.command(f"DROP DATABASE IF EXISTS {found.database} SYNC")
    migrate(storage_settings, client=found)
    yield found
    found.close()
