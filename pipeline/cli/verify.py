"""`tokentrail verify`: the raw log's ends, the ledger and the rows must agree. Changes nothing.

With `--chain` all that speaks of the ledger too: its copy in ClickHouse, its signed heads, and anchors put away
outside.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.audit.report import PartitionReport, Problem, Report
    from pipeline.audit.sources import Anchored
    from pipeline.cli.formats import Unit
    from pipeline.settings import Settings
    from pipeline.storage.checkpoints import Verified

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PROBLEMS_SHOWN: Final = 20
_UNITS: Final[dict[str, Unit]] = dict.fromkeys(
    ("partition", "ranges", "expired", "erased", "refused", "on_their_way", "signed", "copied"), "count"
)


@app.command(epilog="Example: tokentrail verify --chain --anchors /mnt/elsewhere/anchors")
def verify(
    chain: Annotated[
        bool, typer.Option("--chain", help="Also the ledger's copy in ClickHouse, its signed heads and anchors.")
    ] = False,
    anchors: Annotated[str, typer.Option(metavar="DIR|URL", help="With --chain: where anchors were put away.")] = "",
    from_clickhouse: Annotated[
        bool, typer.Option("--from-clickhouse", help="--chain without Kafka: the ledger is its copy in ClickHouse.")
    ] = False,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Only what came since the last check with this option was successful.")
    ] = False,
    settled: Annotated[
        bool, typer.Option("--settled", help="Wait for what is in the raw topic now; what is then not a row fails.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait with --settled.")] = 60.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reconcile Kafka, ledger and rows, each row by its seal, each range by the root over it; fails on a difference."""
    from pipeline.cli.output import write_json

    if from_clickhouse and (settled or incremental):
        raise UsageError("--from-clickhouse asks ClickHouse only, for all there is: leave --settled and --incremental.")
    chain = chain or from_clickhouse
    if anchors and not chain:
        raise UsageError("--anchors goes with --chain or --from-clickhouse.")
    settings = settings_for(data)
    since = _since(settings) if incremental else None
    report, unsettled = run(
        settings,
        settled_within_s=timeout if settled else None,
        chain=chain,
        anchors=anchors,
        from_clickhouse=from_clickhouse,
        since=since,
        remember=incremental,
    )
    unseen = _unseen(since, anchors) if incremental else []
    if as_json:
        # What is pending in `unsettled` was there when the command began; ticks are not counted.
        ok = report.ok and not unsettled
        write_json({**report.as_dict(), "ok": ok, "unsettled": unsettled, "not_looked_at": unseen})
    else:
        _print(report, unsettled, chain, unseen)
    if unsettled or not report.ok:
        raise typer.Exit(1)


def run(
    settings: Settings,
    *,
    settled_within_s: float | None = None,
    chain: bool = False,
    anchors: str = "",
    from_clickhouse: bool = False,
    since: Verified | None = None,
    remember: bool = False,
) -> tuple[Report, dict[int, int]]:
    """(the report, by partition what did not become rows in time) of an installation, with progress on stderr.

    Args:
        settings: The installation; its ClickHouse user must be able to read text, which the hashes cover.
        settled_within_s: Wait so long for what is in the raw topic now; None does not wait.
        chain: Look at the ledger's copy too.
        anchors: Where anchors were put away; empty looks at none.
        from_clickhouse: Do not ask Kafka.
        since: Where the last check ended; None looks at everything.
        remember: Keep where this one ended, if nothing is wrong.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
        UsageError: The key root is not to be had, or there are no anchors.
    """
    from pipeline.audit.partition import Scope
    from pipeline.audit.report import Report
    from pipeline.cli.progress import Progress
    from pipeline.keys import load
    from pipeline.storage import checkpoints
    from pipeline.storage.check import check

    unsettled = {} if settled_within_s is None else _settle(settings, settled_within_s)
    anchored, forged = _anchored(settings, anchors) if anchors else ([], [])
    scope = Scope(0, chain=chain, anchors=anchored, since=None if since is None else since.partitions)
    begun_ms = time.time_ns() // 1_000_000
    with Progress("verify") as progress:
        report, reached = check(
            settings,
            scope,
            from_clickhouse=from_clickhouse,
            progress=lambda done, total: progress.update(done, f"{done:,} of {total:,} ranges", total),
        )
    report = Report(report.partitions, (*forged, *report.problems))
    if remember and report.ok and not unsettled:
        checkpoints.save(settings, load(settings), begun_ms, reached)
    return report, unsettled


