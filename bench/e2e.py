"""`bench e2e`: a backlog of events to rows, ours beside the obvious build; events/s and CPU an event by process.

Both sides find the same events waiting in Kafka and are timed from their first output to their last row. CPU counts
every process of a side and both servers; the producer has finished before. Ours does what the obvious build does not:
prices, facts, windows, rules, ledger, exactly-once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.clock import cpu_of
from bench.events import encoded
from bench.figures import Report, last_json
from bench.marks import sink_marks
from bench.servers import ends, fill, installation
from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.cli.supervisor import Supervisor
from pipeline.cli.worker import STAGES
from pipeline.settings import Settings

# (figure's suffix, NER, characters of text an event, events)
CASES = (
    ("patterns_500", False, 500, 20_000),
    ("patterns_2000", False, 2_000, 10_000),
    ("ner_500", True, 500, 3_000),
)


def run(quick: bool = False) -> Report:
    """Every case, ours and theirs in turn."""
    report = Report("e2e")
    rounds = 1 if quick else 3
    for suffix, ner, chars, events in CASES:
        events = events // 4 if quick else events
        records = encoded(events, chars)
        size = sum(len(value) for _, value in records) / len(records)
        ours, theirs = [], []
        for _ in range(rounds):
            with installation({"TOKENTRAIL_NER": str(ner).lower(), "TOKENTRAIL_TICKS": "off"}) as (
                servers,
                settings,
                folder,
            ):
                fill(settings, settings.topic("calls.raw"), records)
                ours.append(_ours(servers, settings, folder, events))
                theirs.append(_theirs(servers, settings, folder, events, ner))
        _add(report, suffix, ours, theirs)
        report.notes.append(
            f"{suffix}: {events} events of {size:.0f} bytes, {chars} characters of text each, no text twice"
        )
    report.notes.append(
        f"{rounds} rounds; CPU counts all processes of a side and both servers, not the producer, which had finished; "
        f"ours runs {len(STAGES)} stages, the obvious build one process; {os.cpu_count()} cores for everything"
    )
    return report


def _add(report: Report, suffix: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    rates = [one["events_per_s"] for one in ours]
    other = [one["events_per_s"] for one in theirs]
    middle = len(rates) // 2
    ratio = sorted(a / b for a, b in zip(rates, other, strict=True))
    kind = suffix.split("_")[0]
    name = f"{kind}_events_per_s" if suffix in ("patterns_500", "ner_500") else f"{suffix}_events_per_s"
    report.add(name, rates, "1/s", against=round(sorted(other)[middle], 1), ratio=round(ratio[middle], 2))
    report.add(f"ratio_{suffix}", ratio, "1", ratio=round(ratio[middle], 2))
    cpu, cpu_other = [one["cpu_us"] for one in ours], [one["cpu_us"] for one in theirs]
    report.add(f"cpu_us_{suffix}", cpu, "us", against=round(sorted(cpu_other)[middle], 1))
    for process in ours[0]["by_process"]:
        report.add(f"cpu_us_{suffix}.{process}", [one["by_process"][process] for one in ours], "us")
    for process in theirs[0]["by_process"]:
        report.add(f"cpu_us_{suffix}.obvious.{process}", [one["by_process"][process] for one in theirs], "us")


def _ours(servers: EmbeddedServers, settings: Settings, folder: Path, events: int) -> dict[str, Any]:
    supervisor = Supervisor(settings, folder, STAGES)
    supervisor.start()
    try:
        _until(lambda: sum(ends(settings, settings.topic("calls")).values()) > 0, 60, supervisor)
        pids = {**supervisor.pids(), **servers.pids()}
        already = sum(ends(settings, settings.topic("calls")).values())
        cpu = {name: cpu_of(pid) for name, pid in pids.items()}
        begun = time.perf_counter()
        _until(lambda: sum(sink_marks(settings).values()) >= events, 900, supervisor)
        spent = time.perf_counter() - begun
        done = events - already
        by = {name: (cpu_of(pid) - cpu[name]) / done * 1e6 for name, pid in pids.items()}
    finally:
        supervisor.stop()
    return {"events_per_s": done / spent, "cpu_us": sum(by.values()), "by_process": by}


def _theirs(servers: EmbeddedServers, settings: Settings, folder: Path, events: int, ner: bool) -> dict[str, Any]:
    pids = servers.pids()
    with tempfile.TemporaryDirectory() as somewhere:
        cpu = {name: cpu_of(pid) for name, pid in pids.items()}
        done = subprocess.run(
            [
                sys.executable, "-W", "ignore", "-m", "bench.obvious", "--bootstrap", settings.kafka_bootstrap,
                "--topic", settings.topic("calls.raw"), "--count", str(events),
                "--clickhouse-port", str(settings.clickhouse_port), *(["--ner"] if ner else []),
            ],
            env={**os.environ, "OBVIOUS_PASSWORD": read_secret(folder, "pipeline"), "OMP_NUM_THREADS": "1",
                 "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True, text=True, cwd=somewhere, timeout=900, check=True,
        )  # fmt: skip
        by = {name: (cpu_of(pid) - cpu[name]) / events * 1e6 for name, pid in pids.items()}
    answer = last_json(done.stdout)
    by["faust"] = answer["cpu_s"] / events * 1e6
    return {"events_per_s": answer["events"] / answer["wall_s"], "cpu_us": sum(by.values()), "by_process": by}


def _until(condition: Any, deadline_s: float, supervisor: Supervisor) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not done within {deadline_s} s")
        if supervisor.tend() is not None:
            raise RuntimeError("a stage cannot be kept alive; see its log")
        time.sleep(0.1)
