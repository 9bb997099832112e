"""`tokentrail rules test` and `rules history`: what rules would have said of what has been."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.detection.trial import Outcome, Trial
    from pipeline.transport.history import Line


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A rules file (TOML).")],
    history: Annotated[
        Path | None,
        typer.Option(
            "--on",
            metavar="HISTORY",
            help="A file of `tokentrail rules history` (default: what Kafka holds, the last 7 or 8 days).",
        ),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would have fired on stored windows and facts, beside what the rules in force fire on them.

    Both begin with nothing known, so what needs days of warm-up is silent for as many days. Nothing is published.
    """
    from pipeline.cli.output import table, write_json
    from pipeline.cli.rules import read_text
    from pipeline.control.budgets import Budgets
    from pipeline.detection.rules_file import parse
    from pipeline.detection.trial import Trial, always, compare
    from pipeline.detection.versions import text_of
    from pipeline.transport.budgets import read_budgets
    from pipeline.transport.history import saved, stored
    from pipeline.transport.rules import read_rules

    text = read_text(file)
    parse(text)
    if history is None:
        settings = settings_for(data)
        versions, records = read_rules(settings)
        number = versions.at(time.time_ns() // 1_000_000)[0]
        in_force = next((text_of(control) for _, control in reversed(records) if control.version == number), "")
        budgets, stretch = read_budgets(settings), stored(settings)
    else:
        # A file knows neither: beside it stand the defaults.
        in_force, budgets, stretch = "", Budgets(), saved(history)
    before = Trial(always(in_force), budgets, stretch.partitions)
    after = Trial(always(text), budgets, stretch.partitions)
    span = _play(stretch.lines, (before, after), as_json)
    outcomes = compare(before, after)
    if as_json:
        write_json(
            {
                **span,
                "found": [
                    {
                        "rule": one.rule,
                        "subject": one.subject,
                        "opened_at": iso_ms(one.opened_at),
                        "severity": one.severity,
                        "shadow": one.shadow,
                        "in_force": outcome.before is not None,
                        "with_file": outcome.after is not None,
                        "why": one.why,
                    }
                    for outcome in outcomes
                    if (one := outcome.after or outcome.before) is not None
                ],
            }
        )
        return
    if not span["from"]:
        print("There is no history to try rules on.")
        return
    rows = [
        [iso_ms(one.opened_at), one.rule, _change(outcome), one.severity, one.why]
        for outcome in outcomes
        if (one := outcome.after or outcome.before) is not None
    ]
    if rows:
        table(["at", "rule", "with the file", "severity", "why"], rows, {})
    counts = [sum(_change(outcome) == name for outcome in outcomes) for name in ("new", "gone", "as before")]
    print(f"{span['from']} to {span['to']}: {counts[0]} new, {counts[1]} gone, {counts[2]} as before.")


def history(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it (gzip).")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the facts and partials that Kafka holds to a file, to try rules on later (`tokentrail rules test --on`)."""
    from pipeline.cli.output import write_json
    from pipeline.transport.history import save, stored

    span = _play(save(stored(settings_for(data)), file), (), as_json)
    if as_json:
        write_json({"file": str(file), **span})
    else:
        print(f"{file}: {span['facts']:,} facts and {span['partials']:,} partials, {span['from']} to {span['to']}.")


def _play(lines: Iterator[Line], trials: tuple[Trial, ...], quiet: bool) -> dict[str, Any]:
    """Play a history; returns how many records of what, and its first and last time in the log."""
    from pipeline.cli.progress import Progress
    from pipeline.transport.history import record_of
    from schemas.fact import Fact

    counts = {"facts": 0, "partials": 0, "unreadable": 0}
    first: int | None = None
    last = 0
    with Progress("history", quiet=quiet) as progress:
        for number, line in enumerate(lines):
            record = record_of(line)
            counts["unreadable" if record is None else line.topic] += 1
            first, last = line.at if first is None else min(first, line.at), max(last, line.at)
            for trial in trials:
                if isinstance(record, Fact):
                    trial.fact(record)
                elif record is not None:
                    trial.partials(record, line.at)
            if number % 1_000 == 0:
                progress.update(number, f"{number:,} records")
    return {"from": iso_ms(first) if first is not None else None, "to": iso_ms(last) if last else None, **counts}


def _change(outcome: Outcome) -> str:
    if outcome.before is None:
        return "new"
    return "gone" if outcome.after is None else "as before"
