"""The supervisor: one process a stage, started again when it dies, ended together.

A stage that ends with an exit code of its own says that going on would harm; it is started again like one that was
killed, because a new owner begins from the log, but ever more slowly, and after six quick ends in a row it is given up
and everything is ended: half a pipeline looks healthy and is not.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline import metrics
from pipeline.cli.processes import PARENT
from pipeline.cli.worker import PROCESSES
from pipeline.settings import Settings

log = logging.getLogger(__name__)

HEALTHY_AFTER_S: Final = 20.0
MOST_QUICK_ENDS: Final = 6
STOP_S: Final = 12.0
LOG_BYTES: Final = 8_000_000


@dataclass
class _Child:
    stage: str
    process: subprocess.Popen[bytes] | None = None
    reserved: socket.socket | None = None
    metrics_port: int = 0
    started_s: float = 0.0
    quick_ends: int = 0
    start_at_s: float = 0.0
    restarts: int = 0
    ends: list[int] = field(default_factory=list)


class Supervisor:
    """Runs stages as children of this process.

    Args:
        settings: The installation; its data folder takes logs and `stages.json`.
        data: What `--data` said, handed on to the children.
        stages: Which stages.
    """

    def __init__(self, settings: Settings, data: Path | None, stages: Sequence[str] = PROCESSES) -> None:
        self._settings = settings
        self._data = data
        self._children = [_Child(stage) for stage in stages]
        self._stop = threading.Event()

    def run(self) -> int:
        """Start everything and stay until a signal or until a stage cannot be kept alive; returns the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._stop.set())
        self.start()
        code = 0
        try:
            while not self._stop.wait(0.2):
                failed = self.tend()
                if failed is not None:
                    code = failed
                    break
        finally:
            self.stop()
        return code

    def start(self) -> None:
        """Start every stage; returns at once."""
        for child in self._children:
            self._launch(child)
        self._write()

    def tend(self) -> int | None:
        """Start again what has ended; the exit code of a stage that is given up, else None."""
        now = time.monotonic()
        for child in self._children:
            if child.process is None:
                if now >= child.start_at_s:
                    self._launch(child)
                    self._write()
                continue
            code = child.process.poll()
            if code is None:
                continue
            child.process = None
            child.ends.append(code)
            child.quick_ends = child.quick_ends + 1 if now - child.started_s < HEALTHY_AFTER_S else 1
            if child.quick_ends > 1:
                _let_go(child)  # the port may be what is wrong
            if child.quick_ends >= MOST_QUICK_ENDS:
                log.error(
                    "%s ended %d times in a row (last exit code %d); see %s. Everything is stopped.",
                    child.stage, child.quick_ends, code, self._log_path(child.stage),
                )  # fmt: skip
                return code if code > 0 else 70
            wait_s = 0.2 * 2 ** (child.quick_ends - 1)
            child.start_at_s = now + wait_s
            child.restarts += 1
            metrics.RESTARTS.labels(child.stage).inc()
            log.warning("%s ended with %d; it is started again in %.1f s", child.stage, code, wait_s)
        return None

    def stop(self) -> None:
        """End every stage: SIGTERM, a bounded wait for what is in flight, then SIGKILL."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in self._children:
            child.process = None
            _let_go(child)
        self._write()

    def pids(self) -> dict[str, int]:
        """Process ids of the stages that run now."""
        return {child.stage: child.process.pid for child in self._children if child.process is not None}

    def metrics_ports(self) -> dict[str, int]:
        """Where each stage's Prometheus endpoint listens."""
        return {child.stage: child.metrics_port for child in self._children}

    def restarts(self) -> dict[str, int]:
        """How often each stage was started again."""
        return {child.stage: child.restarts for child in self._children}

    def _launch(self, child: _Child) -> None:
        if child.reserved is None:
            child.reserved = _reserve(self._settings.metrics_host)
            child.metrics_port = int(child.reserved.getsockname()[1])
            if not sys.platform.startswith("linux"):
                child.reserved.close()  # elsewhere the stage could not bind it beside us
        environment = {
            **os.environ,
            PARENT: str(os.getpid()),
            "TOKENTRAIL_METRICS_PORT": str(child.metrics_port),
            # One core a stage: the redaction workers set their own.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "pipeline.cli.main", "worker", "--stage", child.stage]
        if self._data is not None:
            command += ["--data", str(self._data)]
        path = self._log_path(child.stage)
        if path is not None and path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        output = path.open("ab") if path is not None else None
        try:
            child.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        finally:
            if output is not None:
                output.close()
        child.started_s = time.monotonic()

    def _log_path(self, stage: str) -> Path | None:
        if self._settings.data_dir is None:
            return None
        folder = self._settings.data_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"stage-{stage}.log"

    def _write(self) -> None:
        """Tell `doctor` and others where the stages are."""
        if self._settings.data_dir is None:
            return
        path = self._settings.data_dir / "stages.json"
        found = {
            child.stage: {"pid": child.process.pid, "metrics_port": child.metrics_port, "restarts": child.restarts}
            for child in self._children
            if child.process is not None
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"supervisor": os.getpid(), "stages": found}, indent=1))
        temporary.replace(path)


def _reserve(host: str) -> socket.socket:
    """A free port: bound and not listened on, so that no connection is given it while the stage still loads."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host, 0))
    return found


def _let_go(child: _Child) -> None:
    if child.reserved is not None:
        child.reserved.close()
        child.reserved = None
