"""Which process is which: a pid alone is not enough, pids are used again.

A process is known by its pid and the moment it started. Ends processes politely first, then surely.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    started: str

    def is_alive(self) -> bool:
        """Say whether this very process still runs (a zombie does not)."""
        return started_at(self.pid) == self.started


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a running process, or None when there is none with this pid."""
    started = started_at(pid)
    return None if started is None else ProcessId(pid, started)


def started_at(pid: int) -> str | None:
    """Return when the process started, in the system's own notation; None if it does not run.

    Linux counts clock ticks since boot (`proc(5)`, field 22 of `stat`), so the boot belongs to it; elsewhere `ps` is
    asked.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The command's name, in parentheses, may hold spaces: count from behind it.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in ("Z", "X") else f"{_boot()} {fields[19]}"
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())


@cache
def _boot() -> str:
    """This boot's random id, or nothing where the kernel does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def end(process: ProcessId, *, grace_s: float) -> None:
    """Send SIGTERM, wait up to `grace_s` seconds, then send SIGKILL; for processes that are not our children."""
    for signal_number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if not process.is_alive():
            return
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal_number)
        deadline = time.monotonic() + patience_s
        while process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
