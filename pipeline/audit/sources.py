"""The ports through which `verify` reads: Kafka's ends, ledgers, rows, and what ranges were made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.audit.tables import Table
from schemas.ledger import Cell, Intent

Leaves = Mapping[Cell, Mapping[int, bytes]]


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

    def ends(self, partition: int) -> Ends:
        """The log's ends, as of now."""
        ...

    def ledger(self, partition: int) -> Iterable[tuple[int, bytes]]:
        """Every record of the partition's ledger from its beginning to its end as of now."""
        ...

    def groups(self, table: Table) -> Sequence[Group]:
        """What the table holds, by where it came from."""
        ...

    def rows(self, table: Table, epoch: int, partition: int, first: int, next: int) -> Iterable[tuple[Any, ...]]:
        """Rows between two offsets in their order."""
        ...

    def made_of(self, partition: int, intent: Intent) -> Leaves | None:
        """The leaves a range must have, made again from `llm.calls`; None when that has forgotten it."""
        ...
