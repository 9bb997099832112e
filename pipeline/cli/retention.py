"""`tokentrail retention`: what is kept how long, and the end of what has had its life. The policy itself is a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import duration, iso_ms
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.control.policy import Policy, Rule
    from pipeline.settings import Settings
    from schemas.ledger import Cell

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show what is kept how long, and drop what has expired.",
    epilog="Example: tokentrail retention show",
)

DAY_MS: Final = 86_400_000
_UNITS: Final[dict[str, Unit]] = {"kept_days": "count", "rows": "count"}
_MODES: Final = {
    "full": "redacted text is kept",
    "hash": "of text only length and keyed hash are kept",
    "none": "no text is kept",
}


@dataclass(frozen=True, slots=True)
class Held:
    """One ClickHouse partition: a week of rows that live equally long; times are milliseconds since 1970."""

    cell: Cell
    rows: int
    ends_at_ms: int


@app.command(epilog="Example: tokentrail retention show --json")
def show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say in sentences what the policy in force keeps, and when each stored week of rows is dropped."""
    from pipeline.cli.output import table, write_json
    from pipeline.transport.policies import read_policies

    settings = settings_for(data)
    policies = read_policies(settings)
    now_ms = time.time_ns() // 1_000_000
    if not policies:
        raise UsageError(f"{settings.topic('controls')} holds no policy. Run `tokentrail migrate`.")
    version, policy = policies.at(now_ms)
    said = [f"Policy version {version} is in force.", *sentences(policy)]
    latest = policies.latest()
    if latest is not None and latest[0] != version:
        said.append(f"Version {latest[0]} takes effect within 30 s; rows keep the life they were stored with.")
    found = held(settings)
    if as_json:
        write_json({"policy_version": version, "policy": said[1:], "partitions": [_plain(each) for each in found]})
        return
    print("\n".join(said))
    if found:
        columns = ["table", "kept_days", "week_of", "rows", "dropped_from", "which_is"]
        table(columns, [_row(each, now_ms) for each in found], _UNITS)
    else:
        print("No rows are stored.")


@app.command(epilog="Example: tokentrail retention apply --dry-run")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop every week of rows whose life is over, and say so in the ledger. It cannot be undone."""
    from pipeline.cli.output import write_json

    settings = settings_for(data)
    dropped = run(settings, dry_run=dry_run)
    if as_json:
        write_json({"dry_run": dry_run, "dropped": [_plain(each) for each in dropped]})
        return
    word = "Would drop" if dry_run else "Dropped"
    for each in dropped:
        print(f"{word} {each.cell}: {each.rows:,} rows whose life ended {iso_ms(each.ends_at_ms)[:10]}.")
    if not dropped:
        print("Nothing has expired.")


def run(settings: Settings, *, dry_run: bool = False, now_ms: int | None = None) -> list[Held]:
    """What was dropped, or would be.

    Args:
        settings: The installation; its ClickHouse user must be able to drop partitions.
        dry_run: Change nothing.
        now_ms: The time to go by, milliseconds since 1970; None is ClickHouse's clock.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer, or rows are being put into such a partition just now.
    """
    from pipeline.audit.retention import ends_at_ms, is_over
    from pipeline.cli.progress import Progress
    from pipeline.storage.check import partition_count
    from pipeline.storage.client import connect
    from pipeline.storage.expire import drop_expired

    client = connect(settings, purpose="retention")
    try:
        if dry_run:
            now = client.now_ms() if now_ms is None else now_ms
            return [each for each in held(settings) if is_over(each.cell, now)]
        with Progress("retention") as progress:
            dropped = drop_expired(
                settings,
                client,
                partition_count(settings),
                now_ms=now_ms,
                progress=lambda done, total, what: progress.update(done, what, total),
            )
    finally:
        client.close()
    return [Held(each.cell, each.rows, ends_at_ms(each.cell)) for each in dropped.dropped]


def held(settings: Settings) -> list[Held]:
    """Every stored partition, what goes first first.

    Raises:
        ClickHouseError: The server does not answer.
    """
    from pipeline.audit.retention import ends_at_ms
    from pipeline.storage.client import connect
    from pipeline.storage.expire import cells

    client = connect(settings, purpose="retention")
    try:
        found = cells(client)
    finally:
        client.close()
    return sorted((Held(cell, rows, ends_at_ms(cell)) for cell, rows in found.items()), key=_order)


def sentences(policy: Policy) -> Iterator[str]:
    """A policy in words: what holds for all, then what differs by tenant and by environment."""
    days, text_days, mode = policy.life("", None)
    yield f"Rows without text are kept {_days(days)}; {_text(mode, text_days)}."
    for kind, rules in (("Tenant", policy.tenant), ("Environment", policy.environment)):
        for name in sorted(rules):
            yield f"{kind} {name}: {', '.join(_parts(rules[name]))}."
    if policy.tenant and policy.environment:
        yield "Where both name something, the tenant's word holds."


def _parts(rule: Rule) -> Iterable[str]:
    if rule.metadata_days is not None:
        yield f"rows without text {_days(rule.metadata_days)}"
    if rule.text_days is not None:
        yield f"text {_days(rule.text_days)}" if rule.text_days else "no text is kept"
    if rule.content is not None:
        yield _MODES[rule.content]


def _text(mode: str, days: int) -> str:
    if mode != "full" or not days:
        return _MODES["none" if mode == "full" else mode]
    return f"redacted text is kept {_days(days)}"


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"


def _order(each: Held) -> tuple[int, str]:
    return each.ends_at_ms, each.cell.table


def _row(each: Held, now_ms: int) -> list[Any]:
    left = each.ends_at_ms - now_ms
    when = f"in {duration(left - left % DAY_MS or left)}" if left > 0 else "due: `tokentrail retention apply`"
    cell = each.cell
    return [cell.table, cell.retention_days, cell.week, each.rows, iso_ms(each.ends_at_ms)[:10], when]


def _plain(each: Held) -> Mapping[str, Any]:
    cell = each.cell
    return {
        "table": cell.table,
        "kept_days": cell.retention_days,
        "week_of": cell.week,
        "rows": each.rows,
        "dropped_from": iso_ms(each.ends_at_ms),
    }
