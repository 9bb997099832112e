"""A ClickHouse whose disk is full: an answer is right or an error, never empty, and no insert is half there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded.clickhouse import KEEP_FREE_BYTES
from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.settings import Settings
from pipeline.storage.client import ClickHouseError, Client, connect

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
ROWS = "SELECT number, randomPrintableASCII(100) FROM numbers(100000)"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "clickhouse" / "data"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=512m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def counted(client: Client) -> int:
    return int(client.rows(f"SELECT count() FROM {client.database}.full")[0][0])


def fill(disk: Path, leave_bytes: int) -> None:
    filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY)
    free = os.statvfs(disk)
    os.posix_fallocate(filler, 0, free.f_bavail * free.f_frsize - leave_bytes)
    os.close(filler)


def test_on_a_full_disk_reads_are_right_and_inserts_are_refused(disk: Path, tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, kafka=False) as servers:
        at = servers.endpoints
        settings = Settings(
            clickhouse_host=at.clickhouse_host,
            clickhouse_port=at.clickhouse_port,
            clickhouse_password=read_secret(tmp_path, "pipeline"),
            database="tokentrail",
        )
        client = connect(settings, purpose="test")
        client.command("CREATE DATABASE IF NOT EXISTS tokentrail")
        client.command("CREATE TABLE tokentrail.full (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        client.command(f"INSERT INTO tokentrail.full {ROWS}")
        for leave_bytes in (KEEP_FREE_BYTES // 2, 0):
            fill(disk, leave_bytes)
            assert client.now_ms() > 1_700_000_000_000
            assert counted(client) == 100_000
            with pytest.raises(ClickHouseError, match="NOT_ENOUGH_SPACE"):
                client.command(f"INSERT INTO tokentrail.full {ROWS}")
            (disk / "filler").unlink()
        client.command(f"INSERT INTO tokentrail.full {ROWS}")
        assert counted(client) == 200_000
        assert client.rows("SELECT uniqExact(n), sum(length(s)) FROM tokentrail.full") == [(100_000, 20_000_000)]
        client.close()
