"""`tokentrail replay`: what a bug made a dead letter is processed again, as a new record, while its raw text lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pipeline.cli.context import DataOption, JsonOption, settings_for
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.audit.replay import Letter, Span
    from pipeline.settings import Settings
    from pipeline.storage.client import Client
    from pipeline.transport.replay import Verdicts
    from pipeline.transport.tail import Reader
    from schemas.position import Position

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# Why a position is not replayed, for a person.
_WHY: Final = {
    "already": "were replayed before",
    "gone": "cannot be: their raw text is deleted",
    "unusable": "are left: this version cannot use them either",
    "has_rows": "are left: they have rows too, which would come twice (--second-rows)",
    "silent": "are left: ticks and heartbeats heal nothing",
    "other": "are left: the record there is not the one that the dead letter is about",
}
POSITIONS_SHOWN: Final = 20


@dataclass
class Replayed:
    """What came of a run.

    Attributes:
        epoch: Incarnation of the raw topic.
        verdicts: Of every position that was looked at.
        made: New offsets, by position.
        unsettled: New positions that were not accounted for in time, with --wait.
        outcomes: `healed` and `dead_again`, with --wait.
    """

    epoch: int
    verdicts: Verdicts = field(default_factory=dict)
    made: dict[Position, int] = field(default_factory=dict)
    unsettled: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    def count(self, verdict: str) -> int:
        """How many positions had this verdict."""
        return Counter(self.verdicts.values())[verdict]  # type: ignore[index]


@app.command(
    epilog="\b\nExamples:\n  tokentrail replay --dry-run\n"
    "  tokentrail replay --reason internal_error --since 6h --wait\n  tokentrail replay 1/0/1204 1/2/300-420"
)
def replay(
    positions: Annotated[
        list[str] | None, typer.Argument(metavar="[POSITION]...", help="Such as 1/0/1204 or 1/0/100-250; default: all.")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only dead letters for this reason (repeatable).")] = None,
    since: Annotated[str | None, typer.Option(help="Only what was received since: 30m, 6h, 2026-03-01.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what was received before.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Not only dead letters: every record of the positions.")] = False,
    second_rows: Annotated[
        bool, typer.Option("--second-rows", help="Accept that records which have rows get rows a second time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the rows; fails when a record is dead again.")] = False,
    wait_timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait.")] = 60.0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Process dead letters again under new positions; each one once. Run one of these at a time."""
    from pipeline.audit.replay import span
    from pipeline.cli.output import write_json
    from pipeline.cli.times import parse_since

    spans = [span(text) for text in positions or ()]
    if every and not (spans and second_rows):
        raise UsageError("--all makes rows a second time: name the positions, and say --second-rows.")
    if every and (reason or since or until):
        raise UsageError("--all takes positions; --reason, --since and --until pick among dead letters.")
    settings = settings_for(data)
    times = (parse_since(since) if since else 0, parse_since(until) if until else 2**53)
    done = run(settings, spans, reason or [], times, every=every, second_rows=second_rows, dry_run=dry_run)
    if wait and done.made:
        _wait(settings, done, wait_timeout)
    if as_json:
        write_json(_plain(done, dry_run))
    else:
        _print(done, dry_run)
    named_and_left = bool(spans) and not every and any(done.count(verdict) for verdict in ("gone", "unusable", "other"))
    if done.unsettled or done.outcomes.get("dead_again") or named_and_left:
        raise typer.Exit(1)


