"""Kafka and ClickHouse on this machine, in one data folder, owned by one process.

`EmbeddedServers` is all that the rest of the system sees, with `read_endpoints` and `read_secret` for other processes
on the same folder. Servers end with their owner; data survives kill -9 of anybody. Nothing here knows topics or tables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from infra.access.rights import DATABASE
from infra.embedded import kafka_class_cache, kafka_runtime, passwords, ports, processes, state
from infra.embedded.child import Child, Server
from infra.embedded.clickhouse import ClickHouse
from infra.embedded.errors import AlreadyRunning, EmbeddedError, PortTaken, StartFailed
from infra.embedded.filelock import FileLock
from infra.embedded.folder import Folder
from infra.embedded.kafka import Kafka
from infra.embedded.leash import Spawner
from infra.embedded.processes import ProcessId

ORPHAN_GRACE_S = 15.0

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
        database: the database that ClickHouse's users are granted.
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
        database: str = DATABASE,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self._folder = Folder(Path(data_dir).absolute())
        self._asked = {"kafka": kafka_port, "clickhouse": clickhouse_port}
        self._wanted = [name for name, is_wanted in (("kafka", kafka), ("clickhouse", clickhouse)) if is_wanted]
        self._database = database
        self._tell = on_progress or _say_nothing
        self._lock = FileLock(self._folder.lock_file)
        self._spawner: Spawner | None = None
        self._given_up = threading.Event()
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._identities: dict[str, ProcessId] = {}
        self._is_ready = False
        self._saving = threading.Lock()
        self._launching = threading.Lock()

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
            self._given_up.clear()
            self._spawner = Spawner()
            self._at_once(self._launch_where_free, self._wanted)
            for child in self._children.values():
                child.check()
            self._is_ready = True
            self._save()
        except BaseException:
            self.stop()
            raise
        return self.endpoints

    def stop(self) -> None:
        """Stop both cleanly; does nothing when they are not running."""
        self._given_up.set()
        self._is_ready = False
        with self._launching:
            pass  # a launch that had begun is among the children now, and no other begins
        if self._spawner is not None:
            self._at_once(lambda name: self._children[name].end(self._tell), list(self._children))
            self._children.clear()
            self._identities.clear()
            self._spawner.close()
            self._spawner = None
            with suppress(EmbeddedError):
                self._save()
        self._lock.release()

    def kill(self, name: ServerName) -> None:
        """Send SIGKILL to one server and wait until it is gone."""
        self._children[name].kill()

    def restart(self, name: ServerName) -> None:
        """Start one server again on the same port, after stopping it when it still runs.

        Raises:
            EmbeddedError: as `start`.
        """
        self._children[name].end(self._tell)
        self._launch(name)

    def pids(self) -> dict[str, int]:
        """Return the pids of the servers that run."""
        return {name: child.process.pid for name, child in self._children.items() if child.process.poll() is None}

    def exited(self) -> dict[str, int]:
        """Return the exit codes of servers that ended without being asked to (minus the signal's number if killed)."""
        codes = {name: child.process.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers are, once started."""
        return _endpoints(self._folder, {name: self._ports[name] for name in self._wanted})

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end_orphans(self) -> None:
        """End servers that outlived their owner: we hold the lock, so nobody else does."""
        for name, process in state.load(self._folder).servers.items():
            if process.is_alive():
                self._tell(f"stopping the {name} that its owner left behind (pid {process.pid})")
                processes.end(process, grace_s=ORPHAN_GRACE_S)

    def _choose_ports(self) -> None:
        last = state.load(self._folder).ports
        chosen: dict[str, int] = {}
        for name in self._wanted:
            asked = self._asked[name]
            if asked is not None:
                chosen[name] = ports.require_free(asked, what=name)
        for name in [*self._wanted, "kafka_controller"]:
            if name not in chosen:
                chosen[name] = ports.pick(last.get(name), but_not=frozenset(chosen.values()))
        # Ports of a server that is not wanted this time are kept for the next.
        self._ports = last | chosen

    def _launch_where_free(self, name: str) -> None:
        """Launch; when somebody took a port between our choice and the server's use of it, choose again."""
        for tries_left in (2, 1, 0):
            try:
                return self._launch(name)
            except PortTaken:
                if not tries_left or self._asked[name] is not None:
                    raise
                for port_name in _PORTS[name]:
                    others = frozenset(self._ports.values())
                    self._ports[port_name] = ports.pick(None, but_not=others)

    def _launch(self, name: str) -> None:
        assert self._spawner is not None
        server = self._server(name)
        with self._launching:
            if self._given_up.is_set():
                raise StartFailed(f"{server.title} was not started: the start was given up.")
            child = Child(server, self._spawner, self._given_up)
            self._children[name] = child
        identity = processes.identify(child.process.pid)
        if identity is not None:
            self._identities[name] = identity
        self._save()
        self._tell(f"starting {server.title} on {ports.HOST}:{server.port}")
        child.wait_until_ready()

    def _server(self, name: str) -> Server:
        if name == "clickhouse":
            return ClickHouse(self._folder, self._ports["clickhouse"], self._database)
        assert self._spawner is not None
        runtime = kafka_class_cache.ensure(kafka_runtime.ensure(self._tell), self._spawner, self._tell)
        return Kafka(self._folder, self._ports["kafka"], self._ports["kafka_controller"], runtime)

    def _at_once(self, act: Callable[[str], None], names: list[str]) -> None:
        """Do it for all names in threads; on the first error (or Ctrl-C) do not wait for the others."""
        pool = ThreadPoolExecutor(2, thread_name_prefix="embedded")
        try:
            futures = [pool.submit(act, name) for name in names]
            for done in as_completed(futures):
                done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _save(self) -> None:
        """Write down what runs: before it is ready too, so that nothing that was started is ever forgotten."""
        with self._saving:
            owner = processes.identify(os.getpid()) if self._is_ready else None
            state.save(self._folder, state.State(self._ports, owner, dict(self._identities)))


_PORTS = {"kafka": ("kafka", "kafka_controller"), "clickhouse": ("clickhouse",)}


def _say_nothing(sentence: str) -> None:
    pass


def read_endpoints(data_dir: Path) -> Endpoints | None:
    """Return where the running servers of a data folder are; None when their owner does not run."""
    folder = Folder(Path(data_dir).absolute())
    found = state.load(folder)
    if found.owner is None or not found.owner.is_alive():
        return None
    return _endpoints(folder, {name: found.ports[name] for name in found.servers})


def read_secret(data_dir: Path, user: str) -> str:
    """Return the password of a ClickHouse user of the servers in a data folder.

    Raises:
        EmbeddedError: if there is no such user, or no server has been started there yet.
    """
    return passwords.read(Folder(Path(data_dir).absolute()), user)


def _endpoints(folder: Folder, by_name: dict[str, int]) -> Endpoints:
    return Endpoints(
        kafka_bootstrap=f"{ports.HOST}:{by_name['kafka']}" if "kafka" in by_name else "",
        clickhouse_host=ports.HOST if "clickhouse" in by_name else "",
        clickhouse_port=by_name.get("clickhouse", 0),
        data_dir=folder.root,
        secrets_file=folder.secrets_file,
    )
