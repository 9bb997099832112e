"""A lock between processes that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from infra.embedded.folder import told_as_not_writable


class FileLock:
    """An exclusive `flock` on a file that holds its owner's pid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool) -> bool:
        """Take the lock; with `wait`, for as long as it takes.

        Returns:
            False if somebody else holds it (only without `wait`).

        Raises:
            NotWritable: if the file cannot be made.
        """
        with told_as_not_writable(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go of the lock, if it is held; the file stays (removing it would let two processes hold "the" lock)."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Return the pid that the file names, or "unknown"."""
        try:
            return self._path.read_text().strip() or "unknown"
        except OSError:
            return "unknown"
