"""`tokentrail subscribe`: anomalies as they are raised, by a plain consumer that leaves no trace in Kafka."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.cli.times import iso_ms, parse_since
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from schemas.anomaly import Anomaly

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_COLOURS: Final = {"SEV1": "bold red", "SEV2": "yellow", "SEV3": "cyan"}
_TIERS: Final = {1: "page", 2: "ticket", 3: "review"}


@app.command(epilog="Example: tokentrail subscribe --tenant acme --since 1h")
def subscribe(
    from_start: Annotated[bool, typer.Option("--from-start", help="All that the topic still holds.")] = False,
    since: Annotated[str | None, typer.Option(help="30m, 24h, 7d, or a time like 2026-03-01T08:00.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule's; `cost.` takes every rule that begins so.")] = None,
    tier: Annotated[int | None, typer.Option(min=1, max=3, help="1 pages, 2 tickets, 3 reviews.")] = None,
    count: Annotated[int, typer.Option(min=0, help="End after so many; fails when fewer came.")] = 0,
    timeout: Annotated[float, typer.Option(min=0, help="End after so many seconds; 0 never.")] = 0.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print anomalies from now on, or from an earlier moment, one line each; every revision once."""
    from rich.console import Console

    from pipeline.cli.listen import Listener, first_of_each

    if from_start and since:
        raise UsageError("Say --from-start or --since, not both.")
    begin_ms = 0 if from_start else parse_since(since) if since else None
    settings = settings_for(data)
    console = Console(highlight=False, soft_wrap=True)
    deadline_s = time.monotonic() + timeout if timeout else None
    came = 0
    with Listener(settings, begin_ms) as listener:
        print(
            f"Listening to {listener.topic} at {settings.kafka_bootstrap}; Ctrl-C ends it.", file=sys.stderr, flush=True
        )
        try:
            for value, anomaly in first_of_each(listener.records(deadline_s)):
                if anomaly is None:
                    print(f"Skipped a record of {len(value)} bytes that is no anomaly.", file=sys.stderr, flush=True)
                elif wanted(anomaly, tenant, rule, tier):
                    if as_json:
                        print(value.decode(), flush=True)
                    else:
                        console.print(line(anomaly))
                    came += 1
                    if came == count:
                        break
        except KeyboardInterrupt:
            pass
    if came < count:
        print(f"{came} of {count} came.", file=sys.stderr)
        raise typer.Exit(1)


def wanted(anomaly: Anomaly, tenant: str | None, rule: str | None, tier: int | None) -> bool:
    """Whether the filters let it through; None lets everything through."""
    return (
        (tenant is None or anomaly.subject.get("tenant") == tenant)
        and (rule is None or anomaly.rule == rule or (rule.endswith(".") and anomaly.rule.startswith(rule)))
        and (tier is None or anomaly.tier == tier)
    )


def line(anomaly: Anomaly) -> Text:
    """One anomaly as one line: when, how bad, which rule, what became of it, and why."""
    from rich.text import Text

    subject = ", ".join(f"{name} {value}" for name, value in anomaly.subject.items())
    state = "opened" if anomaly.state == "open" else f"{anomaly.state} (revision {anomaly.revision})"
    colour = "green" if anomaly.state == "resolved" else _COLOURS.get(anomaly.severity, "")
    text = Text(f"{iso_ms(anomaly.detected_at)} ")
    text.append(f"{anomaly.severity} {_TIERS[anomaly.tier]:<6} {anomaly.rule} {state}", style=colour)
    text.append(f": {printable(anomaly.why)} [{printable(subject)}]")
    return text


def printable(text: str) -> str:
    """The text on one line and without characters that a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)