def _settle(settings: Settings, within_s: float) -> dict[int, int]:
    """By partition what did not become rows in time."""
    from pipeline.cli.progress import Progress
    from pipeline.cli.settle import raw_ends, wait_settled
    from pipeline.storage.check import partition_count

    with Progress("settling") as waiting:
        return wait_settled(
            settings,
            raw_ends(settings, partition_count(settings)),
            within_s,
            lambda left: waiting.update(0, f"{left:,} positions on their way"),
        )


def _since(settings: Settings) -> Verified | None:
    from pipeline.keys import load
    from pipeline.storage import checkpoints

    return checkpoints.load(settings, load(settings))


def _anchored(settings: Settings, where: str) -> tuple[list[Anchored], list[Problem]]:
    """(heads of anchors, anchors that this installation's key did not sign)."""
    from pipeline.audit import heads
    from pipeline.audit.anchors import anchored, is_signed
    from pipeline.audit.report import Problem
    from pipeline.keys import load
    from pipeline.storage import anchors

    public = heads.public_key(load(settings))
    found: list[Anchored] = []
    forged = []
    documents = anchors.get(where)
    if not documents:
        raise UsageError(f"There are no anchors in {where}.")
    for name, anchor in documents:
        if anchor is None or not is_signed(public, anchor):
            why = f"{name} is not an anchor that the installation's key signed"
            forged.append(Problem("anchor_forged", -1, "", name, why))
        else:
            found += anchored(name, anchor)
    return found, forged


def _unseen(since: Verified | None, anchors: str) -> list[str]:
    """What an incremental check does not look at, in sentences."""
    if since is None:
        return []
    said = [
        f"rows of ranges that were finished before {iso_ms(since.at_ms)}: a change, removal or addition among them "
        "since then",
        "ledger records and rows of their copy from before then, and what the ends of cells say of them",
        "rows under a legal hold",
    ]
    if anchors:
        said.append("anchored heads from before then")
    return said


def _print(report: Report, unsettled: dict[int, int], chain: bool, unseen: list[str]) -> None:
    from pipeline.cli.output import table

    wrong = {problem.partition for problem in report.problems}
    tables = sorted({name for partition in report.partitions for name, rows in partition.rows.items() if rows})
    columns = ["partition", "raw_log", "ledger_mark", "ranges", *tables, "expired", "erased", "refused", "on_their_way"]
    columns += [*(["signed", "copied"] if chain else []), "verdict"]
    rows = [_line(partition, tables, partition.partition in wrong, unsettled, chain) for partition in report.partitions]
    table(columns, rows, {**_UNITS, **dict.fromkeys(tables, "count")})
    for problem in report.problems[:PROBLEMS_SHOWN]:
        where = " ".join(part for part in (problem.table, problem.position) if part)
        print(f"{problem.kind}: {where or f'partition {problem.partition}'}: {problem.why}.")
    more = len(report.problems) - PROBLEMS_SHOWN
    if more > 0:
        print(f"... and {more:,} more; --json gives them all.")
    if report.problems:
        said = f"Kafka, ledger and rows DIFFER: {_problems(len(report.problems))} in {report.rows:,} rows."
    else:
        said = f"Kafka, ledger and rows agree: {report.rows:,} rows are what the ledger says."
    if chain:
        said += _proof(report)
    if unsettled:
        said += f" {sum(unsettled.values()):,} positions did not become rows in time."
    elif report.pending:
        said += f" {report.pending:,} positions (ticks too) are on their way."
    print(said)
    for each in unseen:
        print(f"Not looked at: {each}.")
    sys.stdout.flush()


def _proof(report: Report) -> str:
    """How far signatures and anchors reach."""
    signed = sum(partition.signed for partition in report.partitions)
    anchored = sum(partition.anchored for partition in report.partitions)
    if not signed:
        return " No head is signed yet: `tokentrail worker --stage keep` signs them."
    return f" {signed:,} signed and {anchored:,} anchored heads are true of it."


def _line(
    partition: PartitionReport, tables: list[str], is_wrong: bool, unsettled: dict[int, int], chain: bool
) -> list[Any]:
    verdict = "DIFFERS" if is_wrong else "late" if partition.partition in unsettled else "agrees"
    return [
        partition.partition,
        f"{partition.raw_first} to {partition.raw_next - 1}" if partition.raw_next > partition.raw_first else "empty",
        f"{partition.epoch}/{partition.partition}/{partition.next}",
        partition.ranges,
        *(partition.rows.get(name, 0) for name in tables),
        partition.expired_rows,
        partition.erased_rows,
        partition.refused_rows,
        partition.pending,
        *([partition.signed, partition.copied] if chain else []),
        verdict,
    ]


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{count:,} problems"
