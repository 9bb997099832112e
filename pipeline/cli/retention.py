"""`tokentrail retention`: what is kept how long, the end of what has had its life, and the proof.

The policy itself is a file; `tokentrail migrate` publishes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.keeping import Held, held, look, policies_of, run
from pipeline.cli.times import duration, iso_ms

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit
    from pipeline.storage.ages import Overdue

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Show what is kept how long, drop what has expired, and prove that nothing is older than it may be.",
    epilog="Example: tokentrail retention show",
)

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
_UNITS: Final[dict[str, Unit]] = {"kept_days": "count", "rows": "count"}
_CHECK_UNITS: Final[dict[str, Unit]] = {"rows": "count", "oldest_days": "count", "policy_days": "count"}
_WRONG: Final = {
    "too_old_by_stamp": "their life is over. Does `keep` run? Run `tokentrail retention apply`",
    "too_old_by_policy": "the policy keeps them no longer. Run `tokentrail retention apply`",
    "released_but_held": "no hold covers them any more. Run `tokentrail retention apply`",
    "no_engine_ttl": "the engine's own expiry does not stand behind it. Set the TTL of the migration again",
}


@app.command(epilog="Example: tokentrail retention show --json")
def show(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Say in sentences what is kept, how long, what for and who sees it; the holds; and when each stored week goes."""
    from pipeline.cli.output import table, write_json
    from pipeline.cli.retention_words import hold_sentence, sentences
    from pipeline.cli.sight import sights
    from pipeline.keys import load
    from pipeline.transport.policies import read_holds

    settings = settings_for(data)
    policies, now_ms = policies_of(settings), time.time_ns() // 1_000_000
    version, policy = policies.at(now_ms)
    found = held(settings)
    said = [f"Policy version {version} is in force.", *sentences(policy, sights())]
    latest = policies.latest()
    if latest is not None and latest[0] != version:
        said.append(f"Version {latest[0]} takes effect within 30 s.")
    holds = [hold_sentence(hold) for hold in read_holds(settings, load(settings)).in_force]
    if as_json:
        partitions = [_plain(each) for each in found]
        write_json({"policy_version": version, "policy": said[1:], "holds": holds, "partitions": partitions})
        return
    print("\n".join([*said, *(holds or ["No hold is in force."])]))
    if found:
        columns = ["table", "kept_days", "week_of", "rows", "dropped_from", "which_is"]
        table(columns, [_row(each, now_ms) for each in found], _UNITS)
    else:
        print("No rows are stored.")


@app.command(epilog="Example: tokentrail retention apply --dry-run")
def apply(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Drop every week of rows whose life is over by stamp or by policy, and what of others the policy keeps no longer.

    Rows under a hold stay; those whose hold was released go. The ledger is told first. It cannot be undone.
    """
    from pipeline.cli.output import write_json

    settings = settings_for(data)
    done = run(settings, dry_run=dry_run)
    if as_json:
        plain = {"removed": dict(done.removed), "released": dict(done.released), "kept_by_holds": done.kept}
        write_json({"dry_run": dry_run, "dropped": [_plain(each) for each in done.dropped], **plain})
        return
    would = "Would drop" if dry_run else "Dropped"
    for each in done.dropped:
        ended = f"whose life ended {iso_ms(each.ends_at_ms)[:10]}" if each.ends_at_ms <= _now_ms() else "by the policy"
        print(f"{would} {each.cell}: {each.rows:,} rows, {ended}.")
    if done.kept:
        print(f"Holds keep {done.kept:,} of them.")
    for name, rows in done.removed.items():
        print(f"{'Would remove' if dry_run else 'Removed'} {rows:,} rows of {name} that the policy keeps no longer.")
    for name, rows in done.released.items():
        print(f"Removed {rows:,} rows of held_{name} that no hold covers any more.")
    if not (done.dropped or done.removed or done.released):
        print("Nothing has expired.")


@app.command(epilog="Example: tokentrail retention check --json")
def check(
    grace_hours: Annotated[
        float, typer.Option(min=0, help="What is due for less than this is left to the next run.")
    ] = 3.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute from the rows how old everything is, held rows too; fails when anything is older than it may be."""
    from pipeline.cli.output import table, write_json
    from pipeline.control.overdue import days, oldest

    settings = settings_for(data)
    now_ms = _now_ms()
    found, policy = look(settings, grace_ms=int(grace_hours * HOUR_MS))
    rows = [
        {
            "table": name,
            "tenant": tenant,
            "rows": sum(g.rows for g in found.groups if (g.cell.table, g.tenant) == (name, tenant)),
            "oldest_days": max(0, now_ms - group.oldest_ms) // DAY_MS,
            "policy_days": days(policy, group),
        }
        for (name, tenant), group in oldest(found.groups).items()
    ]
    if as_json:
        write_json({"ok": not found.overdue, "tables": rows, "too_old": [asdict(each) for each in found.overdue]})
    else:
        if rows:
            table(list(rows[0]), [list(row.values()) for row in rows], _CHECK_UNITS)
        for each in found.overdue:
            print(_wrong(each))
        print("Something is older than it may be." if found.overdue else "Nothing is older than it may be.")
    if found.overdue:
        raise typer.Exit(1)


def _wrong(each: Overdue) -> str:
    whose = f" of tenant {each.tenant}" if each.tenant else ""
    rows = f"{each.rows:,} rows{whose}: " if each.rows else ""
    since = f", since {iso_ms(each.since_ms)[:10]}" if each.since_ms else ""
    return f"{each.table}: {rows}{_WRONG[each.kind]}{since}."


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


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
