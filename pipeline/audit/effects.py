"""What the protocol of a lane asks of the outside: Kafka, ClickHouse, the server's clock. Values only.

The sink performs them on the real engines; the laws perform them on a model, and end the protocol between any two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.audit.batch import Batch, BatchPart, Refused, Slot
from schemas.ledger import Cell

# How long after its announcement an insert is still taken, and how long the server may work on it.
DEADLINE_MS = 5_000
EXECUTION_MS = 5_000


@dataclass(frozen=True, slots=True)
class Deliver:
    """Append one ledger record. Answer: its offset. Raises DeliveryError: it may be in the log or come there later."""

    value: bytes


@dataclass(frozen=True, slots=True)
class ReadLedger:
    """Read the ledger from an offset to its end. Answer: list of (offset, value). None: only the last record."""

    start: int | None


@dataclass(frozen=True, slots=True)
class ServerTime:
    """Answer: ClickHouse's clock, milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait. Answer: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Present:
    """Answer: source offsets of the rows in a cell, between two offsets; twice what stands twice."""

    cell: Cell
    epoch: int
    first: int
    next: int


@dataclass(frozen=True, slots=True)
class Highest:
    """Answer: the highest (epoch, offset) that any row has, at or beyond this one, or None."""

    epoch: int
    offset: int


@dataclass(frozen=True, slots=True)
class Build:
    """Make a batch and encode it. Answer: (batch, misfits), the rows that fit no column.

    `erasures` says how many erasure requests count; None: all that are known now.
    """

    slots: tuple[Slot, ...]
    first: int
    input_next: int
    refused: Refused
    erasures: int | None


@dataclass(frozen=True, slots=True)
class Insert:
    """Insert parts, each nothing or all. Answer: list of Outcome."""

    parts: tuple[tuple[str, BatchPart], ...]
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class Finished:
    """Told, not asked: every row of a range stands. Answer: None."""

    batch: Batch


# 'failed': no answer, or one that says nothing about what landed.
Outcome = Literal["landed", "late", "busy", "refused", "failed"]
Effect = Deliver | ReadLedger | ServerTime | Sleep | Present | Highest | Build | Insert | Finished
