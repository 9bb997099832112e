"""Everything on `llm.controls`, read from the start by a background thread.

What a control means is the business of `pipeline.control`.
"""

from __future__ import annotations

from pipeline.settings import Settings
from schemas.control import Control, ControlKind


class ControlsReader:
    """All controls in log order with their append times; compacted by key as the topic is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def start(self) -> None:
        """Begin to read; returns at once."""

    def close(self) -> None:
        """Stop the thread."""

    async def ready(self, timeout_s: float = 30.0) -> None:
        """Wait until everything that was there at the start has been read.

        Raises:
            RetryableError: The topic could not be read in time.
        """

    @property
    def lag_s(self) -> float:
        """Seconds since the reader last was at the end of the topic."""
        raise NotImplementedError

    async def wait_current(self, max_lag_s: float = 10.0) -> None:
        """Return when the reader is at most `max_lag_s` behind; a stage waits here before it decides by a policy."""

    def records(self, kind: ControlKind) -> list[tuple[int, Control]]:
        """(append time in ms, control) of one kind, in log order, the latest of each key."""
        raise NotImplementedError

    def at(self, kind: ControlKind, received_at_ms: int) -> list[tuple[int, Control]]:
        """Those of `records(kind)` that were appended at or before `received_at_ms`."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """Next offset to read: grows with every record, so that a cache can be keyed by it."""
        raise NotImplementedError
