"""Times as people write and read them: `24h` and ISO 8601 in, ISO 8601 in UTC out. Pure."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Final

from pipeline.errors import UsageError

_AGO: Final = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)")
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def parse_since(text: str, now_ms: int | None = None) -> int:
    """Milliseconds since 1970 of `30m`, `24h`, `7d`, `2w` ago, or of an ISO time (UTC where it names no zone).

    Raises:
        UsageError: It is neither.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        return max(0, now_ms - int(ago.group(1)) * _UNIT_MS[ago.group(2)])
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no time. Say 30m, 24h, 7d, or a time like 2026-03-01T08:00.") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def iso(moment: datetime, milliseconds: bool = False) -> str:
    """ISO 8601 in UTC with a Z; a time without a zone is taken for UTC."""
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.isoformat("T", "milliseconds" if milliseconds else "seconds").replace("+00:00", "Z")


def iso_ms(at_ms: int, milliseconds: bool = False) -> str:
    """ISO 8601 in UTC of milliseconds since 1970; a time that no calendar has stays a number."""
    try:
        return iso(datetime.fromtimestamp(at_ms / 1000, UTC), milliseconds)
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


def duration(ms: float) -> str:
    """A duration for a person: `842 ms`, `1.24 s`, `3 min 20 s`, `5 h 10 min`, `12 d 3 h`."""
    sign, ms = ("-" if ms < 0 else ""), abs(ms)
    if ms < 10 and ms != int(ms):
        return f"{sign}{ms:.1f} ms"
    if ms < 999.5:
        return f"{sign}{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.995:
        return f"{sign}{seconds:.2f} s"
    whole = round(seconds)
    for size, name, small, small_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{sign}{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{sign}{whole} s"
