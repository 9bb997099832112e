"""The ledger (`tokentrail.ledger.v1`): what stands on `llm.ledger`, one partition beside each raw partition.

A record says what somebody did or is about to do with ranges of source positions. Whether it counts is decided by its
place in the log and by nothing else: the fold is `pipeline.audit.ledger.accept`. A record never names a predecessor;
it carries the state that its writer had folded up to ledger offset `seen`. That is true whoever wrote it, because it
follows from the log alone, so that reading the tail is enough to go on.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """One ClickHouse partition of one table; `week` is its Monday, `2026-11-16`."""

    table: str
    retention_days: int
    week: str

    def __str__(self) -> str:
        return f"{self.table} ({self.retention_days} days, week of {self.week})"


class Part(msgspec.Struct, frozen=True, array_like=True):
    """What one range puts into one cell.

    Attributes:
        cell: Where.
        rows: How many rows.
        root: Over their leaves, hexadecimal.
        offsets: Which source offsets they have (`pipeline.audit.spans`), so that a missing one can be named.
    """

    cell: Cell
    rows: int
    root: str
    offsets: str = ""


class Intent(msgspec.Struct, frozen=True):
    """A range of source positions that is about to be inserted; accepted, it is owed.

    Attributes:
        range: Number of the range in this partition, from 1.
        attempt: From 1; an adopter, or the owner itself with a new deadline, takes the next.
        deadline_ms: Server time after which ClickHouse refuses this attempt's inserts.
        epoch: Incarnation of the raw topic.
        first: First source offset.
        next: Source offset after the last.
        input_epoch: Incarnation of `llm.calls`.
        input_first: Offset in `llm.calls` from which on the range was read.
        input_next: Offset in `llm.calls` at which to read on.
        counts: Positions by type of record; together `next - first`.
        gaps: Stretches that the log proves to be gone, as (first, last).
        parts: What goes where; a range without parts is done when it is accepted.
        refused: (offset, table) of rows that ClickHouse cannot take; each is a dead letter instead.
        leaf: Version of leaves and roots.
        erasures: How many erasure requests the writer knew; whose records they name gives bare rows in this range.
    """

    range: int
    attempt: int
    deadline_ms: int
    epoch: int
    first: int
    next: int
    input_epoch: int
    input_first: int
    input_next: int
    counts: dict[str, int]
    parts: tuple[Part, ...]
    gaps: tuple[tuple[int, int], ...] = ()
    refused: tuple[tuple[int, str], ...] = ()
    leaf: int = 1
    erasures: int = 0


class Done(msgspec.Struct, frozen=True):
    """Every row of the range stands in ClickHouse."""

    range: int
    attempt: int


class Claim(msgspec.Struct, frozen=True):
    """The writer takes the partition over from `after`; from here on only its ranges are accepted."""

    after: str


class Expiry(msgspec.Struct, frozen=True):
    """The end of a cell: how many rows of this source partition it held, and the root over their parts' roots."""

    cell: Cell
    rows: int
    root: str


class Held(msgspec.Struct, frozen=True):
    """Rows of this source partition that outlive their cell in `held_<table>`, or that are let go there.

    Attributes:
        cell: Whose end they outlive.
        epoch: Incarnation of the raw topic.
        first: What `offsets` counts from.
        rows: How many.
        offsets: Their source offsets (`pipeline.audit.spans`).
        holds: Ids of the legal holds in force.
    """

    cell: Cell
    epoch: int
    first: int
    rows: int
    offsets: str
    holds: tuple[str, ...] = ()


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One row that is lawfully changed or removed: its leaf before, and after (empty: it is gone); hexadecimal."""

    cell: Cell
    epoch: int
    offset: int
    was: str
    now: str = ""


class Erasing(msgspec.Struct, frozen=True):
    """Rows of finished ranges are about to be changed or removed. The leaves that the roots are over stay, here.

    Attributes:
        request: Id of the request.
        batch: Number of this batch of the request, from 1; with `request` it names the batch.
        why: A person's right, or a policy that keeps less.
        changes: Rows, at most a few thousand.
    """

    request: str
    batch: int
    why: Literal["erasure", "policy"]
    changes: tuple[Change, ...]


class Erased(msgspec.Struct, frozen=True):
    """The rows of that batch are what its record says they become."""

    request: str
    batch: int


class Repricing(msgspec.Struct, frozen=True):
    """Rows of `repricings` that are about to be inserted, in one block, so that all of them will stand or none.

    Attributes:
        number: Of this partition's repricings, from 1.
        epoch: Incarnation of the raw topic.
        first: What `part.offsets` counts from.
        next: Source offset after the last of them.
        part: What goes where.
        price_version: Of the price book.
        deadline_ms: Server time after which ClickHouse refuses the insert.
    """

    number: int
    epoch: int
    first: int
    next: int
    part: Part
    price_version: str
    deadline_ms: int


class Repriced(msgspec.Struct, frozen=True):
    """What became of the open repricing: its rows stand, or none does and none will."""

    number: int
    landed: bool


class Signed(msgspec.Struct, frozen=True):
    """A signed head: what the ledger amounted to at one of its offsets, bound to the statement before.

    Attributes:
        end: Ledger offset that came next.
        head: The fold's head there.
        accepted: How many records that counted stood before it.
        at_ms: Signing time, milliseconds since 1970.
        previous: SHA-256 of the statement signed before, hexadecimal; empty for the first.
        key: Id of the public key.
        signature: Ed25519 over the statement, hexadecimal (`pipeline.audit.heads`).
    """

    end: int
    head: str
    accepted: int
    at_ms: int
    previous: str
    key: str
    signature: str


class State(msgspec.Struct, frozen=True):
    """What the accepted records of one partition amount to.

    Attributes:
        head: Hash chain over the accepted records, hexadecimal.
        accepted: How many there are.
        owner: Whose ranges are accepted; empty before the first claim.
        epoch: Incarnation of the raw topic that `next` is in; 0 before the first range.
        next: Source offset after the last finished range.
        input_epoch: Incarnation of `llm.calls` that `input_next` is in.
        input_next: Offset in `llm.calls` to read on at.
        range: Number of the last finished range.
        reached: Source offset after the last position that any accepted INTENT of this epoch named: below it rows may
            stand although their range is not finished.
        open: The range that is owed.
        expiring: Cells that are being dropped: nothing may be put into them.
        erasing: (request, batch) of lawful changes that are under way.
        repricings: Number of the last repricing.
        repricing: The one whose rows may stand or not.
    """

    head: str
    accepted: int = 0
    owner: str = ""
    epoch: int = 0
    next: int = 0
    input_epoch: int = 0
    input_next: int = 0
    range: int = 0
    reached: int = 0
    open: Intent | None = None
    expiring: tuple[Cell, ...] = ()
    erasing: tuple[tuple[str, int], ...] = ()
    repricings: int = 0
    repricing: Repricing | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.ledger.v1"):
    """One ledger record: one or more steps, accepted or rejected together, taken in the order of the fields.

    Attributes:
        partition: Source partition.
        owner: Who writes (unique for every start of a process).
        seen: Ledger offset up to which the writer had folded.
        state: What it had folded to.
    """

    partition: int
    owner: str
    seen: int
    state: State
    claim: Claim | None = None
    done: Done | None = None
    intent: Intent | None = None
    expiring: Expiry | None = None
    expired: Expiry | None = None
    held: Held | None = None
    released: Held | None = None
    erasing: Erasing | None = None
    erased: Erased | None = None
    repriced: Repriced | None = None
    repricing: Repricing | None = None
    signed: Signed | None = None