def run(
    settings: Settings,
    spans: list[Span],
    reasons: list[str],
    times: tuple[int, int] = (0, 2**53),
    *,
    every: bool = False,
    second_rows: bool = False,
    dry_run: bool = False,
) -> Replayed:
    """Replay what fits, with progress on stderr.

    Args:
        settings: The installation; its Kafka user must be able to read and write raw text.
        spans: Only these positions; none names all.
        reasons: Only dead letters for these; none names all.
        times: Received from the first until before the second, milliseconds since 1970.
        every: Every position of the spans, dead letter or not.
        second_rows: Rows that stand may come a second time.
        dry_run: Append nothing.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer; run it again.
        UsageError: A position is of another incarnation of the topic, whose text is gone.
    """
    from pipeline.cli.marks import SinkMarks
    from pipeline.cli.progress import Progress
    from pipeline.keys import load
    from pipeline.storage.client import connect
    from pipeline.storage.replays import letters, replayed
    from pipeline.transport.admin import Epochs
    from pipeline.transport.replay import on_their_way
    from pipeline.transport.replay import replay as replay_letters
    from pipeline.transport.tail import Reader

    keys = load(settings)
    epochs = Epochs(settings)
    epochs.check()
    epoch = epochs.current("calls.raw")
    for one in spans:
        if one.epoch != epoch:
            raise UsageError(f"The raw topic is in epoch {epoch}; what stood in epoch {one.epoch} is gone with it.")
    client = connect(settings, purpose="replay")
    try:
        with Progress("replay") as progress, Reader(settings) as reader, SinkMarks(settings) as marks:
            found = _all(reader, marks, spans) if every else letters(client, epoch, spans, reasons, *times)
            before = replayed(client, epoch)
            for partition in sorted({letter.position.partition for letter in found}):
                # What is between mark and end is no row yet, but may be a replay of an earlier run.
                state = marks.look(partition)
                mark = state.next if state.epoch == epoch else 0
                progress.update(0, f"looking for replays in partition {partition}", len(found))
                before |= on_their_way(reader, keys, epoch, partition, mark)
            verdicts, made = replay_letters(
                settings,
                keys,
                found,
                before,
                second_rows=second_rows,
                dry_run=dry_run,
                progress=lambda looked: progress.update(looked, f"{looked:,} of {len(found):,} positions", len(found)),
            )
    finally:
        client.close()
    return Replayed(epoch, verdicts, made)


def _all(reader: Reader, marks: Any, spans: list[Span]) -> list[Letter]:
    from pipeline.transport.replay import positions

    found = []
    for one in sorted(spans, key=lambda one: (one.partition, one.first)):
        mark = marks.look(one.partition).next
        found += positions(reader, one.epoch, one.partition, one.first, one.last, mark)
    return sorted({letter.position: letter for letter in found}.values(), key=lambda letter: letter.position)


def _wait(settings: Settings, done: Replayed, timeout_s: float) -> None:
    from pipeline.cli.progress import Progress
    from pipeline.cli.settle import wait_settled
    from pipeline.storage.client import connect
    from pipeline.storage.replays import outcomes

    ends: dict[int, int] = {}
    for position, offset in done.made.items():
        ends[position.partition] = max(ends.get(position.partition, 0), offset + 1)
    with Progress("waiting for rows") as progress:
        left = wait_settled(settings, ends, timeout_s, lambda left: progress.update(0, f"{left:,} on their way"))
    done.unsettled = sum(left.values())
    client: Client = connect(settings, purpose="replay")
    try:
        places = [(position.partition, offset) for position, offset in done.made.items()]
        done.outcomes = outcomes(client, done.epoch, places)
    finally:
        client.close()


def _plain(done: Replayed, dry_run: bool) -> dict[str, Any]:
    made = {str(position): f"{position.epoch}/{position.partition}/{offset}" for position, offset in done.made.items()}
    left = [
        {"position": str(position), "why": verdict}
        for position, verdict in done.verdicts.items()
        if verdict != "replay"
    ]
    return {
        "dry_run": dry_run,
        "replayed": 0 if dry_run else len(done.made),
        "would_replay": done.count("replay") if dry_run else 0,
        "positions": made or [str(at) for at, verdict in done.verdicts.items() if verdict == "replay"],
        "left": left,
        "unsettled": done.unsettled,
        **done.outcomes,
    }


def _print(done: Replayed, dry_run: bool) -> None:
    if not done.verdicts:
        print("No dead letters fit.")
        return
    count = done.count("replay")
    print(f"{count:,} records {'would be' if dry_run else 'were'} replayed.")
    for position, offset in list(done.made.items())[:POSITIONS_SHOWN]:
        print(f"  {position} is now {position.epoch}/{position.partition}/{offset}")
    if len(done.made) > POSITIONS_SHOWN:
        print(f"  ... and {len(done.made) - POSITIONS_SHOWN:,} more; --json gives them all.")
    for verdict, why in _WHY.items():
        if left := done.count(verdict):
            print(f"{left:,} {why}.")
    if done.outcomes:
        print(f"{done.outcomes['healed']:,} are rows now, {done.outcomes['dead_again']:,} are dead letters again.")
    if done.unsettled:
        print(f"{done.unsettled:,} positions were not accounted for in time; `tokentrail doctor` says what is behind.")
