"""`tokentrail query`: named reports and free SQL, reading only."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.cli.context import DataOption, JsonOption
from pipeline.cli.reports import DIMENSIONS, REPORTS, Report
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.output import Form
    from pipeline.cli.reader import Reader

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SQL: Final = re.compile(r"\s*(\(|select|with|show|describe|desc|explain|exists)\b|\s*\(", re.I)
_ONE: Final = {
    "trace": "Is the user slow or the model slow? Each call of a trace beside others (with --tenant).",
    "call": "One call by its id, with its redacted text where the user may read that.",
}


@app.command(
    epilog="\b\nExamples:\n  tokentrail query cost --by feature --since 7d\n"
    "  tokentrail query trace 4bf92f3577b34da6a3ce929d0e0e4736 --tenant acme\n"
    "  tokentrail query call 0198f5a2-7c1e-7a40-8d0e-3c5b1f0a9e11 --user investigator \\\n"
    '      --reason "ticket 4711, complaint about a wrong answer"\n'
    '  tokentrail query --similar 0198f5a2-7c1e-7a40-8d0e-3c5b1f0a9e11 --user investigator --reason "ticket 4711"\n'
    "  tokentrail query --source handbook.pdf --since 30d\n"
    '  tokentrail query "SELECT model, count() FROM calls GROUP BY model"\n\n'
    "\b\nReports:\n"
    + "\n".join(
        f"  {name:<13}{line}"
        for name, line in {**{name: report.help for name, report in REPORTS.items()}, **_ONE}.items()
    )
)
def query(
    what: Annotated[str | None, typer.Argument(metavar="[NAME|SQL]", help="A report, or SQL that reads.")] = None,
    value: Annotated[str | None, typer.Argument(metavar="[ID]", help="Of `trace` and `call`: which one.")] = None,
    similar: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Answers like this call's, across tenants; needs the right to text."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="DOC", help="Calls that cited a document, by the name that producers send.")
    ] = None,
    by: Annotated[str | None, typer.Option(help=f"Group by one of {', '.join(DIMENSIONS)}.")] = None,
    since: Annotated[
        str | None, typer.Option(help="From then on: 30m, 24h, 7d, 2026-03-01. Default: everything.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many rows; 0 gives all.")] = 100,
    user: Annotated[
        str | None,
        typer.Option(help="ClickHouse user (default on embedded servers: auditor, who may not read text)."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why text is read; kept with who and when. Investigators must say it.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds a query may run.")] = 60.0,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a heading.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask ClickHouse by a report's name or in SQL; nothing can be changed this way."""
    from pipeline.cli.output import form

    how = form(as_json, as_csv)
    if similar is not None or source is not None:
        _alike(what, similar, source, tenant, since, limit, lambda: _reader(data, user, timeout, reason), how)
        return
    if what is None:
        raise UsageError(
            "Say a report, SQL, --similar ID or --source DOC; `tokentrail query --help` lists the reports."
        )
    if value is not None and what not in _ONE:
        raise UsageError(f"{what!r} takes no id; only {' and '.join(_ONE)} do.")
    if what in _ONE:
        _one(what, value, tenant, lambda: _reader(data, user, timeout, reason), how)
        return
    report = REPORTS.get(what)
    if report is None and not _SQL.match(what):
        raise UsageError(f"There is no report {what!r}: there are {', '.join([*REPORTS, *_ONE])}, and SQL that reads.")
    with_parameters = parameters(what, report, by, since, tenant, limit) if report else {}
    _rows(_reader(data, user, timeout, reason), report.sql if report else what, with_parameters, report, limit, how)


def parameters(
    name: str, report: Report, by: str | None, since: str | None, tenant: str | None, limit: int
) -> dict[str, object]:
    """What a report's SQL asks for, out of the options.

    Raises:
        UsageError: `--by` names nothing that it can be grouped by.
    """
    from pipeline.cli.times import parse_since

    if by is not None and report.by is None:
        raise UsageError(f"{name} is not grouped; leave --by out.")
    if by is not None and by not in DIMENSIONS:
        raise UsageError(f"There is no grouping by {by!r}: there are {', '.join(DIMENSIONS)}.")
    found: dict[str, object] = {
        "since_ms": parse_since(since) if since else 0,
        "tenant": tenant or "",
        # One more, to know whether that was all.
        "limit": limit + 1 if limit else 2**63,
    }
    if report.by is not None:
        found["by"] = by or report.by
    return found


def _reader(data: Path | None, user: str | None, timeout_s: float, reason: str | None) -> Reader:
    from pipeline.cli.reader import reader_for

    return reader_for(data, user, timeout_s, reason or "")


def _rows(reader: Reader, sql: str, values: dict[str, object], report: Report | None, limit: int, how: Form) -> None:
    from pipeline.cli.output import write

    answer = reader.ask(sql, values, limit)
    if answer.rows or how != "table":
        write(answer.columns, answer.rows, report.units if report else {}, how)
    else:
        print("No rows.", file=sys.stderr)
    if answer.cut:
        print(f"Only the first {limit} rows; more with --limit.", file=sys.stderr)


def _alike(
    what: str | None,
    similar: str | None,
    source: str | None,
    tenant: str | None,
    since: str | None,
    limit: int,
    open_reader: Callable[[], Reader],
    how: Form,
) -> None:
    from pipeline.cli.alike import show_citing, show_similar

    if what is not None or (similar is not None and source is not None):
        raise UsageError("--similar and --source stand alone: say one of them, and no report.")
    reader = open_reader()
    if similar is not None:
        found = show_similar(reader, similar, tenant, tenant, since, limit, how)
    else:
        found = show_citing(reader, source or "", tenant, since, limit, how)
    if not found:
        raise typer.Exit(1)


def _one(what: str, value: str | None, tenant: str | None, open_reader: Callable[[], Reader], how: Form) -> None:
    if value is None:
        raise UsageError(f"Say which: `tokentrail query {what} ID`.")
    if how == "csv":
        raise UsageError(f"{what} has no CSV form; say --json.")
    reader = open_reader()
    if what == "call":
        from pipeline.cli.one_call import show_call

        found = show_call(reader, value, tenant, how)
    else:
        from pipeline.cli.one_trace import show_trace

        if tenant is None:
            raise UsageError("A trace belongs to a tenant: say --tenant.")
        found = show_trace(reader, value, tenant, how)
    if not found:
        raise typer.Exit(1)
