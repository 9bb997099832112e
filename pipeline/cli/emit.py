"""`tokentrail emit`: events out of a file into `llm.calls.raw`, each of them accounted for."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.errors import RetryableError

if TYPE_CHECKING:
    from pipeline.cli.lines import Backfill, Source
    from pipeline.cli.sender import Sender, Tally

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: tokentrail emit events.jsonl --wait")
def emit(
    file: Annotated[Path, typer.Argument(help="JSON lines, one event a line; .gz is unpacked; - is standard input.")],
    tenant: Annotated[str | None, typer.Option(help="Tenant of lines that name none.")] = None,
    backfill: Annotated[
        bool | None,
        typer.Option(
            "--backfill/--live",
            help="Mark events as history, which raises no pages. Default: those more than ten minutes old.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse lines that would become dead letters instead of sending them.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Send at most so many lines; 0 sends all.")] = 0,
    rate: Annotated[float, typer.Option(min=0, help="Events a second; 0 is as fast as it goes.")] = 0.0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds an event may wait for the broker.")] = 120.0,
    wait: Annotated[bool, typer.Option("--wait", help="Return when every event is in ClickHouse.")] = False,
    wait_timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for that.")] = 600.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send events; says what was delivered, refused or lost, and fails unless everything was delivered."""
    from pipeline.cli.lines import Preparer, open_source
    from pipeline.cli.sender import Sender

    settings = settings_for(data)
    mode: Backfill = "auto" if backfill is None else "backfill" if backfill else "live"
    source = open_source(file)
    sender = Sender(settings, timeout)
    begun = time.monotonic()
    try:
        stopped = _run(source, Preparer(tenant, mode, strict), sender, limit, rate, timeout)
    finally:
        source.close()
    seconds = time.monotonic() - begun
    report = describe(sender.tally, seconds, source.broken or stopped)
    if not as_json:
        print(_sentence(sender.tally, seconds), flush=True)
    good = sender.tally.holds and stopped is None and source.broken is None
    if wait and sender.tally.delivered:
        from pipeline.cli.arrival import wait_for_rows

        report["wait"] = arrived = wait_for_rows(settings, sender.tally, wait_timeout)
        good = good and arrived["arrived"]
        if not as_json:
            print(arrived["sentence"])
    if as_json:
        print(json.dumps(report))
    elif report["problem"]:
        print(report["problem"], file=sys.stderr)
    if stopped == INTERRUPTED:
        raise typer.Exit(130)
    if not good:
        raise typer.Exit(1)


INTERRUPTED = "Interrupted: the rest of the file was not read."


def _run(source: Source, prepare: Any, sender: Sender, limit: int, rate: float, timeout_s: float) -> str | None:
    """Read, send and wait for the broker; returns why the file was not read to its end, if it was not."""
    from pipeline.cli.progress import Progress

    stopped = None
    with Progress(f"emit {source.name}", source.size) as progress:

        def show(head: str = "") -> None:
            tally, elapsed = sender.tally, max(progress.elapsed_s, 1e-3)
            said = f"{tally.read:,} events, {tally.bytes / 1e6:,.1f} MB, {tally.read / elapsed:,.0f}/s"
            trouble = f", waiting for Kafka: {sender.problem}" if sender.problem and tally.pending else ""
            progress.update(source.position(), head + said + trouble)

        try:
            _send_all(source, prepare, sender, limit, rate, show)
        except KeyboardInterrupt:
            stopped = INTERRUPTED
        except RetryableError as error:
            stopped = str(error)
        try:
            deadline = time.monotonic() + timeout_s
            while sender.flush(0.2) and time.monotonic() < deadline:
                show("waiting for acknowledgements, ")
        except KeyboardInterrupt:
            stopped = INTERRUPTED
        sender.close()
    return stopped


def _send_all(source: Source, prepare: Any, sender: Sender, limit: int, rate: float, show: Any) -> None:
    """Send line by line until the end, `limit` or Ctrl-C.

    Raises:
        KeyboardInterrupt: Between two lines, so that no count is half made.
    """
    from pipeline.cli.sender import Pace

    pace = Pace(rate)
    tally = sender.tally
    interrupted = reading = False

    def on_interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        if reading:  # nothing is half done while a terminal or a pipe is silent
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        lines = source.lines()
        shown = 0.0
        while not limit or tally.read < limit:
            reading = source.size is None
            line = next(lines, None)
            reading = False
            if line is None:
                return
            if interrupted:
                raise KeyboardInterrupt
            if not line.strip():
                continue
            while (due_s := pace.due_in_s(tally.read)) > 0.001 and not interrupted:
                sender.poll(min(due_s, 0.2))
            sender.send(prepare(line))
            if tally.read % 1000 == 0 or rate:
                now = time.monotonic()
                if now - shown > 0.2:
                    shown = now
                    show()
    finally:
        signal.signal(signal.SIGINT, before)


def describe(tally: Tally, seconds: float, problem: str | None) -> dict[str, Any]:
    """The report as plain values; `seconds` is how long sending took."""
    return {
        "read": tally.read,
        "delivered": tally.delivered,
        "refused": tally.refused.total(),
        "refused_by_reason": dict(tally.refused),
        "lost": tally.lost,
        "lost_by_reason": dict(tally.unknown),
        "bytes": tally.bytes,
        "seconds": round(seconds, 3),
        "events_per_s": round(tally.read / seconds) if seconds else 0,
        "problem": problem,
    }


def _sentence(tally: Tally, seconds: float) -> str:
    """The report for a person."""
    parts = [f"{tally.read:,} lines read, {tally.delivered:,} delivered"]
    for word, count, reasons in (
        ("refused", tally.refused.total(), tally.refused),
        ("lost", tally.lost, tally.unknown),
    ):
        why = ", ".join(f"{number:,} {reason}" for reason, number in reasons.most_common())
        parts.append(f"{count:,} {word}" + (f" ({why})" if why else ""))
    rate = tally.read / seconds if seconds else 0.0
    return f"{', '.join(parts)}; {tally.bytes / 1e6:,.1f} MB in {seconds:,.1f} s ({rate:,.0f} events/s)."
