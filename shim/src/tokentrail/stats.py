"""The counts a trail gives of itself. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Stats:
    """What became of the application's events in this process; heartbeats do not count.

    At every moment `emitted == delivered + refused + dropped + buffered`.

    Attributes:
        emitted: Calls of `emit`, by the application or by `trail.call`, whatever became of them.
        delivered: Acknowledged by Kafka (`acks=all`).
        refused: Given up because Kafka did not take them: too large, no such topic, no answer within the time, not
        allowed.
        dropped: Given up by the shim: buffer full, not serialisable, trail closed or disabled, left over at `close`.
        buffered: Accepted and on their way.
        buffered_bytes: Memory that `max_buffer_bytes` bounds: records on their way with their overhead, heartbeats too.
        last_error: The last thing that went wrong, for a person; None while nothing has.
        by_reason: How many were refused or dropped, by a word for the reason.
    """

    emitted: int
    delivered: int
    refused: int
    dropped: int
    buffered: int
    buffered_bytes: int
    last_error: str | None
    by_reason: Mapping[str, int] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """Refused and dropped together."""
        return self.refused + self.dropped
