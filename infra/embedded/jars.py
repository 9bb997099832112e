"""Kafka's jars: fetched once from a Maven repository by coordinate, each checked against the lock file's SHA-256.

The list is `kafka-4.3.1.lock` and nothing else: dependencies are not resolved here, because another resolver chooses
other versions. A jar reaches its place by a rename after its hash was right, so what is in the folder is whole; one
process at a time fetches. At later starts sizes and times are compared with a stamp, and only a jar that differs is
hashed again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from infra.embedded.errors import UnsupportedPlatform
from infra.embedded.filelock import FileLock
from infra.embedded.folder import told_as_not_writable, write_private
from infra.embedded.maven import REPOSITORY_SETTING, Fetcher, Jar, sha256_of, system_certificates
from infra.embedded.progress import download_progress

KAFKA_VERSION = "4.3.1"
LOCK_FILE = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock")
PARALLEL = 8


def locked_jars() -> tuple[Jar, ...]:
    """Return what the lock file lists."""
    lines = (line.split() for line in LOCK_FILE.read_text(encoding="utf-8").splitlines() if line.strip())
    return tuple(Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in lines)


def cache_folder() -> Path:
    """Return where the jars are kept between starts and for all data folders of this user."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        raise UnsupportedPlatform("The embedded servers need the extra 'embedded' of tokentrail-pipeline.") from None
    return Path(user_cache_path("tokentrail")) / f"kafka-{KAFKA_VERSION}"


def ensure(
    tell: Callable[[str], None] | None = None, *, cache: Path | None = None, wanted: tuple[Jar, ...] | None = None
) -> Path:
    """Return a folder that holds every wanted jar, whole; fetch what is missing.

    Args:
        tell: gets a sentence for each thing worth telling; without it lines go to stderr.
        cache: where to keep the jars; by default the user's cache.
        wanted: by default what the lock file lists.

    Raises:
        NoNetwork: if a jar is missing and cannot be downloaded.
        CorruptedJar: if what was downloaded is not what the lock file names.
        NotWritable: if the cache cannot be written.
    """
    folder = cache or cache_folder()
    jars = locked_jars() if wanted is None else wanted
    if not _unproven(folder, jars):
        return folder
    with told_as_not_writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    if not lock.acquire(wait=False):
        _say(tell, f"another process (pid {lock.holder()}) is fetching Kafka; waiting for it")
        lock.acquire(wait=True)
    try:
        damaged = _damaged(folder, _unproven(folder, jars))
        if damaged:
            _fetch(folder, damaged, tell)
        _stamp(folder, jars)
    finally:
        lock.release()
    return folder


def _unproven(folder: Path, jars: tuple[Jar, ...]) -> tuple[Jar, ...]:
    """The jars whose size and time are not those of the last time their hash was right."""
    try:
        stamps = json.loads((folder / "checked.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        stamps = {}
    return tuple(
        jar
        for jar in jars
        if _fingerprint(folder, jar) is None or stamps.get(jar.coordinate) != _fingerprint(folder, jar)
    )


def _fingerprint(folder: Path, jar: Jar) -> str | None:
    try:
        stat = (folder / jar.file_name).stat()
    except OSError:
        return None
    return f"{jar.sha256} {stat.st_size} {stat.st_mtime_ns}"


def _damaged(folder: Path, suspects: tuple[Jar, ...]) -> tuple[Jar, ...]:
    """The suspects that are missing or whose hash is wrong."""
    return tuple(jar for jar in suspects if sha256_of(folder / jar.file_name) != jar.sha256)


def _stamp(folder: Path, jars: tuple[Jar, ...]) -> None:
    stamps = {jar.coordinate: _fingerprint(folder, jar) for jar in jars}
    write_private(folder / "checked.json", json.dumps(stamps, indent=1))


def _fetch(folder: Path, jars: tuple[Jar, ...], tell: Callable[[str], None] | None) -> None:
    for jar in jars:
        if (folder / jar.file_name).exists():
            _say(tell, f"{jar.file_name} in {folder} is damaged; fetching it again")
    repository = os.environ.get(REPOSITORY_SETTING, "").strip()
    with told_as_not_writable(folder):
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=folder))
    try:
        total = sum(jar.size_bytes for jar in jars)
        with system_certificates(), download_progress(f"Kafka {KAFKA_VERSION}", len(jars), total, tell) as progress:
            fetcher = Fetcher(scratch, folder, repository, progress)
            with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch-jar") as pool:
                pending = [pool.submit(fetcher.fetch, jar) for jar in jars]
                try:
                    for future in pending:
                        future.result()
                except BaseException:
                    # Those under way finish before the lock is let go of.
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _say(tell: Callable[[str], None] | None, sentence: str) -> None:
    if tell is not None:
        tell(sentence)
