"""One jar by coordinate from a Maven repository to a file whose SHA-256 is right.

The repository is Maven Central, or the mirror or folder that `TOKENTRAIL_MAVEN_REPOSITORY` names. The Maven client
is jgo; its dependency resolution is not used.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import CorruptedJar, NoNetwork, UnsupportedPlatform
from infra.embedded.folder import told_as_not_writable
from infra.embedded.progress import Progress

REPOSITORY_SETTING = "TOKENTRAIL_MAVEN_REPOSITORY"
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


class Fetcher:
    """Fetches jars one at a time; several threads may use one.

    Args:
        scratch: a folder for jgo, whose files are not trusted.
        folder: where a jar goes, by a rename, once its hash was right.
        repository: address or folder of a Maven repository; empty for Maven Central.
        progress: is told of the bytes.
    """

    def __init__(self, scratch: Path, folder: Path, repository: str, progress: Progress) -> None:
        try:
            from jgo.maven import MavenContext, PythonResolver
        except ImportError:
            raise UnsupportedPlatform("Fetching Kafka needs the package jgo (extra 'embedded').") from None
        self._folder = folder
        self._repository = _without_login(repository) or "Maven Central"
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
        """Put one jar into the folder.

        Raises:
            NoNetwork: if it cannot be had.
            CorruptedJar: if its SHA-256 is another.
            NotWritable: if it cannot be written.
        """
        import requests
        import stamina

        def once() -> Path:
            artifact = self._context.create_dependency(jar.coordinate).artifact
            # A try that broke off leaves a part behind, which jgo would take for the whole.
            if artifact.cached_path is not None:
                artifact.cached_path.unlink(missing_ok=True)
            return Path(artifact.resolve())

        again = "again " if (self._folder / jar.file_name).exists() else ""
        problem = f"{jar.file_name} could not be fetched {again}from {self._repository}"
        advice = f"Check the network, or set {REPOSITORY_SETTING} to a mirror of Maven Central."
        try:
            with told_as_not_writable(self._folder):
                for attempt in stamina.retry_context(on=_may_pass, attempts=3, wait_initial=0.2, wait_max=2.0):
                    with attempt:
                        path = once()
        except requests.RequestException as error:
            raise NoNetwork(f"{problem} ({_reason(error)}). {advice}") from error
        except RuntimeError as error:
            raise NoNetwork(f"{problem} (it is not there). {advice}") from error
        actual = sha256_of(path)
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


def _without_login(repository: str) -> str:
    """The address as it may be shown: a mirror's user and password stay out of messages and logs."""
    scheme, separator, rest = repository.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _may_pass(error: Exception) -> bool:
    """Say whether another try is worth it: the transfer broke off. Where nobody answers, a person is asked at once."""
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.Timeout):
        return True
    cause = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(cause, urllib3.exceptions.ProtocolError)


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted by this system"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__


@contextmanager
def system_certificates() -> Iterator[None]:
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


def sha256_of(path: Path) -> str | None:
    """Return the file's SHA-256 in hex, None when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
