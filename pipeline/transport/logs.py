"""Log lines of a process: one JSON object a line, with what happened, to what, and never event text.

Exceptions that are not ours are told by type and place only, because libraries quote the offending value in theirs.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any, Final

from pipeline.errors import TokentrailError

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Chatty at INFO; their warnings are kept.
_LIBRARIES: Final = ("faust", "mode", "aiokafka", "asyncio", "kafka")

SAME_AGAIN_S: Final = 10.0


def _is_ours(logger: str) -> bool:
    return logger.partition(".")[0] in ("pipeline", "agents", "root")


def told(error: BaseException) -> dict[str, Any]:
    """Fields that say what went wrong without quoting data."""
    fields: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, TokentrailError):
        fields["why"] = str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        fields["where"] = f"{last.filename.rpartition('/')[2]}:{last.lineno} {last.name}"
    if error.__cause__ is not None:
        fields["cause"] = told(error.__cause__)
    return fields


class _Seldom(logging.Filter):
    """Lets a library say the same thing once in ten seconds: a broker that is away makes ten lines a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_ours(record.name) or record.levelno >= logging.CRITICAL:
            return True
        said = record.name, str(record.msg)[:40]
        if record.created - self._said.get(said, 0.0) < SAME_AGAIN_S:
            return False
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[said] = record.created
        return True


class OneLine(logging.Formatter):
    """A record as one line of JSON: time, level, stage, what, and the fields given as `extra`."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._stage = stage

    def format(self, record: logging.LogRecord) -> str:
        """The line; the traceback of an exception is reduced to type and place."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "stage": self._stage,
            "what": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = told(record.exc_info[1])
        if not _is_ours(record.name):
            line["logger"] = record.name
        return json.dumps(line, default=str)


def configure(stage: str, level: str) -> None:
    """Send all logging of this process to standard error, one line a record."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(stage))
    handler.addFilter(_Seldom())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
