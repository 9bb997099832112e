"""Send known events through the whole pipeline while stages are killed, then account for every one of them.

    python -m tests.chaos.run --file events.jsonl --kills 5 --seed 1
    python -m tests.chaos.run --synthetic 20000 --kills 5

A kill is SIGKILL to one stage (and, by the kernel's hand, to its helpers) while it lags; it is logged with its stage,
lag and the offset its output had. Afterwards each event sent must be in ClickHouse exactly once or be a counted dead
letter, and `verify` must agree. Ends non-zero when anything is missing, doubled or different.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.events import encoded
from schemas.clean import Clean
from schemas.fact import Fact
from tests.installation import Installation, wait_for

STAGES = ("measure", "redact", "sink")
OUTPUT = {"measure": "facts", "redact": "calls", "sink": "ledger"}
SOURCE = {"measure": "calls.raw", "redact": "calls.raw", "sink": "calls"}


@dataclass
class Kill:
    """One SIGKILL: what it hit, when, how far behind it was, and whether its successor repeated work."""

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
    events_per_s: float = 0.0

    @property
    def good(self) -> bool:
        """Nothing lost, nothing twice, and `verify` agrees."""
        return self.missing == 0 and self.doubled == 0 and self.verify == "ok"


def play(
    folder: Path,
    records: Sequence[tuple[bytes, bytes]],
    *,
    kills: int,
    seed: int,
    stages: Sequence[str] = STAGES,
    environment: dict[str, str] | None = None,
    deadline_s: float = 600.0,
    say: Any = lambda line: None,
) -> Outcome:
    """Run one installation over `records` ((key, value) each) with `kills` kills."""
    rng = random.Random(seed)
    installation = Installation(folder, {"TOKENTRAIL_TICKS": "off", **(environment or {})})
    installation.start()
    outcome = Outcome(sent=len(records))
    try:
        begun = time.monotonic()
        from bench.servers import fill

        fill(installation.settings, installation.settings.topic("calls.raw"), records)
        say(f"{len(records)} events sent in {time.monotonic() - begun:.1f} s")
        begun = time.monotonic()
        installation.start_stages(stages)
        _kill_some(installation, outcome, rng, kills, begun, deadline_s, say)
        installation.wait_settled(deadline_s)
        outcome.seconds = round(time.monotonic() - begun, 1)
        outcome.events_per_s = round(len(records) / outcome.seconds, 1)
        say(f"settled after {outcome.seconds} s")
        _account(installation, outcome)
        _replays(installation, outcome)
        return outcome
    finally:
        installation.stop()


def _kill_some(
    installation: Installation,
    outcome: Outcome,
    rng: random.Random,
    kills: int,
    begun: float,
    deadline_s: float,
    say: Any,
) -> None:
    """Kill stages in turn, each once it has written something new and still lags."""
    supervisor = installation.supervisor
    assert supervisor is not None
    # Every stage at least once; the quick one first, or it has no lag left to be killed in.
    order = ["measure", *rng.sample(("redact", "sink"), 2), *(rng.choice(("redact", "sink")) for _ in range(kills))][
        :kills
    ]
    total = sum(installation.ends("calls.raw").values())
    for number, stage in enumerate(order):
        # Spread over the first four fifths of the work, by what the stage has written.
        share = (number + 0.3 + 0.4 * rng.random()) / (kills + 1) * 0.8

        def ready(stage: str = stage, share: float = share) -> bool:
            assert supervisor.tend() is None, "a stage cannot be kept alive; see its log"
            return _progress(installation, stage) >= share * total and stage in supervisor.pids()

        wait_for(f"{stage} to be {share:.0%} through", ready, deadline_s, 0.02)
        lag = total - _progress(installation, stage)
        if lag <= 0:
            say(f"{stage} has no lag any more; not killed")
            continue
        kill = Kill(stage, round(time.monotonic() - begun, 2), lag, installation.ends(OUTPUT[stage]))
        installation.kill(stage)
        outcome.kills.append(kill)
        say(f"kill {len(outcome.kills)}: {stage} at {kill.at_s} s, lag {lag}, output at {kill.output_ends}")


def _progress(installation: Installation, stage: str) -> int:
    """How many source records a stage has worked off, by what it has written."""
    if stage == "sink":
        from bench.marks import sink_marks

        return sum(sink_marks(installation.settings).values())
    return sum(installation.ends(OUTPUT[stage]).values())


def _account(installation: Installation, outcome: Outcome) -> None:
    """Compare the positions that were sent with the rows that are there."""
    client = installation.clickhouse()
    database = installation.settings.database
    expected = {(p, o) for p, end in installation.ends("calls.raw").items() for o in range(end)}
    seen: Counter[tuple[int, int]] = Counter()
    for table in ("calls", "evaluations", "feedback", "heartbeats", "dead_letters"):
        rows = client.query(f"SELECT partition, offset FROM {database}.{table}").result_rows
        outcome.rows[table] = len(rows)
        seen.update((int(p), int(o)) for p, o in rows)
    content = client.query(f"SELECT count(), uniqExact(partition, offset) FROM {database}.call_content").result_rows[0]
    outcome.rows["call_content"] = int(content[0])
    outcome.missing = len(expected - set(seen))
    outcome.doubled = sum(count - 1 for count in seen.values()) + int(content[0]) - int(content[1])
    outcome.verify = verdict(installation)


def _replays(installation: Installation, outcome: Outcome) -> None:
    """For each kill: how many records its successor wrote again (or, for the sink, ranges it adopted)."""
    for kill in outcome.kills:
        if kill.stage == "sink":
            from bench.marks import attempts_after

            kill.replayed = attempts_after(installation.settings, kill.output_ends)
            continue
        before: dict[int, int] = {}
        for message in installation.read(OUTPUT[kill.stage]):
            fact = _fact(message.value())
            partition = message.partition()
            if message.offset() < kill.output_ends[partition]:
                before[partition] = max(before.get(partition, -1), fact.position.offset)
            elif fact.position.offset <= before.get(partition, -1):
                kill.replayed += 1


def _fact(value: bytes) -> Fact:
    if b'"tokentrail.clean.v1"' in value[:40]:
        return msgspec.json.decode(value, type=Clean).fact
    return msgspec.json.decode(value, type=Fact)


def verdict(installation: Installation) -> str:
    """What `tokentrail verify --settled` says: `ok`, or its first lines."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "verify", "--settled", "--data", str(installation.folder)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    return "ok" if done.returncode == 0 else f"{done.returncode}: {done.stdout[-1500:]} {done.stderr[-500:]}"


def load(path: Path) -> list[tuple[bytes, bytes]]:
    """(key, value) of each line of a file of events."""
    records = []
    with path.open("rb") as file:
        for line in file:
            value = line.strip()
            if value:
                event = json.loads(value)
                unit = event.get("run") or event.get("session") or event.get("id") or ""
                records.append((f"{event.get('tenant')}\x1f{unit}".encode(), value))
    return records


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--synthetic", type=int, default=0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ner", action="store_true")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--deadline", type=float, default=3600.0)
    parser.add_argument("--keep", action="store_true", help="leave the data folder")
    options = parser.parse_args()
    records = load(options.file) if options.file else encoded(options.synthetic, 500)
    folder = Path(tempfile.mkdtemp(prefix="tokentrail-chaos-"))
    try:
        outcome = play(
            folder,
            records,
            kills=options.kills,
            seed=options.seed,
            stages=options.stages.split(","),
            environment={"TOKENTRAIL_NER": "true" if options.ner else "false"},
            deadline_s=options.deadline,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    finally:
        if options.keep:
            print(f"kept {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"seed": options.seed, "pid": os.getpid(), **asdict(outcome), "good": outcome.good}, indent=1))
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
