"""One server's process: started on the leash, watched until it answers, ended politely or not."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from infra.embedded import ports
from infra.embedded.errors import PortTaken, StartFailed, StartTimeout
from infra.embedded.leash import Spawner


class Server(Protocol):
    """What a server tells about itself; `Kafka` and `ClickHouse` are the two."""

    title: str
    leashed: bool
    port: int
    all_ports: tuple[int, ...]
    log_file: Path
    output_file: Path

    @property
    def working_folder(self) -> Path:
        """Where its process runs."""

    def prepare(self) -> list[str]:
        """Write what it needs and return its command line."""

    def is_ready(self) -> bool:
        """Say whether this very server answers."""


START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0


class Child:
    """The process of one server.

    Args:
        server: what to run.
        spawner: starts the process.
        given_up: set by another thread when the start is no longer wanted.
    """

    def __init__(self, server: Server, spawner: Spawner, given_up: threading.Event) -> None:
        self.server = server
        self._given_up = given_up
        command = server.prepare()
        if given_up.is_set():
            raise StartFailed(f"The start of {server.title} was given up.")
        self.process: subprocess.Popen[bytes] = spawner.spawn(
            command, cwd=server.working_folder, output=server.output_file, leashed=server.leashed
        )

    def wait_until_ready(self) -> None:
        """Return when the server answers.

        Raises:
            StartFailed: if its process ended.
            PortTaken: if it ended because somebody else took its port.
            StartTimeout: if it did not answer in time.
        """
        deadline = time.monotonic() + START_LIMIT_S
        while not self.server.is_ready():
            self.check()
            if self._given_up.wait(0.05):
                raise StartFailed(f"The start of {self.server.title} was given up.")
            if time.monotonic() > deadline:
                raise StartTimeout(
                    f"{self.server.title} was not ready after {START_LIMIT_S:.0f} s; see {self.server.log_file}."
                )
        self.check()

    def check(self) -> None:
        """Raise `StartFailed` if the process has ended, `PortTaken` if because somebody was faster at its port."""
        if self.process.poll() is not None:
            for port in self.server.all_ports:
                if not ports.is_free(port):
                    raise PortTaken(f"Port {port} was taken by another process while {self.server.title} started.")
            raise StartFailed(f"{self.server.title} ended while it started: {_last_words(self.server)}")

    def end(self, tell: Callable[[str], None]) -> None:
        """Send SIGTERM; after a time, SIGKILL. Does nothing when the process has ended."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            tell(f"{self.server.title} did not stop within {STOP_LIMIT_S:.0f} s and was killed")
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait until the process is gone."""
        self.process.kill()
        self.process.wait()


def _last_words(server: Server) -> str:
    """What the server said before it ended, for a person; the whole is in its log."""
    for path in (server.output_file, server.log_file):
        with suppress(OSError):
            lines = path.read_text(errors="replace").splitlines()
            for line in lines:
                if "ERROR" in line or "Exception" in line or "Error:" in line:
                    return f"{line.strip()[:300]} (see {path})"
    return f"see {server.log_file}"
