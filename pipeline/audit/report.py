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
    "row_unexpected",  # a row that no accepted range put there
    "part_differs",  # a part's rows do not give its root, and nothing is left to say which of them
    "text_changed",  # text or salt no longer fit their commitment
    "retention_date_changed",
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
