"""Fixtures of the transport's system tests: one broker for all, a prefix of topics for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from transport_pipeline import Pipeline

from infra.embedded.servers import EmbeddedServers


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """The real Kafka, once for all tests that ask for it."""
    with EmbeddedServers(tmp_path_factory.mktemp("kafka"), clickhouse=False) as servers:
        yield servers


@pytest.fixture
def kafka(broker: EmbeddedServers, tmp_path: Path) -> Iterator[Pipeline]:
    """Fresh topics on it, and workers that end with the test."""
    made = Pipeline(broker, tmp_path)
    yield made
    made.stop()
