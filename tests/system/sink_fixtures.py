"""The fixtures of the sink's and `verify`'s tests."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_samples import call, one_of_each
from pydantic import SecretStr
from sink_support import Sinks
from storage_support import settings_for

from infra.embedded.servers import EmbeddedServers
from pipeline.audit.tables import TABLES
from pipeline.settings import Settings
from pipeline.storage.client import Client, connect
from pipeline.storage.migrate import migrate


def settings_of(broker: EmbeddedServers, storage_settings: Settings) -> Settings:
    """Both servers, topics of one's own."""
    return storage_settings.model_copy(
        update={
            "kafka_bootstrap": broker.endpoints.kafka_bootstrap,
            "prefix": f"t{uuid.uuid4().hex[:8]}.",
            "key_root": SecretStr(base64.b64encode(bytes(range(32))).decode()),
        }
    )


@pytest.fixture
def sinks(broker: EmbeddedServers, clickhouse: Client, storage_settings: Settings, tmp_path: Path) -> Iterator[Sinks]:
    """Fresh topics and an empty database."""
    made = Sinks(settings_of(broker, storage_settings), clickhouse, tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stored(
    broker: EmbeddedServers, clickhouse_server: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sinks]:
    """An installation that stored 4 x 200 records of every kind and then stopped; copies of its tables beside it."""
    settings = settings_of(broker, settings_for(clickhouse_server.endpoints))
    client = connect(settings, purpose="test")
    client.command(f"DROP DATABASE IF EXISTS {client.database} SYNC")
    migrate(settings, client=client)
    made = Sinks(settings, client, tmp_path_factory.mktemp("stored"))
    for partition in range(4):
        made.send([call(offset, partition=partition) for offset in range(190)], partition)
        made.send(one_of_each(190, partition=partition), partition)
    made.start()
    made.wait()
    assert made.end() == 0
    for table in TABLES:
        client.command(f"CREATE TABLE {client.database}.copy_{table} CLONE AS {client.database}.{table}")
    yield made
    made.stop()
    client.close()


@pytest.fixture
def honest(stored: Sinks) -> Sinks:
    """The same, with its tables as they were."""
    client = stored.client
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {client.database}.{table} SYNC")
        for (partition,) in client.rows(
            "SELECT DISTINCT partition_id FROM system.parts WHERE active AND database = {db:String} "
            "AND table = {table:String}",
            {"db": client.database, "table": f"copy_{table}"},
        ):
            client.command(
                f"ALTER TABLE {client.database}.{table} ATTACH PARTITION ID '{partition}' "
                f"FROM {client.database}.copy_{table}"
            )
    return stored
