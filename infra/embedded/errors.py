"""What can go wrong with the embedded servers, one clear sentence each.

    EmbeddedError
    ├── AlreadyRunning       another process holds this data folder
    ├── PortTaken            a port that was asked for is in use
    ├── NotWritable          the data folder or the cache cannot be written (read-only, no rights, no space)
    ├── NoNetwork            a jar could not be downloaded
    ├── CorruptedJar         a jar is not the one the lock file names
    ├── UnsupportedPlatform  no Java, or no ClickHouse, for this machine
    └── StartFailed          a server ended while it started
        └── StartTimeout     a server did not become ready in time

No message holds a password. Nothing here does any work.
"""

from __future__ import annotations


class EmbeddedError(Exception):
    """Base of all errors of this package; `str(error)` is one sentence for a person."""


class AlreadyRunning(EmbeddedError):
    """Another process holds the data folder."""


class PortTaken(EmbeddedError):
    """A port that was asked for is in use."""


class NotWritable(EmbeddedError):
    """A folder cannot be written: read-only, not ours, or the disk is full."""


class NoNetwork(EmbeddedError):
    """A jar could not be downloaded."""


class CorruptedJar(EmbeddedError):
    """A jar's SHA-256 is not the one in the lock file."""


class UnsupportedPlatform(EmbeddedError):
    """No Java or no ClickHouse that would run here."""


class StartFailed(EmbeddedError):
    """A server's process ended before it was ready."""


class StartTimeout(StartFailed):
    """A server's process is there but did not become ready in time."""
