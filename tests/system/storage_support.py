"""A real ClickHouse for the storage tests, one for a test session, with an empty database for each test."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import pytest
from pydantic import SecretStr

from infra.embedded.servers import EmbeddedServers, Endpoints, read_secret
from pipeline.settings import Settings
from pipeline.storage.append import Block, insert
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
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(Path(tmp_path_factory.mktemp("clickhouse")), kafka=False) as servers:
        yield servers


@pytest.fixture
def storage_settings(clickhouse_server: EmbeddedServers) -> Settings:
    return settings_for(clickhouse_server.endpoints)


@pytest.fixture
def clickhouse(storage_settings: Settings) -> Iterator[Client]:
    """A client on a freshly migrated database."""
    found = connect(storage_settings, purpose="test")
    found.command(f"DROP DATABASE IF EXISTS {found.database} SYNC")
    migrate(storage_settings, client=found)
    yield found
    found.close()


class StalledInsert:
    """The append's own insert over a socket of ours, whose body stops in the middle until `finish`."""

    def __init__(self, settings: Settings, client: Client, block: Block, *, deadline_ms: int) -> None:
        sent: list[tuple[str, bytes, dict[str, object]]] = []
        recorder = SimpleNamespace(database=client.database, send=lambda *parts: sent.append(parts))
        insert(recorder, block, deadline_ms=deadline_ms)  # type: ignore[arg-type]
        ((sql, self._body, query_settings),) = sent
        self.deadline_ms = deadline_ms
        self._http = http.client.HTTPConnection(settings.clickhouse_host, settings.clickhouse_port, timeout=30)
        password = base64.b64encode(f"{settings.clickhouse_user}:{settings.password()}".encode()).decode()
        self._http.putrequest("POST", "/?" + urlencode({"query": sql, **query_settings}))
        self._http.putheader("Authorization", f"Basic {password}")
        self._http.putheader("Content-Length", str(len(self._body)))
        self._http.endheaders()

    def send_half(self) -> None:
        self._http.send(self._body[: len(self._body) // 2])

    def finish(self) -> int | None:
        """Send the rest; the server's error code, or None when it took the insert."""
        self._http.send(self._body[len(self._body) // 2 :])
        answer = self._http.getresponse()
        answer.read()
        self._http.close()
        code = answer.headers.get("X-ClickHouse-Exception-Code")
        return int(code) if code else None


@pytest.fixture
def stalled_insert() -> type[StalledInsert]:
    return StalledInsert
