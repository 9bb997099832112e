"""The ports through which `verify` reads: Kafka's ends, ledgers and their copy, rows. What it trusts, what it knew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from pipeline.audit.tables import Table
from schemas.ledger import Signed, State


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that seals and signatures are held to."""

    seal_key: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Anchored:
    """One signed head as it was put away outside; `name` says in which anchor."""

    name: str
    partition: int
    signed: Signed


class Checkpoint(msgspec.Struct, frozen=True):
    """How far one partition was found to be as it must be.

    Attributes:
        end: Ledger offset that came next.
        last: SHA-256 of the record before it, hexadecimal.
        state: The fold there.
        signed: Digest of the last signed head.
        next_of_epoch: By incarnation, the source offset after its last finished range.
    """

    end: int
    last: str
    state: State
    signed: str
    next_of_epoch: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Ends:
    """What Kafka says of a partition: incarnation and bounds of the raw topic, and where `llm.calls` begins."""

    epoch: int
    raw_first: int
    raw_next: int
    calls_first: int


class Group(Protocol):
    """All rows of one table that stem from one partition of one incarnation of the raw topic."""

    @property
    def epoch(self) -> int:
        """Incarnation."""
        ...

    @property
    def partition(self) -> int:
        """Partition."""
        ...

    @property
    def rows(self) -> int:
        """How many."""
        ...

    @property
    def highest(self) -> int:
        """Highest offset."""
        ...

    @property
    def false_dates(self) -> int:
        """Rows whose retention date is not received_at + retention_days."""
        ...


class Sources(Protocol):
    """Where `verify` reads."""

    def ends(self, partition: int) -> Ends | None:
        """The log's ends, as of now; None when Kafka is not asked."""
        ...

    def ledger(self, partition: int, start: int = 0) -> Iterable[tuple[int, bytes]]:
        """Every record of the partition's ledger from an offset to its end as of now."""
        ...

    def copied(self, partition: int, start: int = 0) -> Iterable[tuple[Any, ...]]:
        """Rows of ClickHouse's copy of it (`pipeline.audit.copies`) in the order of their offsets."""
        ...

    def groups(self, table: Table) -> Sequence[Group]:
        """What the table holds, by where it came from."""
        ...

    def rows(self, table: Table, epoch: int, partition: int, first: int, next: int) -> Iterable[tuple[Any, ...]]:
        """Rows between two offsets in their order."""
        ...

    def held(self, table: Table, partition: int) -> Iterable[tuple[Any, ...]]:
        """Rows of that partition that legal holds keep beyond the end of their cell, in the order of their offsets."""
        ...
