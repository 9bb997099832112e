"""`tokentrail raw`: how much raw text is still there, and the end of what nobody needs any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.settings import Settings
    from pipeline.transport.janitor import Outdated

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show how much raw text is still there, and delete what nobody needs any more.",
    epilog="Example: tokentrail raw show",
)

HOUR_MS: Final = 3_600_000
_UNITS: Final[dict[str, Unit]] = {"partition": "count", "records": "count", "may_go": "count", "oldest_ms": "ms"}

HoursOption = Annotated[
    float | None,
    typer.Option(min=0, help="Hours after row and fact (default: TOKENTRAIL_RAW_HOURS)."),
]


@app.command(epilog="Example: tokentrail raw show --json")
def show(hours: HoursOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say by partition how many raw records are there, how old the oldest is, and how many of them may go."""
    from pipeline.cli.output import table, write_json

    settings = settings_for(data)
    kept = settings.raw_hours if hours is None else hours
    rows = _described(settings, _outdated(settings, kept))
    if as_json:
        write_json({"kept_hours": kept, "partitions": rows})
        return
    table(list(rows[0]), [list(row.values()) for row in rows], _UNITS)
    print(f"A raw record is deleted {kept:g} h after the later of its row and its fact, and after 7 days in any case.")


@app.command(epilog="Example: tokentrail raw clean --dry-run")
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    hours: HoursOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete raw records whose row and fact exist for long enough. The process `keep` does so by itself."""
    from pipeline.cli.output import write_json
    from pipeline.transport.janitor import delete

    settings = settings_for(data)
    found = _outdated(settings, settings.raw_hours if hours is None else hours)
    count = sum(each.records for each in found)
    if not dry_run:
        count = delete(settings, found)
    if as_json:
        partitions = {str(each.partition): [each.first, each.next] for each in found if each.records}
        write_json({"dry_run": dry_run, "deleted": count, "partitions": partitions})
        return
    print(f"{'Would delete' if dry_run else 'Deleted'} {count:,} raw records (ticks too).")


def _outdated(settings: Settings, hours: float) -> list[Outdated]:
    from pipeline.storage.check import partition_count
    from pipeline.transport.janitor import outdated

    return outdated(settings, partition_count(settings), int(time.time() * 1000 - hours * HOUR_MS))


def _described(settings: Settings, found: list[Outdated]) -> list[dict[str, Any]]:
    from pipeline.transport.janitor import SOURCE
    from pipeline.transport.tail import Reader

    now_ms = time.time_ns() // 1_000_000
    rows = []
    with Reader(settings) as reader:
        for each in found:
            oldest = next(iter(reader.read(SOURCE, each.partition, each.first, each.end)), None)
            rows.append(
                {
                    "partition": each.partition,
                    "records": each.end - each.first,
                    "from": each.first,
                    "to": each.end - 1 if each.end > each.first else None,
                    "oldest_ms": now_ms - oldest.timestamp if oldest else None,
                    "may_go": each.records,
                }
            )
    return rows
