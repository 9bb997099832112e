"""Work off a file of events as a backlog while stages are killed, then account for every one of them.

    python -m tests.chaos.backlog events.jsonl --kills 5
    python -m tests.chaos.backlog events.jsonl --ner

A kill is SIGKILL to one stage (and, by the kernel's hand, to its helpers) while it lags; it is logged with its stage,
lag and the offsets its output had. Afterwards each event must be in ClickHouse exactly once or be a counted dead
letter, and `verify` must agree. Ends non-zero when anything is missing, doubled or different.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from bench.marks import attempts_after, sink_marks
from bench.servers import fill
from pipeline.cli.lines import KEY_SEPARATOR
from schemas.clean import Clean
from schemas.fact import Fact
from tests.chaos.house import temporary
from tests.chaos.judge import verdict
from tests.installation import Installation, wait_for

OUTPUT = {"measure": "facts", "redact": "calls", "sink": "ledger"}
TABLES = ("calls", "evaluations", "feedback", "heartbeats", "dead_letters")
DEADLINE_S = 3_600.0

_fact = msgspec.json.Decoder(Fact).decode


def _clean(value: bytes) -> Fact:
    return msgspec.json.decode(value, type=Clean).fact


@dataclass
class Kill:
    """One SIGKILL: what it hit, when, how far behind it was, and how much its successor repeated."""

    stage: str
    at_s: float
    lag: int
    output_ends: dict[int, int]
    replayed: int = 0


@dataclass
class Outcome:
    """What came of a run."""

    sent: int
    rows: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    doubled: int = 0
    kills: list[Kill] = field(default_factory=list)
    verify: str = ""
    seconds: float = 0.0


def run(
    folder: Path, file: Path, *, kills: int, seed: int, environment: dict[str, str], say: Callable[[str], None]
) -> Outcome:
    """Everything about one file."""
    records = load(file)
    installation = Installation(folder, {"TOKENTRAIL_TICKS": "off", **environment})
    installation.start()
    outcome = Outcome(sent=len(records))
    try:
        fill(installation.settings, installation.settings.topic("calls.raw"), records)
        say(f"{len(records)} events wait")
        begun = time.monotonic()
        installation.start_stages(tuple(OUTPUT))
        _kill_some(installation, outcome, random.Random(seed), kills, begun, say)
        installation.wait_settled(DEADLINE_S)
        outcome.seconds = round(time.monotonic() - begun, 1)
        say(f"settled after {outcome.seconds} s")
        _account(installation, outcome)
        for kill in outcome.kills:
            kill.replayed = _replayed(installation, kill)
        return outcome
    finally:
        installation.stop()


def load(path: Path) -> list[tuple[bytes, bytes]]:
    """(key, value) of each line of a file of events, keyed as the shim does."""
    records = []
    for value in filter(None, map(bytes.strip, path.read_bytes().splitlines())):
        event = json.loads(value)
        unit = event.get("run") or event.get("session") or event.get("id") or ""
        records.append((f"{event.get('tenant')}{KEY_SEPARATOR}{unit}".encode(), value))
    return records


def _kill_some(
    installation: Installation,
    outcome: Outcome,
    rng: random.Random,
    kills: int,
    begun: float,
    say: Callable[[str], None],
) -> None:
    """Kill stages in turn, each when it has written something new and still lags."""
    # Every stage at least once; the quick one first, or it has no lag left to be killed in.
    order = ["measure", *rng.sample(("redact", "sink"), 2), *(rng.choice(("redact", "sink")) for _ in range(kills))]
    for number, stage in enumerate(order[:kills]):
        # Spread over the first four fifths of the work, by what the stage has written.
        due = (number + 0.3 + 0.4 * rng.random()) / (kills + 1) * 0.8 * outcome.sent

        def ready(stage: str = stage, due: float = due) -> bool:
            installation.check()
            assert installation.supervisor is not None
            return _progress(installation, stage) >= due and stage in installation.supervisor.pids()

        wait_for(f"{stage} to have written {due:.0f}", ready, DEADLINE_S, 0.02)
        lag = outcome.sent - _progress(installation, stage)
        if lag <= 0:
            say(f"{stage} has no lag any more; not killed")
            continue
        kill = Kill(stage, round(time.monotonic() - begun, 2), lag, installation.ends(OUTPUT[stage]))
        installation.kill(stage)
        outcome.kills.append(kill)
        say(f"kill {len(outcome.kills)}: {stage} at {kill.at_s} s, lag {lag}, output at {kill.output_ends}")


def _progress(installation: Installation, stage: str) -> int:
    """How many records of the source a stage has worked off, by what it has written."""
    if stage == "sink":
        return sum(sink_marks(installation.settings).values())
    return sum(installation.ends(OUTPUT[stage]).values())


def _account(installation: Installation, outcome: Outcome) -> None:
    """Compare the positions that were sent with the rows that are there."""
    client = installation.clickhouse()
    expected = {(p, o) for p, end in installation.ends("calls.raw").items() for o in range(end)}
    seen: Counter[tuple[int, int]] = Counter()
    for table in TABLES:
        rows = client.query(f"SELECT partition, offset FROM {table}").result_rows
        outcome.rows[table] = len(rows)
        seen.update((int(p), int(o)) for p, o in rows)
    ((count, different),) = client.query("SELECT count(), uniqExact(partition, offset) FROM call_content").result_rows
    outcome.rows["call_content"] = count
    outcome.missing = len(expected - set(seen))
    outcome.doubled = sum(seen.values()) - len(seen) + count - different
    outcome.verify = verdict(installation.folder)


def _replayed(installation: Installation, kill: Kill) -> int:
    """How many records the successor wrote again; of the sink, how many ranges it adopted."""
    if kill.stage == "sink":
        return attempts_after(installation.settings, kill.output_ends)
    replayed = 0
    fact_in = _clean if kill.stage == "redact" else _fact
    before: dict[int, int] = {}
    for message in installation.read(OUTPUT[kill.stage]):
        offset = fact_in(message.value()).position.offset
        partition = message.partition()
        if message.offset() < kill.output_ends[partition]:
            before[partition] = max(before.get(partition, -1), offset)
        elif offset <= before.get(partition, -1):
            replayed += 1
    return replayed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="events, one JSON object a line")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ner", action="store_true", help="redact names, too")
    options = parser.parse_args()
    folder = temporary()
    try:
        outcome = run(
            folder,
            options.file,
            kills=options.kills,
            seed=options.seed,
            environment={"TOKENTRAIL_NER": str(options.ner).lower()},
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(asdict(outcome), indent=1))
    sys.exit(0 if (outcome.missing, outcome.doubled, outcome.verify) == (0, 0, "ok") else 1)


if __name__ == "__main__":
    main()
