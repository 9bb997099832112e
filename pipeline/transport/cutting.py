"""Join and cut fetches of one partition into ranges of the size a stage wants. Pure: no clock, no Kafka.

It keeps order and place: ranges are contiguous, and what belongs to a fetch is handed back for acknowledgement only
with the range that holds the fetch's last record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pipeline.errors import UnknownEpochError
from pipeline.transport.ranges import Limits, Range, Record

Token = TypeVar("Token")

# A lane stops fetching when it holds this many ranges' worth of records that nobody works on yet.
RANGES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Cut(Generic[Token]):
    """One range, and the tokens of the fetches that end in it."""

    range: Range
    tokens: Sequence[Token]


@dataclass(slots=True)
class _Segment(Generic[Token]):
    """One fetch, cut off from the front. `sizes` are bytes of key and value by record; `at` is the next record."""

    records: Sequence[Record]
    sizes: list[int]
    token: Token
    at: int = 0


class Cutter(Generic[Token]):
    """Pending records of one partition.

    Attributes:
        next: Input offset at which the next range begins.
        pending: Records that are in no range yet.
        pending_bytes: Bytes of their keys and values.
    """

    def __init__(self, topic: str, partition: int, first: int, limits: Limits) -> None:
        self._topic = topic
        self._partition = partition
        self._limits = limits
        self._segments: deque[_Segment[Token]] = deque()
        self._last_cut_at = float("-inf")
        self._expected = first
        self.next = first
        self.pending = 0
        self.pending_bytes = 0

    def add(self, records: Sequence[Record], token: Token) -> None:
        """Take one fetch; `records` rise in offset and follow what was added before.

        Raises:
            UnknownEpochError: They lie before what was read already: the log is not the one it was.
        """
        if records[0].offset < self._expected:
            raise UnknownEpochError(
                f"{self._topic}/{self._partition} gave offset {records[0].offset} where {self._expected} or more was "
                "due: the topic was recreated or its log was cut back. Run `tokentrail migrate` and start again."
            )
        self._expected = records[-1].offset + 1
        sizes = [len(record.value or b"") + len(record.key or b"") for record in records]
        self._segments.append(_Segment(records, sizes, token))
        self.pending += len(records)
        self.pending_bytes += sum(sizes)

    @property
    def full(self) -> bool:
        """No more fetches are wanted for now."""
        return (
            self.pending >= RANGES_AHEAD * self._limits.max_records
            or self.pending_bytes >= RANGES_AHEAD * self._limits.max_bytes
        )

    def due_in(self, now_s: float) -> float | None:
        """Seconds until a range is due (0: now); None while nothing is pending.

        The first record after a quiet time goes at once: a range is at least `linger_s` after the one before, so that
        ranges are few under load and nobody waits without it.
        """
        if not self._segments:
            return None
        if self.pending >= self._limits.max_records or self.pending_bytes >= self._limits.max_bytes:
            return 0.0
        return max(0.0, self._last_cut_at + self._limits.linger_s - now_s)

    def cut(self, now_s: float) -> Cut[Token]:
        """The next range: at least one record, at most the limits (one larger record is a range of its own)."""
        records: list[Record] = []
        tokens: list[Token] = []
        size = 0
        while self._segments and len(records) < self._limits.max_records:
            segment = self._segments[0]
            upto = min(len(segment.records), segment.at + self._limits.max_records - len(records))
            count, more = _fitting(segment.sizes[segment.at : upto], self._limits.max_bytes - size, not records)
            records += segment.records[segment.at : segment.at + count]
            size += more
            segment.at += count
            if segment.at < len(segment.records):
                break
            tokens.append(self._segments.popleft().token)
        self.pending -= len(records)
        self.pending_bytes -= size
        first, self.next = self.next, records[-1].offset + 1
        self._last_cut_at = now_s
        return Cut(Range(self._topic, self._partition, records, first, self.next), tokens)


def _fitting(sizes: Sequence[int], room: int, at_least_one: bool) -> tuple[int, int]:
    """How many of these fit into `room` bytes, and how many bytes they are."""
    total = sum(sizes)
    if total <= room:
        return len(sizes), total
    count = taken = 0
    for size in sizes:
        if taken + size > room and not (at_least_one and count == 0):
            break
        count += 1
        taken += size
    return count, taken
