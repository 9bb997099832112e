"""Reconcile three things that must agree: the raw log's ends, the folded ledger, and the rows with their roots.

Reads through ports, holds a bounded window of rows, changes nothing. What is unfinished is lag, not an error, unless
the caller says that all should be settled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pipeline.audit.leaves import commitment, leaf, root
from pipeline.audit.ledger import Follower
from pipeline.audit.report import PartitionReport, Problem, ProblemKind, Report
from pipeline.audit.retention import Holdings
from pipeline.audit.rows import week
from pipeline.audit.sources import Group, Sources
from pipeline.audit.tables import OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES, Table
from schemas.ledger import Cell, Intent, State

# Rows looked at together: bounds memory and makes one query of many small ranges.
WINDOW_ROWS: Final = 20_000
WINDOW_RANGES: Final = 2_000
# Ranges whose rows are compared one by one with what they were made of, when a root differs.
NARROWED_RANGES: Final = 50
STATES_KEPT: Final = 10_000

Progress = Callable[[int, int], None]  # (ranges checked, ranges in all)


def verify(sources: Sources, partitions: int, *, settled: bool = False, progress: Progress | None = None) -> Report:
    """Check every partition.

    Args:
        sources: Where to read.
        partitions: How many partitions the raw topic has.
        settled: Nothing should be on its way any more: what is pending is then a problem.
        progress: Called with (ranges checked, ranges in all).
    """
    # Before the ledgers: a row that stands now has been announced by now.
    groups = {table.name: sources.groups(table) for table in TABLES.values()}
    audits = [_Audit(sources, number, settled) for number in range(partitions)]
    total = sum(audit.fold() for audit in audits)
    checked = 0
    for audit in audits:
        audit.check_ends(groups)
        for ranges in audit.check_rows():
            checked += ranges
            if progress is not None:
                progress(checked, total)
    problems = [problem for audit in audits for problem in audit.problems]
    for table, found in groups.items():
        for group in found:
            if group.partition >= partitions:
                position = f"{group.epoch}/{group.partition}/{group.highest}"
                why = f"{group.rows} rows of a partition that the raw topic does not have"
                problems.append(Problem("row_unexpected", group.partition, table, position, why))
    return Report(tuple(audit.report for audit in audits), tuple(problems))


class _Audit:
    """One partition's check."""

    def __init__(self, sources: Sources, partition: int, settled: bool) -> None:
        self.sources = sources
        self.partition = partition
        self.settled = settled
        self.report = PartitionReport(partition)
        self.problems: list[Problem] = []
        self.state: State | None = None
        # Ledger offset at which a cell last began to expire: what was finished before may be gone.
        self.expiring: dict[Cell, int] = {}
        self.looked_again = False
        self.narrowed = 0
        self.next_of_epoch: dict[int, int] = {}

    def problem(self, kind: ProblemKind, why: str, table: str = "", position: str = "") -> None:
        self.problems.append(Problem(kind, self.partition, table, position, why))

    def at(self, epoch: int, first: int, last: int | None = None) -> str:
        """A position, or a stretch of them."""
        start = f"{epoch}/{self.partition}/{first}"
        return start if last is None or last == first else f"{start} to {last}"

    # ---- ledger

    def fold(self) -> int:
        """Fold the ledger and hold its records to what they say of it; returns the number of finished ranges."""
        report = self.report
        held = Holdings(self.partition)
        follower = held.follower
        states: deque[tuple[int, State]] = deque([(0, follower.state)], maxlen=STATES_KEPT)
        counts: Counter[str] = Counter()
        for offset, value in self.sources.ledger(self.partition):
            if offset != follower.end:
                self.problem("ledger_cut", f"ledger offsets {follower.end} to {offset - 1} are gone")
            verdict = held.fold(offset, value)
            entry = verdict.entry
            if entry is not None and not _is_true(states, entry.seen, entry.state):
                self.problem(
                    "ledger_state_false", f"the record at ledger offset {offset} carries a state that is not so"
                )
            states.append((offset + 1, follower.state))
            if not verdict.accepted or entry is None:
                report.rejected += 1
                continue
            if entry.expiring is not None:
                self.expiring[entry.expiring.cell] = offset
                if entry.expiring != held.expiry(entry.expiring.cell):
                    cell = entry.expiring.cell
                    why = f"the record of the end of {cell} does not say what stood there"
                    self.problem("expiry_differs", why, cell.table)
        self.state = follower.state
        for _, intent in self._finished():
            report.ranges += 1
            self.next_of_epoch[intent.epoch] = intent.next
            counts.update(intent.counts)
            report.refused_rows += len(intent.refused)
        report.head, report.accepted = follower.state.head, follower.state.accepted
        report.epoch, report.next = follower.state.epoch, follower.state.next
        report.counts = dict(counts)
        return report.ranges

    def _finished(self) -> Iterator[tuple[int, Intent]]:
        """Finished ranges in order, each with the ledger offset at which it was finished."""
        follower = Follower(self.partition)
        for offset, value in self.sources.ledger(self.partition):
            open_ = follower.state.open
            verdict = follower.fold(offset, value)
            entry = verdict.entry
            if not verdict.accepted or entry is None:
                continue
            if entry.done is not None and open_ is not None:
                yield offset, open_
            if entry.intent is not None and not entry.intent.parts:
                yield offset, entry.intent

    # ---- ends

    def check_ends(self, groups: Mapping[str, Sequence[Group]]) -> None:
        """Hold the mark to the logs' ends, and the tables to the mark."""
        state, report = self.state, self.report
        assert state is not None
        ends = self.sources.ends(self.partition)
        report.raw_first, report.raw_next = ends.raw_first, ends.raw_next
        report.pending = max(0, ends.raw_next - (state.next if state.epoch == ends.epoch else 0))
        if (state.epoch, state.next) > (ends.epoch, ends.raw_next):
            why = f"the ledger accounts for more than the raw topic ever held ({ends.epoch}/{ends.raw_next})"
            self.problem("mark_beyond_log", why, position=self.at(state.epoch, state.next))
        if ends.calls_first > state.input_next:
            why = f"llm.calls begins at {ends.calls_first}, but {state.input_next} was not read yet"
            self.problem("input_lost", why, position=self.at(state.epoch, state.next))
        if self.settled and (state.open is not None or report.pending):
            why = f"{report.pending} raw records are not accounted for" if report.pending else "a range is not done"
            self.problem("unsettled", why, position=self.at(state.epoch, state.next))
        # Below `reached` rows may stand whose range is not done.
        limits = self.next_of_epoch | {state.epoch if state.open is None else state.open.epoch: state.reached}
        for table, found in groups.items():
            for group in found:
                if group.partition != self.partition:
                    continue
                if group.highest >= limits.get(group.epoch, 0):
                    why = f"nothing from {self.at(group.epoch, limits.get(group.epoch, 0))} on was announced"
                    self.problem("row_unexpected", why, table, self.at(group.epoch, group.highest))
                if group.false_dates:
                    why = f"{group.false_dates} rows have a retention date that is not received_at + retention_days"
                    self.problem("retention_date_changed", why, table)

    # ---- rows

    def check_rows(self) -> Iterator[int]:
        """Compare rows and roots window by window; yields how many ranges each window had."""
        window: list[tuple[int, Intent]] = []
        rows = 0
        for offset, intent in self._finished():
            size = sum(part.rows for part in intent.parts)
            is_full = rows + size > WINDOW_ROWS or len(window) >= WINDOW_RANGES
            if window and (is_full or window[0][1].epoch != intent.epoch):
                self._check_window(window)
                yield len(window)
                window, rows = [], 0
            window.append((offset, intent))
            rows += size
        if window:
            self._check_window(window)
            yield len(window)

    def _check_window(self, window: Sequence[tuple[int, Intent]]) -> None:
        epoch, first, next = window[0][1].epoch, window[0][1].first, window[-1][1].next
        firsts = [intent.first for _, intent in window]
        for table in TABLES.values():
            found: list[dict[Cell, dict[int, bytes]]] = [{} for _ in window]
            last = -1
            for row in self.sources.rows(table, epoch, self.partition, first, next):
                offset = row[OFFSET]
                if offset == last:
                    self.problem("row_twice", "the position stands more than once", table.name, self.at(epoch, offset))
                    continue
                last = offset
                if table.has_text and commitment(*row[table.leaf_width : -1]) != row[table.leaf_width - 1]:
                    why = "text or salt do not fit the commitment"
                    self.problem("text_changed", why, table.name, self.at(epoch, offset))
                cell = Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
                found[bisect_right(firsts, offset) - 1].setdefault(cell, {})[offset] = leaf(table, row)
            for (ledger_offset, intent), cells in zip(window, found, strict=True):
                self._check_range(table, ledger_offset, intent, cells)
            count = sum(len(leaves) for cells in found for leaves in cells.values())
            self.report.rows[table.name] = self.report.rows.get(table.name, 0) + count

    def _check_range(
        self, table: Table, ledger_offset: int, intent: Intent, found: Mapping[Cell, Mapping[int, bytes]]
    ) -> None:
        """Hold what stands of one range in one table to its parts."""
        expected = {part.cell: part for part in intent.parts if part.cell.table == table.name}
        if all(
            cell in expected
            and len(leaves) == expected[cell].rows
            and root(leaves.values()).hex() == expected[cell].root
            for cell, leaves in found.items()
        ) and len(found) == len(expected):
            return
        wrong: list[Cell] = []
        for cell in expected.keys() | found.keys():
            part, leaves = expected.get(cell), found.get(cell, {})
            if part is None:
                for offset in leaves:
                    why = f"no part of range {intent.range} goes into {cell}"
                    self.problem("row_unexpected", why, table.name, self.at(intent.epoch, offset))
            elif not leaves and self._is_expired(cell, ledger_offset):
                self.report.expired_rows += part.rows
            elif len(leaves) != part.rows or root(leaves.values()).hex() != part.root:
                wrong.append(cell)
        if wrong:
            self._name(table, intent, {cell: (expected[cell].rows, found.get(cell, {})) for cell in wrong})

    def _name(self, table: Table, intent: Intent, wrong: Mapping[Cell, tuple[int, Mapping[int, bytes]]]) -> None:
        """Say which rows of a range are wrong, as far as that can still be known."""
        self.narrowed += 1
        made = self.sources.made_of(self.partition, intent) if self.narrowed <= NARROWED_RANGES else None
        for cell, (count, found) in wrong.items():
            should = None if made is None else made.get(cell, {})
            if should is None:
                why = f"range {intent.range} put {count} rows into {cell}; {len(found)} stand there, or other ones"
                position = self.at(intent.epoch, intent.first, intent.next - 1)
                self.problem("part_differs", why, table.name, position)
                continue
            for offset in sorted(should.keys() | found.keys()):
                where = self.at(intent.epoch, offset)
                if offset not in found:
                    self.problem("row_missing", f"range {intent.range} put it into {cell}", table.name, where)
                elif offset not in should:
                    self.problem("row_unexpected", f"range {intent.range} did not put it there", table.name, where)
                elif should[offset] != found[offset]:
                    why = f"it is not what range {intent.range} put into {cell}"
                    self.problem("row_changed", why, table.name, where)

    def _is_expired(self, cell: Cell, finished_at: int) -> bool:
        """Whether a cell began to expire after a range was finished; the ledger is asked again what came meanwhile."""
        if self.expiring.get(cell, -1) < finished_at and not self.looked_again:
            self.looked_again = True
            follower = Follower(self.partition)
            for offset, value in self.sources.ledger(self.partition):
                verdict = follower.fold(offset, value)
                if verdict.accepted and verdict.entry is not None and verdict.entry.expiring is not None:
                    self.expiring[verdict.entry.expiring.cell] = offset
        return self.expiring.get(cell, -1) > finished_at


def _is_true(states: deque[tuple[int, State]], seen: int, state: State) -> bool:
    """Whether a carried state is what the log gave at `seen`; what is too long ago is taken at its word."""
    if seen > states[-1][0]:
        return False
    if seen < states[0][0]:
        return True
    return next(known == state for end, known in reversed(states) if end <= seen)
