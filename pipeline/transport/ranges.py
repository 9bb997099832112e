"""What a stage sees of Kafka: records of one partition, in fetch order, cut into ranges.

Values only: nothing here fetches, commits or knows a client. Two coordinates meet in a pipeline; these are *input*
offsets (of the topic being read), never source positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Record(Protocol):
    """One record as it came off the wire; aiokafka's and our own readers' records both have this shape."""

    @property
    def offset(self) -> int:
        """Kafka offset."""
        ...

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970: the broker's append time where the topic says so."""
        ...

    @property
    def key(self) -> bytes | None:
        """The key, or None."""
        ...

    @property
    def value(self) -> bytes | None:
        """The value, or None (a tombstone)."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Names and values; names may repeat."""
        ...


@dataclass(frozen=True, slots=True)
class KafkaRecord:
    """A record of our own readers (tail, controls, snapshots); see `Record` for the units."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Records of one partition that are worked on, delivered and committed as one.

    Attributes:
        topic: Physical topic name.
        partition: Kafka partition.
        records: At least one record, offsets rising; they may jump (compaction, transaction markers).
        first: Input offset at which the range begins: where the stage resumed, or the `next` of the range before. Lower
            than `records[0].offset` where something is missing at the front.
        next: Input offset to resume at after it: the last record's offset + 1.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    first: int
    next: int

    def gaps(self) -> list[tuple[int, int]]:
        """Stretches of offsets in `first`..`next` that hold no record, as (first missing, last missing)."""
        if self.next - self.first == len(self.records):
            return []
        missing = []
        expected = self.first
        for record in self.records:
            if record.offset > expected:
                missing.append((expected, record.offset - 1))
            expected = record.offset + 1
        return missing


@dataclass(frozen=True, slots=True)
class Limits:
    """A range is closed when one of these is reached.

    Attributes:
        max_records: Most records in a range.
        max_bytes: Most bytes of keys and values in a range; one larger record is a range of its own.
        linger_s: How long the first record of a range may wait for others.
    """

    max_records: int
    max_bytes: int
    linger_s: float
