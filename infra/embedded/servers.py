"""Kafka and ClickHouse on this machine, in one data folder, owned by one process.

`EmbeddedServers` is all that the rest of the system sees, with `read_endpoints` and `read_secret` for other processes
on the same folder. Servers end with their owner; data survives kill -9 of anybody. Nothing here knows topics or tables.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from infra.embedded import kafka_class_cache, kafka_runtime, passwords, ports, processes, state
from infra.embedded.clickhouse import ClickHouse
from infra.embedded.errors import AlreadyRunning, EmbeddedError, StartFailed, StartTimeout
from infra.embedded.filelock import FileLock
from infra.embedded.folder import Folder
from infra.embedded.kafka import Kafka
from infra.embedded.leash import Spawner

ServerName = Literal["kafka", "clickhouse"]


@dataclass(frozen=True)
class Endpoints:
    """Where the servers are; a server that was not asked for has an empty address and port 0."""

    kafka_bootstrap: str
    clickhouse_host: str
    clickhouse_port: int
    data_dir: Path
    secrets_file: Path


class EmbeddedServers:
    """Starts, stops, kills and restarts the two servers of one data folder.

    Args:
        data_dir: the folder; made when it is not there.
        kafka_port: a port to insist on; by default the one used last time when it is free, else a free one.
        clickhouse_port: likewise.
        kafka: whether Kafka is wanted.
        clickhouse: whether ClickHouse is wanted.
        on_progress: gets a sentence for each step of the start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        kafka_port: int | None = None,
        clickhouse_port: int | None = None,
        kafka: bool = True,
        clickhouse: bool = True,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = Folder(Path(data_dir).absolute())
        self._asked = {"kafka": kafka_port, "clickhouse": clickhouse_port}
        self._wanted = [name for name, is_wanted in (("kafka", kafka), ("clickhouse", clickhouse)) if is_wanted]
        self._tell = on_progress or (lambda sentence: None)
        self._lock = FileLock(self._folder.lock_file)
        self._spawner: Spawner | None = None
        self._servers: dict[str, Kafka | ClickHouse] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}

    def start(self) -> Endpoints:
        """Start the servers, both at once; return when both answer.

        Raises:
            EmbeddedError: one of its kinds, with a sentence that says what to do; nothing is left running then.
        """
        if self._spawner is not None:
            raise AlreadyRunning(f"The servers in {self._folder.root} were started by this object already.")
        self._folder.create()
        if not self._lock.acquire(wait=False):
            raise AlreadyRunning(
                f"The servers in {self._folder.root} are already running, started by process {self._lock.holder()}."
            )
        try:
            self._end_orphans()
            self._choose_ports()
            self._spawner = Spawner()
            self._each(self._launch, self._wanted)
            for name in self.exited():
                raise StartFailed(f"{_TITLE[name]} ended right after it started: {_last_words(self._servers[name])}")
            self._save()
        except BaseException:
            self.stop()
            raise
        return self._endpoints()

    def stop(self) -> None:
        """Stop both cleanly; does nothing when they are not running."""
        if self._spawner is None:
            self._lock.release()
            return
        self._each(self._end, list(self._children))
        self._children.clear()
        self._spawner.close()
        self._spawner = None
        with suppress(EmbeddedError):
            state.save(self._folder, state.State(ports=self._ports))
        self._lock.release()

    def kill(self, name: ServerName) -> None:
        """Send SIGKILL to one server and wait until it is gone."""
        child = self._children[name]
        child.send_signal(signal.SIGKILL)
        child.wait()

    def restart(self, name: ServerName) -> None:
        """Start one server again on the same port, after stopping it when it still runs.

        Raises:
            EmbeddedError: as `start`.
        """
        self._end(name)
        self._launch(name)
        self._save()

    def pids(self) -> dict[str, int]:
        """Return the pids of the servers that run."""
        return {name: child.pid for name, child in self._children.items() if child.poll() is None}

    def exited(self) -> dict[str, int]:
        """Return the exit codes of servers that ended without being asked to (minus the signal's number if killed)."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers are, once started."""
        return self._endpoints()

    def _end_orphans(self) -> None:
        """End servers that outlived their owner: we hold the lock, so nobody else does."""
        for name, process in state.load(self._folder).servers.items():
            if process.is_alive():
                self._tell(f"stopping a {name} that its owner left behind (pid {process.pid})")
                processes.end(process, grace_s=15.0)

    def _choose_ports(self) -> None:
        last = state.load(self._folder).ports
        chosen: dict[str, int] = {}
        for name in self._wanted:
            asked = self._asked[name]
            if asked is not None:
                chosen[name] = ports.require_free(asked, what=_TITLE[name])
        for name in [*self._wanted, "kafka_controller"]:
            if name not in chosen:
                chosen[name] = ports.pick(last.get(name), but_not=frozenset(chosen.values()))
        # Ports of a server that is not wanted this time are kept for the next.
        self._ports = last | chosen

    def _launch(self, name: str) -> None:
        assert self._spawner is not None
        server: Kafka | ClickHouse
        if name == "kafka":
            runtime = kafka_class_cache.ensure(kafka_runtime.ensure(self._tell), self._spawner, self._tell)
            server = Kafka(self._folder, self._ports["kafka"], self._ports["kafka_controller"], runtime)
        else:
            server = ClickHouse(self._folder, self._ports["clickhouse"])
        argv = server.prepare()
        self._tell(f"starting {_TITLE[name]} on {ports.HOST}:{server.port}")
        child = self._spawner.spawn(argv, cwd=server.working_folder, output=server.output_file, leashed=server.leashed)
        self._children[name] = child
        self._servers[name] = server
        deadline = time.monotonic() + server.start_limit_s
        while not server.is_ready():
            if child.poll() is not None:
                raise StartFailed(f"{_TITLE[name]} ended while it started: {_last_words(server)}")
            if time.monotonic() > deadline:
                raise StartTimeout(
                    f"{_TITLE[name]} was not ready after {server.start_limit_s:.0f} s; see {server.log_file}."
                )
            time.sleep(0.05)

    def _end(self, name: str) -> None:
        child = self._children.get(name)
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(self._servers[name].stop_grace_s)
        except subprocess.TimeoutExpired:
            self._tell(f"{_TITLE[name]} did not stop in time and was killed")
            child.kill()
            child.wait()

    def _each(self, act: Callable[[str], None], names: Iterable[str]) -> None:
        with ThreadPoolExecutor(2, thread_name_prefix="embedded") as pool:
            results = [pool.submit(act, name) for name in names]
        for result in results:
            result.result()

    def _save(self) -> None:
        owner = processes.identify(os.getpid())
        servers = {name: identity for name, pid in self.pids().items() if (identity := processes.identify(pid))}
        state.save(self._folder, state.State(self._ports, owner, servers))

    def _endpoints(self) -> Endpoints:
        return _endpoints_of(self._folder, {name: self._ports[name] for name in self._wanted})


