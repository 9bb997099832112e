"""Remember the findings of texts already judged: chat histories repeat, so most of the work can be spared.

Kept are spans only, under a keyed digest whose key lives and dies with the process: neither a text nor anything that
could be compared with another process's memory. Failures are never kept.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Final

from pipeline.redaction.values import Finding

# Measured: 124 bytes for digest and dictionary (whose table may be half empty), 170 for a Finding with its numbers.
_ENTRY_BYTES: Final = 250
_FINDING_BYTES: Final = 170


class SpanCache:
    """Spans by text, least recently used first out, bounded in bytes. Safe to share between threads."""

    def __init__(self, limit_bytes: int, manifest: str) -> None:
        """Make an empty cache.

        Args:
            limit_bytes: estimated memory that entries may take; 0 keeps nothing.
            manifest: the engine's; findings of another engine never answer.
        """
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._entries: OrderedDict[bytes, tuple[Finding, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._seed = hashlib.blake2b(manifest.encode(), key=os.urandom(32), digest_size=16)

    def key(self, tenant: bytes, text: bytes, names: bool = True) -> bytes:
        """The name of a tenant's text in this cache: a keyed digest of 16 bytes.

        What a policy wants of the findings is not part of it, because all are kept; whether the model was asked is.
        """
        digest = self._seed.copy()
        digest.update(b"%d:%d:" % (names, len(tenant)))
        digest.update(tenant)
        digest.update(text)
        return digest.digest()

    def get(self, key: bytes) -> tuple[Finding, ...] | None:
        """Findings kept under a key, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: bytes, findings: tuple[Finding, ...]) -> None:
        """Keep findings, and forget the longest unused ones if memory is full."""
        size = _size(findings)
        with self._lock:
            if size > self._limit_bytes or key in self._entries:
                return
            self._entries[key] = findings
            self._used_bytes += size
            while self._used_bytes > self._limit_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._used_bytes -= _size(dropped)

    @property
    def used_bytes(self) -> int:
        """Estimated memory taken by entries."""
        return self._used_bytes

    def __len__(self) -> int:
        return len(self._entries)


def _size(findings: tuple[Finding, ...]) -> int:
    return _ENTRY_BYTES + _FINDING_BYTES * len(findings)
