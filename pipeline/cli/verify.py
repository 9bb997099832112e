"""`tokentrail verify`: the raw log's ends, the ledger and the rows must agree. Changes nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for

if TYPE_CHECKING:
    from pipeline.audit.report import PartitionReport, Report
    from pipeline.cli.formats import Unit
    from pipeline.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

PROBLEMS_SHOWN: Final = 20
_UNITS: Final[dict[str, Unit]] = {
    "partition": "count", "ranges": "count", "expired": "count", "refused": "count", "on_their_way": "count",
}  # fmt: skip


@app.command(epilog="Example: tokentrail verify --settled")
def verify(
    settled: Annotated[
        bool, typer.Option("--settled", help="Wait for what is in the raw topic now; what is then not a row fails.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait with --settled.")] = 60.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reconcile Kafka, ledger and rows, each range by the root over its rows; fails on a difference."""
    from pipeline.cli.output import write_json

    settings = settings_for(data)
    report, unsettled = run(settings, settled_within_s=timeout if settled else None)
    if as_json:
        # What is pending in `unsettled` was there when the command began; ticks are not counted.
        write_json({**report.as_dict(), "ok": report.ok and not unsettled, "unsettled": unsettled})
    else:
        _print(report, unsettled)
    if unsettled or not report.ok:
        raise typer.Exit(1)


def run(settings: Settings, *, settled_within_s: float | None = None) -> tuple[Report, dict[int, int]]:
    """(the report, by partition what did not become rows in time) of an installation, with progress on stderr.

    Args:
        settings: The installation; its ClickHouse user must be able to read text, which the hashes cover.
        settled_within_s: Wait so long for what is in the raw topic now; None does not wait.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
        UsageError: The key root is not to be had.
    """
    from pipeline.cli.progress import Progress
    from pipeline.cli.settle import raw_ends, wait_settled
    from pipeline.storage.check import partition_count, verify_installation

    unsettled: dict[int, int] = {}
    if settled_within_s is not None:
        with Progress("settling") as waiting:
            unsettled = wait_settled(
                settings,
                raw_ends(settings, partition_count(settings)),
                settled_within_s,
                lambda left: waiting.update(0, f"{left:,} positions on their way"),
            )
    with Progress("verify") as progress:
        report = verify_installation(
            settings,
            progress=lambda done, total: progress.update(done, f"{done:,} of {total:,} ranges", total),
        )
    return report, unsettled


def _print(report: Report, unsettled: dict[int, int]) -> None:
    from pipeline.cli.output import table

    wrong = {problem.partition for problem in report.problems}
    tables = sorted({name for partition in report.partitions for name, rows in partition.rows.items() if rows})
    columns = [
        "partition",
        "raw_log",
        "ledger_mark",
        "ranges",
        *tables,
        "expired",
        "refused",
        "on_their_way",
        "verdict",
    ]
    rows = [_line(partition, tables, partition.partition in wrong, unsettled) for partition in report.partitions]
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
    if unsettled:
        said += f" {sum(unsettled.values()):,} positions did not become rows in time."
    elif report.pending:
        said += f" {report.pending:,} positions (ticks too) are on their way."
    print(said)
    sys.stdout.flush()


def _line(partition: PartitionReport, tables: list[str], is_wrong: bool, unsettled: dict[int, int]) -> list[Any]:
    verdict = "DIFFERS" if is_wrong else "late" if partition.partition in unsettled else "agrees"
    return [
        partition.partition,
        f"{partition.raw_first} to {partition.raw_next - 1}" if partition.raw_next > partition.raw_first else "empty",
        f"{partition.epoch}/{partition.partition}/{partition.next}",
        partition.ranges,
        *(partition.rows.get(name, 0) for name in tables),
        partition.expired_rows,
        partition.refused_rows,
        partition.pending,
        verdict,
    ]


def _problems(count: int) -> str:
    return "1 problem" if count == 1 else f"{count:,} problems"
