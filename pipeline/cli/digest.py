"""`tokentrail digest`: a week in one page, as a terminal, Markdown or HTML shows it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pipeline.cli.context import DataOption, JsonOption
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.digest.model import Digest

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# It reads everything but text, so that a digest that is passed on holds none by mistake.
LOGIN: Final = "auditor"


@app.command(
    epilog="\b\nExamples:\n  tokentrail digest\n  tokentrail digest --week 2026-W47 --format html --out week.html\n"
    "  tokentrail digest --user investigator --reason 'weekly review' --format markdown"
)
def digest(
    week: Annotated[
        str | None, typer.Option(help="2026-W47, this, or last (the default), Monday to Sunday, UTC.")
    ] = None,
    form: Annotated[
        Literal["terminal", "markdown", "html"], typer.Option("--format", help="How it is shown.")
    ] = "terminal",
    out: Annotated[Path | None, typer.Option(help="Into this file instead of stdout.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    user: Annotated[
        str | None, typer.Option(help=f"ClickHouse user (default on embedded servers: {LOGIN}, who reads no text).")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why text is read, for users that must say so.")] = "",
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sum up a week: cost, what was asked twice, drift, changes, evaluations, errors, disliked answers, switches."""
    import msgspec

    from pipeline.cli.formats import plain
    from pipeline.cli.reader import reader_for
    from pipeline.digest.gather import Gatherer
    from pipeline.digest.model import Digest
    from pipeline.digest.model import week as named
    from pipeline.digest.render import html, markdown

    if as_json and form != "terminal":
        raise UsageError("--json and --format do not go together.")
    now = datetime.fromtimestamp(time.time(), UTC)
    since, until, name = named(week, now)
    reader = reader_for(data, user or LOGIN, reason=reason)
    found = Digest(
        f"Week {name}" + (", so far" if until > now else ""),
        f"{since:%Y-%m-%d}",
        f"{until:%Y-%m-%d}",
        f"{now:%Y-%m-%d %H:%M}",
        _seen_as(reader.user, user, reason),
        tenant or "",
        Gatherer(reader, since, tenant or "").sections(),
    )
    if as_json:
        text = msgspec.json.encode(plain(msgspec.to_builtins(found, builtin_types=(datetime,)))).decode() + "\n"
    elif form == "html":
        text = html(found)
    else:
        text = markdown(found)
    if out is not None:
        out.write_text(text, encoding="utf-8")
        print(f"Written to {out}.", file=sys.stderr)
    elif form == "terminal" and not as_json:
        _show(found)
    else:
        sys.stdout.write(text)


def _seen_as(login: str, asked: str | None, reason: str) -> str:
    if asked:
        return f"as {login}, as --user says" + (f" (reason: {reason})." if reason else ".")
    return f"as {login}, who reads everything but text; texts need --user and a --reason."


def _show(digest: Digest) -> None:
    from pipeline.cli.output import table

    print(f"{digest.title}: {digest.since} to {digest.until}, made {digest.made_at} {digest.seen_as}\n")
    for one in digest.sections:
        print(one.title.upper() + (f": {one.says}" if one.says else ""))
        if one.rows:
            table(one.columns, one.rows, dict(zip(one.columns, one.units, strict=True)))  # type: ignore[arg-type]
        print()
