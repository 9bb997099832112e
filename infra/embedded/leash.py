"""Children that do not outlive their parent.

On Linux the kernel sends SIGTERM to the child when the parent's *thread* that started it ends (`PR_SET_PDEATHSIG`);
`Spawner` therefore starts all children from one thread that lives as long as they should. The setting survives
`exec`, so a Java process gets it from the few lines at the bottom, run as
`python -I -S leash.py PARENT_PID PROGRAM ARGUMENTS...`, and not from a `preexec_fn`, which is unsafe beside threads.
Elsewhere there is no such signal: the ClickHouse child watches its parent's pid itself, and a Java left behind is
ended by the next start on the same data folder.

This file imports nothing of ours: it is also a script that runs without a path to this package.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PR_SET_PDEATHSIG = 1


def end_with(parent_pid: int) -> None:
    """Ask the kernel to send this process SIGTERM when its parent is gone; do nothing where that is not to be had."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:
        # The parent died between fork and prctl: the signal will never come.
        os._exit(1)


class Spawner:
    """Starts children from one thread of its own, which ends when `close` is called or with the process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-spawner")

    def spawn(self, argv: list[str], *, cwd: Path, output: Path, leashed: bool = True) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, with a bare environment and its output in a file.

        Args:
            argv: the program and its arguments; no secrets, everybody can read them.
            cwd: working folder of the child.
            output: file for its stdout and stderr, begun anew.
            leashed: put `leash.py` in front (a program that calls `end_with` itself does not need it).
        """
        front = [sys.executable, "-I", "-S", __file__, str(os.getpid())] if leashed else []

        def start() -> subprocess.Popen[bytes]:
            with output.open("wb") as file:
                return subprocess.Popen(
                    [*front, *argv],
                    cwd=cwd,
                    env=bare_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in the terminal is for the parent, which stops its children in order.
                    start_new_session=True,
                )

        return self._thread.submit(start).result()

    def close(self) -> None:
        """End the thread; children that still run are sent SIGTERM by the kernel."""
        self._thread.shutdown(wait=True)


def bare_environment() -> dict[str, str]:
    """Only what the servers need: what the user's environment holds (keys, tokens) is not theirs to have."""
    wanted = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
    found = {name: os.environ[name] for name in wanted if name in os.environ}
    if "LANG" not in found and "LC_ALL" not in found:
        # Without a locale Java reads folder names as ASCII and cannot find one with an accent in it.
        found["LC_ALL"] = "C.UTF-8"
    return found


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
