"""Reconcile what must agree: the raw log's ends, the ledger with its heads and copies, the rows with their seals.

Reads through ports, holds a bounded window of rows, changes nothing. What is unfinished is lag, not an error, unless
the caller says that all should be settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pipeline.audit.chain import Chain
from pipeline.audit.kept import Kept
from pipeline.audit.lawful import Lawful
from pipeline.audit.leaves import commitment, leaf, seal
from pipeline.audit.ledger import Follower
from pipeline.audit.parts import Announced, Held, is_whole, judge
from pipeline.audit.report import PartitionReport, Problem, ProblemKind, Report
from pipeline.audit.repriced import check, strangers
from pipeline.audit.repricing import Landed, landed
from pipeline.audit.rows import DAY_MS, Row, week
from pipeline.audit.sources import Anchored, Checkpoint, Group, Sources, Trust
from pipeline.audit.tables import CHAINED, OFFSET, RECEIVED_AT, REPRICINGS, RETENTION_DAYS, TABLES, Table
from schemas.ledger import Cell, Entry, Intent, State

# Rows looked at together: bounds memory and makes one query of many small ranges.
WINDOW_ROWS: Final = 100_000
WINDOW_RANGES: Final = 5_000
# Rows that nobody announced are named one by one up to so many in a table and partition.
NAMED: Final = 1_000
_BEYOND: Final = (1 << 63) - 1

Progress = Callable[[int, int], None]  # (ranges checked, ranges in all)


@dataclass(frozen=True)
class Scope:
    """What is looked at.

    Attributes:
        partitions: How many the raw topic has.
        only: Those to check; None checks all, and looks for rows of others.
        settled: Nothing should be on its way any more: what is pending is then a problem.
        chain: Look at ClickHouse's copy of the ledger too.
        anchors: Heads that were put away outside.
        since: By partition, where the last check ended; what came before is not looked at again.
    """

    partitions: int
    only: Sequence[int] | None = None
    settled: bool = False
    chain: bool = False
    anchors: Sequence[Anchored] = ()
    since: Mapping[int, Checkpoint] | None = None


def verify(
    sources: Sources, trust: Trust, scope: Scope, progress: Progress | None = None
) -> tuple[Report, dict[int, Checkpoint]]:
    """Check every partition in scope; returns the report, and where a next check may begin.

    Args:
        sources: Where to read.
        trust: The keys of seals and signatures.
        scope: What to look at.
        progress: Called with (ranges checked, ranges in all).
    """
    # Before the ledgers: a row that stands now has been announced by now.
    groups = {table.name: sources.groups(table) for table in CHAINED.values()}
    numbers = range(scope.partitions) if scope.only is None else scope.only
    audits = [_Audit(sources, trust, scope, number) for number in numbers]
    total = sum(audit.fold() for audit in audits)
    checked = 0
    for audit in audits:
        audit.check_ends(groups)
        for ranges in audit.check_rows():
            checked += ranges
            if progress is not None:
                progress(checked, total)
        audit.check_repricings(groups[REPRICINGS.name])
        audit.check_held()
    problems = [problem for audit in audits for problem in audit.problems]
    if scope.only is None:
        problems += _strangers(sources, groups, scope.partitions)
    report = Report(tuple(audit.report for audit in audits), tuple(problems))
    return report, {audit.partition: audit.chain.checkpoint(audit.next_of_epoch) for audit in audits}


def _strangers(sources: Sources, groups: Mapping[str, Sequence[Group]], partitions: int) -> Iterator[Problem]:
    """Rows of partitions that the raw topic does not have."""
    for name, found in groups.items():
        for group in found:
            if group.partition >= partitions:
                for row in islice(sources.rows(CHAINED[name], group.epoch, group.partition, 0, _BEYOND), NAMED):
                    position = f"{group.epoch}/{group.partition}/{row[OFFSET]}"
                    why = f"the raw topic has no partition {group.partition}"
                    yield Problem("row_unexpected", group.partition, name, position, why)


class _Audit:
    """One partition's check."""

    def __init__(self, sources: Sources, trust: Trust, scope: Scope, partition: int) -> None:
        self.sources = sources
        self.trust = trust
        self.scope = scope
        self.partition = partition
        self.report = PartitionReport(partition)
        self.problems: list[Problem] = []
        self.since = (scope.since or {}).get(partition)
        self.next_of_epoch = dict(self.since.next_of_epoch) if self.since else {}
        self.lawful = Lawful()
        self.kept = Kept(partition)
        self.repricings: list[Landed] = []
        start = self.since.end if self.since else 0
        self.chain = Chain(
            partition,
            trust,
            self.problem,
            sources.copied(partition, start) if scope.chain else None,
            [each for each in scope.anchors if each.partition == partition],
            self.since,
        )

    def problem(self, kind: ProblemKind, why: str, table: str = "", position: str = "") -> None:
        self.problems.append(Problem(kind, self.partition, table, position, why))

    def at(self, epoch: int, first: int, last: int | None = None) -> str:
        """A position, or a stretch of them."""
        start = f"{epoch}/{self.partition}/{first}"
        return start if last is None or last == first else f"{start} to {last}"

    # ---- ledger

    def fold(self) -> int:
        """Fold the ledger and hold it to what speaks of it; returns the number of finished ranges."""
        report, chain = self.report, self.chain
        for offset, value in self.sources.ledger(self.partition, chain.follower.end):
            before = chain.follower.state
            verdict = chain.fold(offset, value)
            if not verdict.accepted or verdict.entry is None:
                report.rejected += 1
                continue
            self._take(offset, verdict.entry)
            if (one := landed(offset, before, verdict.entry)) is not None:
                self.repricings.append(one)
        chain.end()
        self.state, self.end = chain.follower.state, chain.follower.end
        self.later = Follower(self.partition, self.state, self.end)
        counts: Counter[str] = Counter()
        for _, intent in self._finished():
            report.ranges += 1
            self.next_of_epoch[intent.epoch] = intent.next
            counts.update(intent.counts)
            report.refused_rows += len(intent.refused)
        report.head, report.accepted = self.state.head, self.state.accepted
        report.epoch, report.next = self.state.epoch, self.state.next
        report.counts = dict(counts)
        report.signed, report.signed_end = chain.signed, chain.signed_end
        report.copied, report.anchored = chain.copied, chain.anchored
        return report.ranges

    def _take(self, offset: int, entry: Entry, *, rows_were_read: bool = False) -> None:
        self.lawful.fold(offset, entry, rows_were_read=rows_were_read)
        self.kept.take(entry)

    def _finished(self) -> Iterator[tuple[int, Intent]]:
        """Finished ranges in order, each with the ledger offset at which it was finished."""
        since = self.since
        follower = Follower(self.partition, since.state, since.end) if since else Follower(self.partition)
        for offset, value in self.sources.ledger(self.partition, follower.end):
            if offset >= self.end:
                return
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
        self._check_log(self.state)
        # Below `reached` rows may stand whose range is not done.
        open_ = self.state.open
        limits = self.next_of_epoch | {self.state.epoch if open_ is None else open_.epoch: self.state.reached}
        for table, found in groups.items():
            for group in found:
                if group.partition != self.partition:
                    continue
                limit = limits.get(group.epoch, 0)
                if group.highest >= limit:
                    why = f"nothing from {self.at(group.epoch, limit)} on was announced"
                    beyond = self.sources.rows(CHAINED[table], group.epoch, self.partition, limit, group.highest + 1)
                    for row in islice(beyond, NAMED):
                        self.problem("row_unexpected", why, table, self.at(group.epoch, row[OFFSET]))
                if group.false_dates:
                    why = f"{group.false_dates} rows have a retention date that is not received_at + retention_days"
                    self.problem("retention_date_changed", why, table)

    def _check_log(self, state: State) -> None:
        report, ends = self.report, self.sources.ends(self.partition)
        if ends is None:
            return
        report.raw_first, report.raw_next = ends.raw_first, ends.raw_next
        report.pending = max(0, ends.raw_next - (state.next if state.epoch == ends.epoch else 0))
        if (state.epoch, state.next) > (ends.epoch, ends.raw_next):
            why = f"the ledger accounts for more than the raw topic ever held ({ends.epoch}/{ends.raw_next})"
            self.problem("mark_beyond_log", why, position=self.at(state.epoch, state.next))
        if ends.calls_first > state.input_next:
            why = f"llm.calls begins at {ends.calls_first}, but {state.input_next} was not read yet"
            self.problem("input_lost", why, position=self.at(state.epoch, state.next))
        if self.scope.settled and (state.open is not None or report.pending):
            why = f"{report.pending} raw records are not accounted for" if report.pending else "a range is not done"
            self.problem("unsettled", why, position=self.at(state.epoch, state.next))

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
        self.lawful.settle()
        epoch, first = window[0][1].epoch, window[0][1].first
        ends = [intent.next for _, intent in window]
        for table in TABLES.values():
            found = self._read(table, epoch, first, ends)
            odd = [
                (at, intent, standing)
                for (at, intent), standing in zip(window, found, strict=True)
                if not self._is_as_announced(table, at, intent, standing)
            ]
            if odd:
                self._catch_up()
            for at, intent, standing in odd:
                self._judge(table, at, intent, standing)
            count = sum(len(each.leaves) for standing in found for each in standing.values())
            self.report.rows[table.name] = self.report.rows.get(table.name, 0) + count

    def _read(self, table: Table, epoch: int, first: int, ends: Sequence[int]) -> list[dict[Cell, _Standing]]:
        """What stands in a table of consecutive ranges, each given by its end."""
        found: list[dict[Cell, _Standing]] = [{} for _ in ends]
        cells: dict[tuple[int, int], Cell] = {}
        key, has_text, width = self.trust.seal_key, table.has_text, table.leaf_width
        number, end = 0, ends[0]
        for row in self.sources.rows(table, epoch, self.partition, first, ends[-1]):
            offset = row[OFFSET]
            while offset >= end:
                number += 1
                end = ends[number]
            life = (row[RETENTION_DAYS], row[RECEIVED_AT] // DAY_MS)
            cell = cells.get(life)
            if cell is None:
                cell = cells[life] = Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT]))
            standing = found[number].get(cell)
            if standing is None:
                standing = found[number][cell] = _Standing({}, set())
            mark = leaf(table, row)
            is_sealed = seal(key, mark) == row[-1]
            if offset in standing.leaves:
                self.problem("row_twice", "the position stands more than once", table.name, self.at(epoch, offset))
                if not is_sealed:
                    continue  # the other one is judged
            standing.leaves[offset] = mark
            (standing.unsealed.discard if is_sealed else standing.unsealed.add)(offset)
            if has_text and commitment(*row[width:-1]) != row[width - 1]:
                why = "text or salt do not fit the commitment"
                self.problem("text_changed", why, table.name, self.at(epoch, offset))
        return found

    def _is_as_announced(self, table: Table, at: int, intent: Intent, found: Mapping[Cell, _Standing]) -> bool:
        """Whether all rows of a range stand as they were put there. The way of almost all ranges."""
        parts = [part for part in intent.parts if part.cell.table == table.name]
        return len(parts) == len(found) and all(
            (standing := found.get(part.cell)) is not None
            and is_whole(part, standing.leaves, standing.unsealed)
            and not self.lawful.concerns(part.cell, at)
            for part in parts
        )

    def _judge(self, table: Table, at: int, intent: Intent, found: Mapping[Cell, _Standing]) -> None:
        """Name what is wrong with one range in one table; some of it may be lawful."""
        by = f"range {intent.range}"
        expected = {part.cell: part for part in intent.parts if part.cell.table == table.name}
        for cell, standing in found.items():
            if cell not in expected:
                for offset in standing.leaves:
                    why = f"no part of {by} goes into {cell}"
                    self.problem("row_unexpected", why, table.name, self.at(intent.epoch, offset))
        held = Held()
        for cell, part in expected.items():
            told = Announced(part, by, intent.epoch, intent.first, at)
            standing = found.get(cell, _NOTHING)
            for finding in judge(told, standing.leaves, standing.unsealed, self.lawful, held):
                stretch = (intent.first, intent.next - 1) if finding.offset is None else (finding.offset,)
                self.problem(finding.kind, finding.why, table.name, self.at(intent.epoch, *stretch))
        self._count(held)

    def _catch_up(self) -> None:
        """Ask the ledger again: rows that were just read may show what was announced since."""
        for offset, value in self.sources.ledger(self.partition, self.later.end):
            verdict = self.later.fold(offset, value)
            if verdict.accepted and verdict.entry is not None:
                self._take(offset, verdict.entry, rows_were_read=True)

    # ---- repricings

    def check_repricings(self, groups: Sequence[Group]) -> None:
        """Hold what calls cost by later price books to its announcements."""
        name, state = REPRICINGS.name, self.state

        def read(epoch: int, first: int, next: int) -> Iterable[Row]:
            return self.sources.rows(REPRICINGS, epoch, self.partition, first, next)

        self.lawful.settle()
        told = check(read, self.trust.seal_key, self.lawful, self.repricings, self._catch_up)
        for epoch, finding in told.findings:
            where = self.at(epoch, finding.offset) if finding.offset is not None else ""
            self.problem(finding.kind, finding.why, name, where)
        self.report.rows[name] = sum(told.rows.values())
        self.report.expired_rows += told.held.dropped
        known = {one.repricing.number: one.repricing for one in self.repricings}
        if state.repricing is not None:
            known[state.repricing.number] = state.repricing
        since = self.since.state.repricings if self.since else 0
        for group in groups:
            # One that is open may stand or not.
            if group.partition != self.partition or (not since and group.rows == told.rows[group.epoch]):
                continue
            odd = list(islice(strangers(group.epoch, read(group.epoch, 0, _BEYOND), known, since), NAMED))
            self._catch_up()
            for number, offset in odd:
                if not state.repricings < number <= self.later.state.repricings:
                    why = f"repricing {number} did not put it there"
                    self.problem("row_unexpected", why, name, self.at(group.epoch, offset))

    # ---- holds

    def check_held(self) -> None:
        """Hold the rows that outlive their cell under a legal hold to the ledger."""
        for found in self.kept.check(self.sources, self.trust.seal_key, self.lawful):
            self.problem(found.kind, found.why, found.table, self.at(found.epoch, found.offset))
        self.report.held_rows = self.kept.rows

    def _count(self, held: Held) -> None:
        self.report.expired_rows += held.dropped
        self.report.erased_rows += held.erased
        self.report.changed_rows += held.changed


@dataclass(slots=True)
class _Standing:
    """What stands of one part: the leaf of each row by offset, and which seals are false."""

    leaves: dict[int, bytes]
    unsealed: set[int]


_NOTHING: Final = _Standing({}, set())