_TITLE = {"kafka": "Kafka", "clickhouse": "ClickHouse"}


def read_endpoints(data_dir: Path) -> Endpoints | None:
    """Return where the running servers of a data folder are; None when their owner does not run."""
    folder = Folder(Path(data_dir).absolute())
    found = state.load(folder)
    if found.owner is None or not found.owner.is_alive():
        return None
    return _endpoints_of(folder, {name: found.ports[name] for name in found.servers})


def read_secret(data_dir: Path, user: str) -> str:
    """Return the password of a ClickHouse user of the servers in a data folder.

    Raises:
        EmbeddedError: if there is no such user, or no server has been started there yet.
    """
    return passwords.read(Folder(Path(data_dir).absolute()), user)


def _endpoints_of(folder: Folder, by_name: dict[str, int]) -> Endpoints:
    return Endpoints(
        kafka_bootstrap=f"{ports.HOST}:{by_name['kafka']}" if "kafka" in by_name else "",
        clickhouse_host=ports.HOST if "clickhouse" in by_name else "",
        clickhouse_port=by_name.get("clickhouse", 0),
        data_dir=folder.root,
        secrets_file=folder.secrets_file,
    )


def _last_words(server: Kafka | ClickHouse) -> str:
    """What the server said last, for a person; the whole is in its log."""
    for path in (server.output_file, server.log_file):
        with suppress(OSError):
            lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
            telling = [line for line in lines if "ERROR" in line or "Exception" in line or "Error" in line]
            if telling:
                return f"{telling[0][:300]} (see {path})"
    return f"see {server.log_file}"
