"""The stages' processes: a supervisor for each, as `tokentrail up` has it, and as many of a stage as are wanted.

One thread starts and tends all of them, because the kernel ends a child with the thread that started it.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipeline.cli.supervisor import Supervisor
from pipeline.settings import Settings
from tests.installation import wait_for


class Workers:
    """Named worker processes; a name is a stage and a number: `sink-1`.

    Attributes:
        harmed: (when, name, process id) of what was killed or stopped here.
        given_up: (name, exit code) of workers that ended again and again of their own accord.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._supervisors: dict[str, Supervisor] = {}
        self._asked: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._end = threading.Event()
        self._stopped: set[int] = set()
        self.harmed: list[tuple[float, str, int]] = []
        self.given_up: list[tuple[str, int]] = []
        self._thread = threading.Thread(target=self._tend, name="workers")
        self._thread.start()

    def start(self, *names: str) -> None:
        """Start workers; returns when their processes are there."""
        self._ask(lambda: [self._start(name) for name in names])

    def stop(self, *names: str) -> None:
        """End workers in good order."""
        self._ask(lambda: [self._supervisors.pop(name).stop() for name in names if name in self._supervisors])

    def scale(self, stage: str, count: int) -> None:
        """Have `count` workers of a stage."""
        have, want = self.of(stage), [f"{stage}-{number}" for number in range(1, count + 1)]
        self.stop(*[name for name in have if name not in want])
        self.start(*[name for name in want if name not in have])

    def stop_all(self) -> None:
        """End all workers in good order."""
        self.stop(*list(self._supervisors))

    def close(self) -> None:
        """End all, and the thread."""
        for pid in list(self._stopped):
            self.wake(pid)
        self._end.set()
        self._thread.join(120)

    def of(self, stage: str) -> list[str]:
        """Names of a stage's workers."""
        return sorted(name for name in self._supervisors if name.rpartition("-")[0] == stage)

    def pid(self, name: str) -> int | None:
        """Process id of a worker that runs now."""
        supervisor = self._supervisors.get(name)
        return next(iter(supervisor.pids().values()), None) if supervisor is not None else None

    def kill(self, name: str) -> int:
        """SIGKILL a worker; its supervisor starts it again. Returns the process id."""
        pid: int = wait_for(f"{name} to run", lambda: self.pid(name), 30)
        os.kill(pid, signal.SIGKILL)
        self.harmed.append((time.monotonic(), name, pid))
        return pid

    def sleep(self, name: str) -> int:
        """SIGSTOP a worker; returns its process id."""
        pid: int = wait_for(f"{name} to run", lambda: self.pid(name), 30)
        os.kill(pid, signal.SIGSTOP)
        self._stopped.add(pid)
        self.harmed.append((time.monotonic(), name, pid))
        return pid

    def wake(self, pid: int) -> None:
        """SIGCONT."""
        self._stopped.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def children(self, name: str) -> list[int]:
        """Process ids of a worker's helpers."""
        pid = self.pid(name)
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError, ValueError):
                    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    if int(fields[1]) == pid:
                        found.append(int(entry.name))
        return found

    def rss_bytes(self) -> dict[str, int]:
        """Resident memory of each worker's process, `name (pid)`, helpers not counted.

        One that is loading its libraries is left out: it has no client of Kafka yet, whose threads are named `rdk:`.
        """
        found = {}
        for name in list(self._supervisors):
            pid = self.pid(name)
            with suppress(OSError):
                process = Path(f"/proc/{pid}")
                if any(one.read_text().startswith("rdk:") for one in process.glob("task/*/comm")):
                    pages = int((process / "statm").read_text().split()[1])
                    found[f"{name} ({pid})"] = pages * os.sysconf("SC_PAGE_SIZE")
        return found

    def _ask(self, act: Callable[[], object]) -> None:
        done = threading.Event()
        self._asked.put((lambda: (act(), None)[1], done))
        if not done.wait(90):
            raise AssertionError("the workers' thread does not answer")

    def _start(self, name: str) -> None:
        stage = name.rpartition("-")[0]
        # A data folder of its own for each, so that each has its own log.
        settings = self._settings.model_copy(update={"data_dir": self._folder / "workers" / name})
        assert settings.data_dir is not None
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self._supervisors[name] = Supervisor(settings, self._folder, (stage,))
        self._supervisors[name].start()

    def _tend(self) -> None:
        while not self._end.is_set():
            with suppress(queue.Empty):
                act, done = self._asked.get(timeout=0.05)
                act()
                done.set()
            for name, supervisor in list(self._supervisors.items()):
                code = supervisor.tend()
                if code is not None:
                    # Harm in quick succession looks like a stage that cannot live; ends without it are failures.
                    if not self._harmed_lately(name):
                        self.given_up.append((name, code))
                    self._start(name)
        for supervisor in self._supervisors.values():
            supervisor.stop()

    def _harmed_lately(self, name: str) -> bool:
        return any(name == other and time.monotonic() - at < 120 for at, other, _ in self.harmed)
