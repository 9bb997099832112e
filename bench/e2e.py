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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import sources
from bench.clock import cpu_of
from bench.events import encoded
from bench.figures import Report, last_json
from bench.marks import sink_marks
from bench.servers import ends, fill, installation
from infra.embedded.servers import EmbeddedServers, read_secret
from pipeline.cli.supervisor import Supervisor
from pipeline.cli.worker import STAGES
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison.

    Attributes:
        suffix: of its figures.
        ner: with names.
        chars: of text an event, where events are made.
        events: how many ours works off.
        theirs: how many the obvious build works off, from the same start: its cost an event is steady.
        source: other people's material instead of made events.
    """

    suffix: str
    ner: bool
    chars: int
    events: int
    theirs: int
    source: str = ""


CASES: Final = (
    Case("patterns_500", False, 500, 60_000, 12_000),
    Case("patterns_2000", False, 2_000, 30_000, 4_000),
    Case("tau_ner", True, 0, 300, 80, "tau"),
    Case("arena_ner", True, 0, 500, 400, "arena"),
)


def run(quick: bool = False, only: Sequence[str] = ()) -> Report:
    """Every case, or those that are named, ours and theirs in turn."""
    report = Report("e2e")
    rounds = 1 if quick else 3
    for case in [one for one in CASES if not only or one.suffix in only]:
        share = 4 if quick else 1
        records = (
            sources.encoded(case.source, case.events // share)
            if case.source
            else encoded(case.events // share, case.chars)
        )
        if not records:
            report.notes.append(f"{case.suffix}: not run, ../shared/data is not there")
            continue
        size = sum(len(value) for _, value in records) / len(records)
        ours, theirs = [], []
        count = min(len(records), case.theirs // share)
        for _ in range(rounds):
            with installation({"TOKENTRAIL_NER": str(case.ner).lower(), "TOKENTRAIL_TICKS": "off"}) as (
                servers,
                settings,
                folder,
            ):
                fill(settings, settings.topic("calls.raw"), records)
                ours.append(_ours(servers, settings, folder, len(records)))
                theirs.append(_theirs(servers, settings, folder, count, case.ner))
        _add(report, case.suffix, ours, theirs)
        ratio = report.figures[f"ratio_{case.suffix}"].value
        print(f"e2e: {case.suffix}: {ratio:.1f} times the events/s of the obvious build", file=sys.stderr, flush=True)
        report.notes.append(
            f"{case.suffix}: ours {len(records)} events, the obvious build the first {count}, of {size:.0f} bytes"
            + (f", {case.chars} characters of text each, no text twice" if case.chars else f", from {case.source}")
        )
    report.notes.append(
        f"{rounds} rounds; CPU counts all processes of a side and both servers, not the producer, which had finished; "
        f"ours runs {len(STAGES)} stages, the obvious build one process; {os.cpu_count()} cores for everything; "
        "ratio_ is of events/s, cpu_ratio_ of CPU an event"
    )
    return report


def _add(report: Report, suffix: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    rates = [one["events_per_s"] for one in ours]
    other = [one["events_per_s"] for one in theirs]
    middle = len(rates) // 2
    ratio = sorted(a / b for a, b in zip(rates, other, strict=True))
    name = {"patterns_500": "patterns_events_per_s", "arena_ner": "ner_events_per_s"}.get(
        suffix, f"{suffix}_events_per_s"
    )
    report.add(name, rates, "1/s", against=round(sorted(other)[middle], 1), ratio=round(ratio[middle], 2))
    report.add(f"ratio_{suffix}", ratio, "1", ratio=round(ratio[middle], 2))
    by_cpu = sorted(b["cpu_us"] / a["cpu_us"] for a, b in zip(ours, theirs, strict=True))
    report.add(f"cpu_ratio_{suffix}", by_cpu, "1", ratio=round(by_cpu[middle], 2))
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
