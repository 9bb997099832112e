"""Kafka's jars: fetched once from a Maven repository by coordinate, each checked against the lock file's SHA-256.

The list is `kafka-4.3.1.lock` and nothing else: dependencies are not resolved here, because another resolver chooses
other versions. A jar reaches its place by a rename after its hash was right, so what is in the folder is whole; one
process at a time fetches. At later starts sizes and times are compared with a stamp, and only a jar that differs is
hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import CorruptedJar, NoNetwork, UnsupportedPlatform
from infra.embedded.filelock import FileLock
from infra.embedded.folder import told_as_not_writable, write_private
from infra.embedded.progress import Progress, download_progress

KAFKA_VERSION = "4.3.1"
LOCK_FILE = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock")
REPOSITORY_SETTING = "TOKENTRAIL_MAVEN_REPOSITORY"
PARALLEL = 8
TIMEOUT_S = 30


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    coordinate: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """The name Maven gives it: `artifact-version.jar`."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


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


def ensure(tell: Callable[[str], None] | None = None, *, cache: Path | None = None) -> Path:
    """Return a folder that holds every locked jar, whole; fetch what is missing.

    Args:
        tell: gets a sentence for each thing worth telling; without it lines go to stderr.
        cache: where to keep the jars; by default the user's cache.

    Raises:
        NoNetwork: if a jar is missing and cannot be downloaded.
        CorruptedJar: if what was downloaded is not what the lock file names.
        NotWritable: if the cache cannot be written.
    """
    folder = cache or cache_folder()
    jars = locked_jars()
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
    return tuple(jar for jar in suspects if _sha256(folder / jar.file_name) != jar.sha256)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


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
        with _system_certificates(), download_progress(f"Kafka {KAFKA_VERSION}", len(jars), total, tell) as progress:
            fetcher = _Fetcher(scratch, folder, repository, progress)
            with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fetch-jar") as pool:
                pending = [pool.submit(fetcher.fetch, jar) for jar in jars]
                try:
                    for future in pending:
                        future.result()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Fetcher:
    """Fetches one jar at a time through jgo, into a scratch repository of its own."""

    def __init__(self, scratch: Path, folder: Path, repository: str, progress: Progress) -> None:
        try:
            from jgo.maven import MavenContext, PythonResolver
        except ImportError:
            raise UnsupportedPlatform("Fetching Kafka needs the package jgo (extra 'embedded').") from None
        self._folder = folder
        self._repository = repository or "Maven Central"
        self._progress = progress
        # A mirror is an address, or a folder laid out as a Maven repository.
        is_folder = bool(repository) and "://" not in repository
        self._context = MavenContext(
            resolver=PythonResolver(progress_callback=progress.of_one_file),
            repo_cache=scratch,
            local_repos=[Path(repository).expanduser()] if is_folder else [],
            remote_repos={} if is_folder else {"mirror": repository.rstrip("/")} if repository else None,
            timeout=TIMEOUT_S,
        )

    def fetch(self, jar: Jar) -> None:
        import requests
        import stamina

        def once() -> Path:
            artifact = self._context.create_dependency(jar.coordinate).artifact
            # A try that broke off leaves a part behind, which jgo would take for the whole.
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            return Path(artifact.resolve())

        problem = f"{jar.file_name} could not be fetched from {self._repository}"
        advice = f"Check the network, or set {REPOSITORY_SETTING} to a mirror of Maven Central."
        try:
            with told_as_not_writable(self._folder):
                got = stamina.retry_context
                for attempt in got(on=requests.RequestException, attempts=3, wait_initial=0.2, wait_max=2.0):
                    with attempt:
                        path = once()
        except requests.RequestException as error:
            raise NoNetwork(f"{problem} ({type(error).__name__}). {advice}") from error
        except RuntimeError as error:
            raise NoNetwork(f"{problem} (it is not there). {advice}") from error
        actual = _sha256(path)
        if actual != jar.sha256:
            raise CorruptedJar(
                f"{jar.file_name} from {self._repository} is not the file that was locked: "
                f"its SHA-256 is {actual}, it should be {jar.sha256}. It was not used."
            )
        with told_as_not_writable(self._folder):
            # A local repository's file is not ours to move.
            staged = self._folder / f".{jar.file_name}.part"
            shutil.copyfile(path, staged)
            staged.replace(self._folder / jar.file_name)


@contextmanager
def _system_certificates() -> Iterator[None]:
    """Trust what the system trusts, for as long as the download takes and not a moment longer."""
    try:
        import truststore
    except ImportError:
        yield
        return
    truststore.inject_into_ssl()
    try:
        yield
    finally:
        truststore.extract_from_ssl()


def _say(tell: Callable[[str], None] | None, sentence: str) -> None:
    if tell is not None:
        tell(sentence)
