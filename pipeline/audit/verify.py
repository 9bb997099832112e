"""Reconcile what must agree: the raw log's ends, the ledger with its heads and copies, the rows with their seals.

Reads through ports, holds a bounded window of rows, changes nothing. What is unfinished is lag, not an error, unless
the caller says that all should be settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from pipeline.audit.partition import BEYOND, NAMED, Audit, Scope
from pipeline.audit.report import Problem, Report
from pipeline.audit.sources import Checkpoint, Group, Sources, Trust
from pipeline.audit.tables import CHAINED, OFFSET, REPRICINGS

Progress = Callable[[int, int], None]  # (ranges checked, ranges in all)


def verify(
    sources: Sources, trust: Trust, scope: Scope, progress: Progress | None = None
) -> tuple[Report, dict[int, Checkpoint]]:
    """Check every partition; returns the report, and where a next check may begin.

    Args:
        sources: Where to read.
        trust: The keys of seals and signatures.
        scope: What to look at.
        progress: Called with (ranges checked, ranges in all).
    """
    # Before the ledgers: a row that stands now has been announced by now.
    groups = {table.name: sources.groups(table) for table in CHAINED.values()}
    audits = [Audit(sources, trust, scope, number) for number in range(scope.partitions)]
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
    problems += _strangers(sources, groups, scope.partitions)
    report = Report(tuple(audit.report for audit in audits), tuple(problems))
    return report, {audit.partition: audit.chain.checkpoint(audit.next_of_epoch) for audit in audits}


def _strangers(sources: Sources, groups: Mapping[str, Sequence[Group]], partitions: int) -> Iterator[Problem]:
    """Rows of partitions that the raw topic does not have."""
    for name, found in groups.items():
        for group in found:
            if group.partition >= partitions:
                for row in islice(sources.rows(CHAINED[name], group.epoch, group.partition, 0, BEYOND), NAMED):
                    position = f"{group.epoch}/{group.partition}/{row[OFFSET]}"
                    why = f"the raw topic has no partition {group.partition}"
                    yield Problem("row_unexpected", group.partition, name, position, why)
