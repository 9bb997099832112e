"""`tokentrail cost`: what calls cost and what is to come, by whatever --by names, beside the budgets."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption
from pipeline.errors import RetryableError, UsageError

if TYPE_CHECKING:
    from pipeline.cli.costs import Range, Spending
    from pipeline.cli.formats import Unit
    from pipeline.cli.outlooks import Line
    from pipeline.cli.reader import Reader
    from pipeline.control.budgets import Limit
    from pipeline.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# Who may read calls and money, and no text.
LOGIN: Final = "finops"
_UNITS: Final[dict[str, Unit]] = {
    "calls": "count", "cost_usd": "money", "share": "share", "input_tokens": "count", "cached_tokens": "count",
    "output_tokens": "count", "reasoning_tokens": "count", "saved_usd": "money", "calls_without_price": "count",
    "spent_usd": "money", "expected_usd": "money", "low_usd": "money", "high_usd": "money", "budget_usd": "money",
}  # fmt: skip


@app.command(
    epilog="\b\nExamples:\n  tokentrail cost --by tenant,feature --since 30d\n"
    "  tokentrail cost --by feature --tenant acme --forecast"
)
def cost(
    by: Annotated[
        str, typer.Option(help="tenant, team, feature, user, model, environment, ...; several by commas.")
    ] = "tenant",
    since: Annotated[str, typer.Option(help="From then on: 24h, 7d, 2026-03-01.")] = "30d",
    until: Annotated[str | None, typer.Option(help="Until then. Default: now.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    with_forecast: Annotated[
        bool, typer.Option("--forecast", help="What today and this month will have cost, beside the budgets.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    user: Annotated[str | None, typer.Option(help=f"ClickHouse user (default on embedded servers: {LOGIN}).")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a heading.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what calls cost: cached and reasoning tokens, what caching spared, and what is to come."""
    from pipeline.cli.costs import Range, dimensions, spendings
    from pipeline.cli.output import form, write
    from pipeline.cli.reader import reader_for
    from pipeline.cli.times import parse_since

    how, dims, now_ms = form(as_json, as_csv), dimensions(by), time.time_ns() // 1_000_000
    when = Range(
        parse_since(since, now_ms),
        parse_since(until, now_ms) if until else now_ms,
        {"tenant": tenant} if tenant else {},
    )
    if when.since_ms >= when.until_ms:
        raise UsageError("--since must be before --until.")
    reader = reader_for(data, user or LOGIN)
    found = spendings(reader, dims, when)
    rows = [_row(one, sum(each.nano_usd for each in found)) for one in found[:limit]]
    if not rows and how == "table":
        print("No calls.", file=sys.stderr)
    columns = (
        *dims, "calls", "cost_usd", "share", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens",
        "saved_usd", "calls_without_price",
    )  # fmt: skip
    if rows or how == "csv":
        write(columns, [[row[name] for name in columns] for row in rows], _UNITS, how)
    if len(found) > limit:
        print(f"Only the first {limit} of {len(found)} rows; more with --limit.", file=sys.stderr)
    if with_forecast:
        _forecast(reader, data, dims, when, now_ms, limit, how)


def _row(one: Spending, total: int) -> dict[str, Any]:
    from pipeline.control.budgets import NANO

    return {
        **one.names,
        "calls": one.calls,
        "cost_usd": one.nano_usd / NANO,
        "share": one.nano_usd / total if total else None,
        "input_tokens": one.input_tokens,
        "cached_tokens": one.cached_tokens,
        "output_tokens": one.output_tokens,
        "reasoning_tokens": one.reasoning_tokens,
        "saved_usd": one.saved_nano_usd / NANO if not one.unsaved else None,
        "calls_without_price": one.without_price,
    }


def _forecast(
    reader: Reader, data: Path | None, dims: tuple[str, ...], when: Range, now_ms: int, most: int, how: Any
) -> None:
    from pipeline.cli.costs import hourly
    from pipeline.cli.outlooks import lines

    hours = hourly(reader, dims, look_back(when.only, now_ms))
    limits, why_not = known_limits(reader.settings, now_ms)
    write_lines(lines(hours, dims, limits, now_ms)[: 2 * most], dims, how)
    if why_not:
        print(why_not, file=sys.stderr)


def look_back(only: dict[str, str] | Any, now_ms: int) -> Range:
    """What a forecast needs to see: five weeks, and the month so far."""
    from pipeline.cli.costs import Range
    from pipeline.control.forecast import DAY_MS, LOOK_BACK, month_start

    return Range(min(month_start(now_ms), (now_ms // DAY_MS - LOOK_BACK) * DAY_MS), now_ms, only)


def known_limits(settings: Settings, now_ms: int) -> tuple[tuple[Limit, ...], str | None]:
    """The budgets, or why they cannot be said: whoever may read money need not be let into Kafka."""
    from pipeline.transport.budgets import read_budgets

    try:
        return read_budgets(settings).at(now_ms), None
    except RetryableError as error:
        return (), f"Budgets are not shown: {error}"


def write_lines(found: list[Line], names: tuple[str, ...], how: Any) -> None:
    """Budgets or forecasts in one of the forms."""
    from pipeline.cli.output import write

    columns = (*names, "period", "spent_usd", "expected_usd", "low_usd", "high_usd", "budget_usd", "state", "basis")
    write(columns, [[one.plain().get(name, "") for name in columns] for one in found], _UNITS, how)
