"""What `verify` found: values that print as JSON. No judgement here, but for `ok`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ProblemKind = Literal[
    "ledger_cut",  # the log does not begin at its beginning
    "ledger_state_false",  # a record carries a state that the log before it does not give
    "expiry_differs",  # the end of a cell was recorded with other rows than stood there
    "mark_beyond_log",  # more was accounted for than the raw topic ever held
    "input_lost",  # records of llm.calls were deleted before the sink had read them
    "row_missing",
    "row_changed",
    "row_twice",
    "row_unexpected",  # a row that no accepted record put there
    "row_outlived",  # a row that the ledger says is dropped or removed
    "part_differs",  # every row has a true seal, but together they do not give the root
    "text_changed",  # text or salt no longer fit their commitment
    "retention_date_changed",
    "copy_missing",  # a ledger record is not in ClickHouse's copy, though a later signed head says so
    "copy_changed",  # a record in ClickHouse's copy is not the one in the ledger, or its seal is false
    "copy_unexpected",  # ClickHouse's copy has a record that the ledger does not have
    "head_forged",  # a signed head that the installation's key did not sign
    "head_unchained",  # a signed head that does not name the one before
    "head_false",  # a signed head says what the ledger does not amount to
    "anchor_forged",  # an anchor that the installation's key did not sign
    "anchor_differs",  # the ledger is not the one that was anchored
    "unsettled",  # something is still on its way, and the caller says that nothing should be
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it must be.

    Attributes:
        kind: What.
        partition: Source partition; -1 when it belongs to none.
        table: Table of the row or part, else empty.
        position: `epoch/partition/offset`, or the first and last of a stretch; else empty.
        why: One sentence.
    """

    kind: ProblemKind
    partition: int
    table: str
    position: str
    why: str


@dataclass(slots=True)
class PartitionReport:
    """One partition.

    Attributes:
        partition: Its number.
        head: Hash chain over all accepted ledger records.
        accepted: Accepted ledger records.
        rejected: Rejected ones, which are skipped by everyone alike.
        ranges: Finished ranges.
        epoch: Incarnation of the raw topic that the mark is in.
        next: Source offset after the last finished range.
        counts: Accounted positions by type of record.
        rows: Rows checked against their roots, by table.
        expired_rows: Rows that were dropped when their life was over.
        erased_rows: Rows that were removed lawfully, one by one.
        changed_rows: Rows that stand with something removed from them lawfully.
        held_rows: Rows whose cell is gone and that a legal hold keeps.
        signed: Signed heads that are true.
        signed_end: Ledger offset up to which they reach.
        copied: Ledger records that ClickHouse's copy has.
        anchored: Anchored heads that are true.
        refused_rows: Rows that ClickHouse could not take; each is a dead letter.
        pending: Raw records that are not accounted for yet.
        raw_first: Lowest offset that the raw topic still holds.
        raw_next: Offset that its next record will get.
    """

    partition: int
    head: str = ""
    accepted: int = 0
    rejected: int = 0
    ranges: int = 0
    epoch: int = 0
    next: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    expired_rows: int = 0
    erased_rows: int = 0
    changed_rows: int = 0
    held_rows: int = 0
    signed: int = 0
    signed_end: int = 0
    copied: int = 0
    anchored: int = 0
    refused_rows: int = 0
    pending: int = 0
    raw_first: int = 0
    raw_next: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict over all partitions."""

    partitions: tuple[PartitionReport, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        return not self.problems

    @property
    def rows(self) -> int:
        """Rows checked."""
        return sum(sum(partition.rows.values()) for partition in self.partitions)

    @property
    def pending(self) -> int:
        """Raw records that are not accounted for yet."""
        return sum(partition.pending for partition in self.partitions)

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {"ok": self.ok, "rows": self.rows, "pending": self.pending, **asdict(self)}
