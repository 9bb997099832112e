"""`tokentrail doctor`: looks at every part and says what is wrong and what to do. Changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipeline.cli.context import DataOption, JsonOption, data_dir, key_root, settings_for
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.checks import Finding

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


@app.command(epilog="Example: tokentrail doctor --json")
def doctor(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check Kafka, ClickHouse, stages, lag, keys, clocks and room; fails when one of them does not hold."""
    from pipeline.cli.output import console, write_json

    found = []
    for finding in examine(data):
        found.append(finding)
        if not as_json:
            console().print(_line(finding), soft_wrap=True)
            sys.stdout.flush()
    failed = sum(finding.state == "FAIL" for finding in found)
    warned = sum(finding.state == "warn" for finding in found)
    if as_json:
        write_json({"failed": failed, "warned": warned, "findings": [asdict(finding) for finding in found]})
    else:
        print(f"{len(found)} checks, {failed} failed, {warned} to look at.", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def examine(data: Path | None) -> Iterator[Finding]:
    """Every finding, part by part; what depends on a part that does not answer is left out."""
    from pipeline.cli.checks import fail, guarded, machine
    from pipeline.settings import Settings

    try:
        settings = settings_for(data)
    except UsageError as error:
        yield fail("servers", str(error), "Start them, then look again.")
        folder = data_dir(data)
        if key_root(folder).exists():
            yield from guarded(
                "keys", lambda: machine.key_root(Settings.model_validate({"key_root_file": key_root(folder)}))
            )
        return
    from pipeline.cli.checks import clickhouse, kafka, lag

    kafka_found = guarded("kafka", lambda: kafka.reachable(settings))
    yield from kafka_found
    if _all_well(kafka_found):
        topics = guarded("topics", lambda: kafka.topics(settings))
        yield from topics
        if not any("Missing" in finding.said for finding in topics):
            yield from guarded("epochs", lambda: kafka.epochs(settings))
            yield from guarded("policy", lambda: kafka.policy(settings))
            yield from guarded("kafka clock", lambda: kafka.clock(settings))
            yield from guarded("lag", lambda: lag.lags(settings))
            yield from guarded("ledger", lambda: lag.sink_marks(settings))
            yield from guarded("dead letters", lambda: lag.deadletters(settings))
        yield from guarded("stages", lambda: machine.stages(settings))
    clickhouse_found = guarded("clickhouse", lambda: clickhouse.reachable(settings))
    yield from clickhouse_found
    if clickhouse_found[0].state != "FAIL":
        migrated = guarded("migrations", lambda: clickhouse.migrations(settings))
        yield from migrated
        yield from guarded("grants", lambda: clickhouse.grants(settings))
        yield from guarded("auditor", lambda: clickhouse.auditor(settings))
        yield from guarded("clickhouse room", lambda: clickhouse.room(settings))
        if _all_well(migrated):
            yield from guarded("redaction", lambda: clickhouse.redacted(settings))
            yield from guarded("replays", lambda: clickhouse.replays(settings))
    yield from guarded("redaction", lambda: machine.redaction(settings))
    yield from guarded("keys", lambda: machine.key_root(settings))
    yield from guarded("room", lambda: machine.room(settings))


def _all_well(findings: Iterable[Finding]) -> bool:
    return all(finding.state != "FAIL" for finding in findings)


def _line(finding: Finding) -> object:
    from rich.text import Text

    from pipeline.cli.formats import printable

    text = Text()
    text.append(f"{finding.state:<5}", style=_COLOURS[finding.state])
    text.append(f"{finding.part:<17}{printable(finding.said)}")
    if finding.todo:
        text.append(f" {printable(finding.todo)}", style="italic")
    return text
