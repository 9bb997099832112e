"""`bench sink`: prepared ranges to sealed rows in two tables and to the ledger, beside a plain `insert` of those rows.

Ours is the stage itself (`agents.sink.Sink`) on the real engines: it decodes clean records, makes rows, leaves, seals
and roots, announces every range in `llm.ledger` and inserts its parts; only the fetch from Kafka is left out. The other
side is clickhouse-connect's `insert` of the same rows into the same tables without audit work, twice: with records as
bytes, which it decodes and makes tuples of, as anybody would have to; and with tuples that are ready. Each side is a
process of its own (`bench.sink_side`); they take turns. No merge runs within a turn, and all run between turns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from bench.clock import cpu_of
from bench.figures import Report
from bench.servers import installation
from infra.embedded.servers import EmbeddedServers
from pipeline.settings import Settings
from pipeline.storage.client import Client, connect

RANGE: Final = 10_000  # records, each a row in both tables
TEXT_CHARS: Final = 300  # gives 1 kB in both tables together
PARTITIONS: Final = 2  # in flight at once
SIDES: Final = ("ours", "bytes", "tuples")
TABLES: Final = ("calls", "call_content")
MERGES_S: Final = 120.0
QUIET_S: Final = 0.5


def run(quick: bool = False) -> Report:
    """All sides in turn on one installation."""
    rounds, ranges = (1, 2) if quick else (7, 5)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in SIDES}
    merging: dict[str, list[float]] = {name: [] for name in SIDES}
    with ExitStack() as stack:
        servers, settings, _ = stack.enter_context(installation({"TOKENTRAIL_TICKS": "off"}))
        client = connect(settings, purpose="bench")
        stack.callback(client.close)
        sides = {name: stack.enter_context(_Side(name, settings, servers)) for name in SIDES}
        _merges(client, "STOP")
        for number in range(rounds + 1):  # the first is for warming up
            for name in (*SIDES[number % 3 :], *SIDES[: number % 3]):
                # Ours has more than one partition: the same number of records for all.
                count = ranges * (1 if name == "ours" else PARTITIONS)
                sides[name].ask(do="prepare", ranges=count)
                answer = sides[name].ask(do="run")
                spent = _merged(client, servers.pids()["clickhouse"])
                if number:
                    found[name].append(answer)
                    merging[name].append(spent / answer["records"] * 1e6)
        _check(client, (rounds + 1) * ranges * PARTITIONS * RANGE)
        size = _row_bytes(client)
    return _report(found, merging, rounds, ranges, size)


def _report(
    found: dict[str, list[dict[str, float]]], merging: dict[str, list[float]], rounds: int, ranges: int, size: float
) -> Report:
    report = Report("sink")
    ours = found["ours"]
    report.add("rows_per_s", [one["rows_per_s"] for one in ours], "1/s", against=_middle(found["bytes"], "rows_per_s"))
    for name, other in (("cpu_ratio_insert", "bytes"), ("cpu_ratio_insert_tuples_ready", "tuples")):
        ratios = [a["cpu_us"] / b["cpu_us"] for a, b in zip(ours, found[other], strict=True)]
        report.add(name, ratios, "1")
    report.add("cpu_us", [one["cpu_us"] for one in ours], "us", against=_middle(found["bytes"], "cpu_us"))
    for side, answers in found.items():
        prefix = "cpu_us" if side == "ours" else f"cpu_us.insert_{side}"
        for part in ("client_us", "clickhouse_us", "kafka_us"):
            report.add(f"{prefix}.{part.removesuffix('_us')}", [one[part] for one in answers], "us")
    report.add("merges_us", merging["ours"], "us", against=round(sorted(merging["bytes"])[rounds // 2], 1))
    report.notes += [
        f"A row is one record: one row of {TABLES[0]} and one of {TABLES[1]}, {size:.0f} bytes uncompressed together; "
        "halve the microseconds and double the rate for single table rows.",
        f"{rounds} rounds in turn after one to warm up, {ranges * PARTITIONS} ranges of {RANGE} records each; ours "
        f"with {PARTITIONS} partitions in flight; {os.cpu_count()} cores for everything.",
        "cpu_us counts the side's process, ClickHouse and Kafka. cpu_ratio_insert begins with the bytes of records on "
        "both sides; in cpu_ratio_insert_tuples_ready the other side's decoding and making of tuples is not counted.",
        "merges_us is what ClickHouse spends between turns on merging what the turn wrote; it is in no other figure.",
    ]
    return report


def _middle(answers: list[dict[str, float]], what: str) -> float:
    values = sorted(one[what] for one in answers)
    return round(values[len(values) // 2], 1)


def _merges(client: Client, verb: str) -> None:
    for table in TABLES:
        client.command(f"SYSTEM {verb} MERGES {client.database}.{table}")


def _merged(client: Client, pid: int) -> float:
    """Let merges run until none is left; the CPU seconds that took."""
    before, deadline = cpu_of(pid), time.monotonic() + MERGES_S
    _merges(client, "START")
    quiet_since = time.monotonic()
    while (now := time.monotonic()) - quiet_since < QUIET_S:
        if now > deadline:
            raise TimeoutError(f"merges did not end within {MERGES_S} s")
        if client.rows("SELECT count() FROM system.merges")[0][0]:
            quiet_since = now
        time.sleep(0.05)
    _merges(client, "STOP")
    return cpu_of(pid) - before


def _check(client: Client, records: int) -> None:
    """Everything that the sides said they inserted stands."""
    for table in TABLES:
        ((count,),) = client.rows(f"SELECT count() FROM {client.database}.{table}")
        if count != len(SIDES) * records:
            raise RuntimeError(f"{table} holds {count} rows instead of {len(SIDES) * records}")


def _row_bytes(client: Client) -> float:
    """Uncompressed bytes of one record's rows."""
    names = ", ".join(f"'{table}'" for table in TABLES)
    found = client.rows(
        "SELECT table, sum(data_uncompressed_bytes) / sum(rows) FROM system.parts "
        f"WHERE active AND database = '{client.database}' AND table IN ({names}) GROUP BY table"
    )
    return float(sum(size for _, size in found))


class _Side:
    """A process of `bench.sink_side`."""

    def __init__(self, name: str, settings: Settings, servers: EmbeddedServers) -> None:
        known = {
            "kafka_bootstrap": settings.kafka_bootstrap,
            "clickhouse_host": settings.clickhouse_host,
            "clickhouse_port": settings.clickhouse_port,
            "clickhouse_user": settings.clickhouse_user,
            "key_root_file": str(settings.key_root_file),
        }
        command = [
            sys.executable, "-W", "ignore", "-m", "bench.sink_side", name, "--settings", json.dumps(known),
            "--servers", json.dumps(servers.pids()), "--size", str(RANGE), "--chars", str(TEXT_CHARS),
            "--partitions", str(PARTITIONS),
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "BENCH_PASSWORD": settings.password()},
        )  # fmt: skip

    def ask(self, **order: Any) -> dict[str, float]:
        """Give an order and wait for the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("one side of the bench ended; what it said stands above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
