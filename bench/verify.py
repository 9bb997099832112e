"""How long `verify` takes over a million rows: half calls, half their texts, in ranges of 10,000, on ClickHouse alone.

The rows, roots, heads and the copy of the ledger are made here as the sink and `keep` make them.
"""

from __future__ import annotations

import base64
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import SecretStr

from bench.figures import Report
from bench.sink_records import Records
from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.audit import copies, heads
from pipeline.audit.batch import Slot, build
from pipeline.audit.leaves import seal_key
from pipeline.audit.ledger import Follower, encode
from pipeline.audit.partition import Scope
from pipeline.audit.tables import TABLES
from pipeline.keys import Keys, load
from pipeline.settings import Settings
from pipeline.storage import ledger_copy, native
from pipeline.storage.append import Block, insert
from pipeline.storage.check import check
from pipeline.storage.client import Client, connect
from pipeline.storage.migrate import migrate
from schemas.clean import Clean
from schemas.ledger import Claim, Done, Entry, Signed

PARTITIONS: Final = 4
RANGE: Final = 10_000
TEXT_CHARS: Final = 400
DEADLINE_MS: Final = 60_000

_read = msgspec.json.Decoder(Clean).decode


def run(quick: bool = False) -> Report:
    """Fill a ClickHouse and verify it."""
    report = Report("verify")
    with _clickhouse() as settings:
        client = connect(settings, purpose="bench", timeout_s=300)
        migrate(settings, client=client)
        keys = load(settings)
        ranges = 1 if quick else 1_000_000 // (2 * RANGE * PARTITIONS) + 1
        rows = sum(_fill(client, keys, partition, ranges) for partition in range(PARTITIONS))
        client.close()
        print(f"{rows:,} rows stand; verifying", file=sys.stderr, flush=True)
        begun_s, begun_cpu_s = time.monotonic(), _cpu_s()
        found, _ = check(settings, Scope(0, chain=True), from_clickhouse=True)
        took_s, cpu_s = time.monotonic() - begun_s, _cpu_s() - begun_cpu_s
        server_s = _server_cpu_s(settings)
    assert found.ok and found.rows == rows, found.problems[:3]
    report.add("rows_per_s", [rows / took_s], "1/s")
    report.add("million_rows_s", [took_s * 1_000_000 / rows], "s")
    report.add("own_cpu_us_per_row", [cpu_s * 1e6 / rows], "us")
    report.add("server_cpu_us_per_row", [server_s * 1e6 / rows], "us")
    report.notes.append(
        f"{rows:,} rows with {TEXT_CHARS} characters of text a call, {PARTITIONS} partitions, {os.cpu_count()} cores, "
        "the server on the same machine"
    )
    return report


def _fill(client: Client, keys: Keys, partition: int, ranges: int) -> int:
    """Rows of one partition and its ledger, signed at the end; returns the number of rows."""
    made = Records(keys, RANGE, TEXT_CHARS)
    follower, copied, rows = Follower(partition), [], 0
    key, now = seal_key(keys), client.now_ms()

    def say(**steps: object) -> None:
        value = encode(Entry(partition, "bench", follower.end, follower.state, **steps))  # type: ignore[arg-type]
        offset = follower.end
        verdict = follower.fold(offset, value)
        assert verdict.accepted, verdict.reason
        copied.append(copies.row(key, partition, offset, now, value, verdict, follower.state))

    say(claim=Claim(""))
    for number in range(ranges):
        first = number * RANGE
        slots = [Slot(first + at, _read(value), len(value)) for at, value in enumerate(made.range(partition, first))]
        batch = build(slots, first, first + RANGE, keys)
        say(intent=batch.intent(number + 1, 1, now, 1, first))
        for part in batch.parts:
            table = TABLES[part.cell.table]
            token = f"bench-{partition}-{number}-{part.root[:16]}-{table.name}"
            block = Block(table, token, len(part.rows), native.block(table, part.rows))
            insert(client, block, deadline_ms=client.now_ms() + DEADLINE_MS)
            rows += len(part.rows)
        say(done=Done(number + 1, 1))
    state = follower.state
    said = Signed(follower.end, state.head, state.accepted, now, "", "", "")
    say(signed=heads.sign(heads.private_key(keys), partition, said))
    ledger_copy.append(client, partition, copied)
    return rows


@contextmanager
def _clickhouse() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="tokentrail-bench-") as name:
        folder = Path(name)
        with EmbeddedServers(folder, kafka=False) as servers:
            endpoints = servers.endpoints
            known: dict[str, Any] = {
                "clickhouse_host": endpoints.clickhouse_host,
                "clickhouse_port": endpoints.clickhouse_port,
                "clickhouse_user": "pipeline",
                "clickhouse_password": SecretStr(read_secret(folder, "pipeline")),
                "key_root": SecretStr(base64.b64encode(bytes(range(32))).decode()),
                "data_dir": folder,
            }
            yield Settings(**known)


def _server_cpu_s(settings: Settings) -> float:
    """CPU seconds of the server for the queries of `verify`, by its own log."""
    client = connect(settings, purpose="bench")
    try:
        client.command("SYSTEM FLUSH LOGS")
        ((used_us,),) = client.rows(
            "SELECT sum(ProfileEvents['UserTimeMicroseconds'] + ProfileEvents['SystemTimeMicroseconds']) "
            "FROM system.query_log WHERE log_comment LIKE 'tokentrail:verify%' AND type = 'QueryFinish'"
        )
    finally:
        client.close()
    return float(used_us) / 1e6


def _cpu_s() -> float:
    """CPU seconds of this process and of its ended children."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
