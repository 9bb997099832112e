"""The data folder: where everything lies, and how files in it are written.

Every write of a whole file goes through `write_private`, so that a reader (or a kill -9) sees the old content or the
new one, never a half, and so that nobody but the owner can read it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from infra.embedded.errors import NotWritable


@dataclass(frozen=True)
class Folder:
    """Paths inside one data folder; creates nothing until `create`."""

    root: Path

    @property
    def secrets_file(self) -> Path:
        """Passwords of the ClickHouse users, mode 0600."""
        return self.root / "secrets.json"

    @property
    def state_file(self) -> Path:
        """Ports and process ids, no secrets."""
        return self.root / "servers.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that owns the servers."""
        return self.root / "servers.lock"

    @property
    def logs(self) -> Path:
        """Logs of both servers, bounded in size."""
        return self.root / "logs"

    @property
    def kafka(self) -> Path:
        """Kafka's settings and log segments."""
        return self.root / "kafka"

    @property
    def clickhouse(self) -> Path:
        """ClickHouse's settings and tables."""
        return self.root / "clickhouse"

    def create(self) -> None:
        """Create the folder (mode 0700) and check that it can be written.

        Raises:
            NotWritable: if it cannot.
        """
        with told_as_not_writable(self.root):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in (self.logs, self.kafka, self.clickhouse):
                path.mkdir(mode=0o700, exist_ok=True)
            probe = self.root / f".probe-{os.getpid()}"
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()


@contextmanager
def told_as_not_writable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write under `path` into one sentence.

    Raises:
        NotWritable: for a full disk, a read-only file system, missing rights, or a file where a folder should be.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NotWritable(
                f"The disk is full: {where} could not be written. Free some space or name another folder."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            reason = os.strerror(error.errno).lower()
            raise NotWritable(
                f"{where} cannot be written ({reason}). Name a folder that this user may write."
            ) from error
        raise


def write_private(path: Path, text: str) -> None:
    """Replace the file's content in one step; mode 0600 from its first byte on.

    Raises:
        NotWritable: if the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with told_as_not_writable(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
