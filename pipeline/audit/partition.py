"""One partition's reconciliation: its ledger, the ends of its logs, its rows window by window, and what stands beside.

Reads through ports, holds a bounded window of rows, changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Final

from pipeline.audit.chain import Chain
from pipeline.audit.kept import Kept
from pipeline.audit.lawful import Lawful
from pipeline.audit.ledger import Follower
from pipeline.audit.parts import Announced, Held, judge
from pipeline.audit.report import PartitionReport, Problem, ProblemKind
from pipeline.audit.repriced import check, strangers
from pipeline.audit.repricing import Landed, landed
from pipeline.audit.rows import Row
from pipeline.audit.sources import Anchored, Checkpoint, Group, Sources, Trust
from pipeline.audit.standing import Standing, is_as_announced, sort
from pipeline.audit.tables import CHAINED, OFFSET, REPRICINGS, TABLES, Table
from schemas.ledger import Cell, Entry, Intent, State

# Rows looked at together: bounds memory and makes one query of many small ranges.
WINDOW_ROWS: Final = 100_000
WINDOW_RANGES: Final = 5_000
# Rows that nobody announced are named one by one up to so many in a table and partition.
NAMED: Final = 1_000
BEYOND: Final = (1 << 63) - 1


@dataclass(frozen=True)
class Scope:
    """What is looked at.

    Attributes:
        partitions: How many the raw topic has.
        settled: Nothing should be on its way any more: what is pending is then a problem.
        chain: Look at ClickHouse's copy of the ledger too.
        anchors: Heads that were put away outside.
        since: By partition, where the last check ended; what came before is not looked at again.
    """

    partitions: int
    settled: bool = False
    chain: bool = False
    anchors: Sequence[Anchored] = ()
    since: Mapping[int, Checkpoint] | None = None


class Audit:
    """One partition's check: `fold`, then `check_ends`, `check_rows`, `check_repricings`, `check_held`."""

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

    def problem(self, kind: ProblemKind, why: str, table: str = "", position: str = "") -> None:
        """Note a problem of this partition."""
        self.problems.append(Problem(kind, self.partition, table, position, why))

    def at(self, epoch: int, first: int, last: int | None = None) -> str:
        """A position, or a stretch of them."""
        start = f"{epoch}/{self.partition}/{first}"
        return start if last is None or last == first else f"{start} to {last}"

    # ---- ledger

    def fold(self) -> int:
        """Fold the ledger and hold it to what speaks of it; returns the number of finished ranges."""
        report, scope, since = self.report, self.scope, self.since
        copied = self.sources.copied(self.partition, since.end if since else 0) if scope.chain else None
        anchored = [each for each in scope.anchors if each.partition == self.partition]
        self.chain = chain = Chain(self.partition, self.trust, self.problem, copied, anchored, since)
        for offset, value in self._records(since):
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

    def _records(self, since: Checkpoint | None) -> Iterator[tuple[int, bytes]]:
        """The records to fold; the one that the last check ended with has to be there and the same."""
        begin = since.end if since else 0
        is_same = begin == 0
        for offset, value in self.sources.ledger(self.partition, max(0, begin - 1)):
            if offset >= begin:
                yield offset, value
            elif since is not None:
                is_same = sha256(value).hexdigest() == since.last
        if not is_same:
            why = "the record that the last check ended with is gone, or another"
            self.problem("ledger_cut", why, position=f"ledger {self.partition}/{begin - 1}")

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
            rows = self.sources.rows(table, epoch, self.partition, first, ends[-1])
            found = sort(table, rows, ends, self.trust.seal_key, self._of(table, epoch))
            odd = [
                (at, intent, standing)
                for (at, intent), standing in zip(window, found, strict=True)
                if not is_as_announced(table, at, intent, standing, self.lawful)
            ]
            if odd:
                self._catch_up()
            for at, intent, standing in odd:
                self._judge(table, at, intent, standing)
            count = sum(len(each.leaves) for standing in found for each in standing.values())
            self.report.rows[table.name] = self.report.rows.get(table.name, 0) + count

    def _of(self, table: Table, epoch: int) -> Callable[[ProblemKind, str, int], None]:
        return lambda kind, why, offset: self.problem(kind, why, table.name, self.at(epoch, offset))

    def _judge(self, table: Table, at: int, intent: Intent, found: Mapping[Cell, Standing]) -> None:
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
            standing = found.get(cell) or Standing()
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
            odd = list(islice(strangers(group.epoch, read(group.epoch, 0, BEYOND), known, since), NAMED))
            self._catch_up()
            for number, offset in odd:
                if not state.repricings < number <= self.later.state.repricings:
                    why = f"repricing {number} did not put it there"
                    self.problem("row_unexpected", why, name, self.at(group.epoch, offset))

    # ---- holds

    def check_held(self) -> None:
        """Hold rows that outlive their cell under a legal hold to the ledger, if that was read from its beginning."""
        if self.since is not None:
            return
        for found in self.kept.check(self.sources, self.trust.seal_key, self.lawful):
            self.problem(found.kind, found.why, found.table, self.at(found.epoch, found.offset))
        self.report.held_rows = self.kept.rows

    def _count(self, held: Held) -> None:
        self.report.expired_rows += held.dropped
        self.report.erased_rows += held.erased
        self.report.changed_rows += held.changed
