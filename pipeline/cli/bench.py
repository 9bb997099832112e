"""`tokentrail bench`: measure this machine. Both sides of a comparison run in one call, in turn."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import JsonOption
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from bench.figures import Report

app = typer.Typer(rich_markup_mode=None, add_completion=False)

NAMES: Final = ("transport", "e2e", "anomaly", "sink", "verify", "redaction", "accuracy", "meter", "detection")
# Benches that have parts which can be run alone.
WITH_PARTS: Final = {"detection": "abcdt"}


@app.command(epilog="Example: tokentrail bench transport --json")
def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NAMES)}, or all.")],
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the work; figures are rough.")] = False,
    sources: Annotated[
        str | None, typer.Option(help="Of `redaction`: arena (single texts), tau (chats), or both with a comma.")
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="Of `detection`, letters: a simulated tenants, b loops, c NAB, d real traffic; t is a on the half of "
            "the seeds that parameters were chosen on.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a bench in servers of its own and print its figures."""
    if sources is not None and name != "redaction":
        raise UsageError("--sources belongs to `tokentrail bench redaction`.")
    for one in NAMES if name == "all" else (name,):
        print(f"bench {one} ...", file=sys.stderr, flush=True)
        report = run(one, quick, sources.split(",") if sources else None, part)
        print(json.dumps(report.as_json()) if as_json else _table(report), flush=True)


def run(name: str, quick: bool, sources: list[str] | None = None, part: str = "") -> Report:
    """One bench by name, or some of its sources or parts.

    Raises:
        UsageError: There is none of that name, or it has no such part.
    """
    more: dict[str, Any] = {} if sources is None else {"sources": sources}
    if name not in NAMES:
        raise UsageError(f"There is no bench {name!r}; there are {', '.join(NAMES)}.")
    import importlib

    known = WITH_PARTS.get(name, "")
    if any(letter not in known for letter in part):
        parts = f"the parts {', '.join(known)}" if known else "no parts"
        raise UsageError(f"bench {name} has {parts}, not {part!r}.")
    if part:
        more["parts"] = part
    report: Report = importlib.import_module(f"bench.{name}").run(quick=quick, **more)
    return report


def _table(report: Report) -> str:
    lines = [report.bench]
    for name, one in report.figures.items():
        against = f"   against {one.against:g}" if one.against is not None else ""
        low, high = one.spread
        lines.append(f"  {name:32} {one.value:12.4g} {one.unit:6} ({low:.4g} to {high:.4g}){against}")
    return "\n".join([*lines, *(f"  note: {note}" for note in report.notes)])
