"""Lines of events out of a file: cut, look at, and make ready to send. Knows no Kafka.

A line goes out as it stands. It is looked at for its key alone, and something is added in front only where a field must
be there: the id of an event that has none, the tenant that the command named, the mark of history. A line that is no
JSON object goes out too, because the pipeline counts it as a dead letter and nothing is lost in silence.
"""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec

from pipeline.errors import UsageError
from schemas.topics import RAW_MAX_BYTES

# What a line may hold at most before it is refused unseen; the topic takes less.
LONGEST_LINE: Final = 2 * RAW_MAX_BYTES
HISTORY_AFTER_MS: Final = 600_000
# Between tenant and run in a key: no name holds it.
KEY_SEPARATOR: Final = "\x1f"

Backfill = Literal["auto", "backfill", "live"]


class _Head(msgspec.Struct):
    """The fields a line is looked at for; whatever types they have is the pipeline's to judge."""

    tenant: Any = msgspec.UNSET
    run: Any = None
    session: Any = None
    id: Any = msgspec.UNSET
    ts: Any = None
    backfill: Any = msgspec.UNSET


_head = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One line, ready to send.

    Attributes:
        value: What goes to Kafka.
        key: Tenant with run, else session, else id; None where the line does not say.
        reason: Why it is not to be sent, where it is not.
    """

    value: bytes
    key: str | None = None
    reason: str | None = None


@dataclass
class Source:
    """A file of lines, or standard input, with how far it has been read.

    Attributes:
        name: What to call it.
        size: Bytes of the file as it lies on disk; None where nobody knows.
        broken: Why reading ended before the file did, where it has.
    """

    name: str
    size: int | None
    _raw: IO[bytes]
    _lines: IO[bytes]
    broken: str | None = field(default=None, init=False)

    def position(self) -> int:
        """How many of `size` bytes have been read."""
        return self._raw.tell() if self.size is not None else 0

    def lines(self) -> Iterator[bytes]:
        """Every line without its end; blank ones too. One that is too long comes cut, longer than `LONGEST_LINE`."""
        line = self._read().removeprefix(b"\xef\xbb\xbf")
        while line:
            if not line.endswith(b"\n") and len(line) > LONGEST_LINE:
                while (rest := self._read()) and not rest.endswith(b"\n"):
                    pass
            yield line.rstrip(b"\r\n")
            line = self._read()

    def _read(self) -> bytes:
        try:
            return self._lines.readline(LONGEST_LINE + 2)
        except (OSError, EOFError, zlib.error) as error:
            # What was read before it has been sent: that must be told, so this is no exception.
            self.broken = f"{self.name} could be read only in part ({error})"
            return b""

    def close(self) -> None:
        """Close the file."""
        if self._raw is not sys.stdin.buffer:
            self._lines.close()
            self._raw.close()


def open_source(file: Path) -> Source:
    """Open a file of lines; `-` is standard input, `.gz` is unpacked as it is read.

    Raises:
        UsageError: The file cannot be read.
    """
    if str(file) == "-":
        return Source("standard input", None, sys.stdin.buffer, sys.stdin.buffer)
    try:
        raw = file.open("rb", buffering=1 << 20)
        status = os.fstat(raw.fileno())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    lines: IO[bytes] = gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else raw  # type: ignore[assignment]
    # A pipe has no size and no place.
    return Source(str(file), status.st_size if stat.S_ISREG(status.st_mode) else None, raw, lines)


class Preparer:
    """Makes a line ready to send.

    Args:
        tenant: For lines that name none.
        backfill: `auto` marks what is more than ten minutes old as history, `backfill` everything, `live` nothing; a
            line that says it itself is left alone.
        strict: Refuse what the pipeline could not use instead of sending it.
        now_ms: The clock.
    """

    def __init__(
        self,
        tenant: str | None = None,
        backfill: Backfill = "auto",
        strict: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._tenant = tenant
        self._tenant_field = b'"tenant":' + msgspec.json.encode(tenant) + b"," if tenant else b""
        self._backfill = backfill
        self._strict = strict
        self._now_ms = now_ms
        self._ids = _Ids()

    def __call__(self, line: bytes) -> Prepared:
        """The line with what it needs, its key, or the reason why it is refused."""
        if len(line) > LONGEST_LINE:
            return Prepared(b"", reason="too_large")
        try:
            head = _head.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._judged(Prepared(line))
        now_ms = self._now_ms()
        added = b""
        tenant, unit, ts = head.tenant, head.run or head.session or head.id, head.ts
        if tenant is msgspec.UNSET:
            tenant, added = self._tenant, self._tenant_field
        if head.id is msgspec.UNSET:
            new_id = self._ids(now_ms)
            added += b'"id":"' + new_id.encode() + b'",'
            unit = head.run or head.session or new_id
        if head.backfill is msgspec.UNSET and self._is_history(ts, now_ms):
            added += b'"backfill":true,'
        key = f"{tenant}{KEY_SEPARATOR}{unit}" if isinstance(tenant, str) and isinstance(unit, str) else None
        return self._judged(Prepared(_with(line, added) if added else line, key))

    def _is_history(self, ts: Any, now_ms: int) -> bool:
        if self._backfill != "auto":
            return self._backfill == "backfill"
        return type(ts) is int and ts < now_ms - HISTORY_AFTER_MS

    def _judged(self, prepared: Prepared) -> Prepared:
        if not self._strict:
            return prepared
        from pipeline.errors import PoisonError
        from pipeline.intake.decode import decode

        try:
            decode(prepared.value, self._now_ms())
        except PoisonError as error:
            return Prepared(b"", reason=f"{error.reason} at {error.path}" if error.path else error.reason)
        return prepared


def _with(line: bytes, added: bytes) -> bytes:
    """The object in `line` with the fields of `added` (each ended by a comma) in front."""
    rest = line.lstrip()[1:].lstrip()
    return b"{" + (added[:-1] if rest.startswith(b"}") else added) + rest


class _Ids:
    """UUIDv7 (RFC 9562), one after another; the last 74 bits are a counter from a random start."""

    def __init__(self) -> None:
        self._count = secrets.randbits(73)

    def __call__(self, now_ms: int) -> str:
        self._count += 1
        digits = (
            f"{now_ms:012x}{0x7000 | (self._count >> 62) & 0xFFF:04x}{(1 << 63) | self._count & (1 << 62) - 1:016x}"
        )
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
