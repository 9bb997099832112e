"""Seeded faults over known events, on the whole pipeline; then everything is accounted for.

    python -m tests.chaos.run --faults 200 --events 1000000 --seed 1 --report docs/reference/reliability.md
    python -m tests.chaos.run --faults 14 --events 30000 --seed 3 --no-reference

Ends non-zero when anything is lost, twice or different, when `verify` does not agree, or when a fault could not be
played. Takes about 13 seconds a fault on two cores; ends by itself at --deadline.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.chaos import planner, reference, report
from tests.chaos.faults.fault import Fault
from tests.chaos.house import House, temporary
from tests.chaos.judge import judge
from tests.chaos.player import Player
from tests.chaos.proofs import prove

DAY_MS = 86_400_000
FAULTS_A_ROUND = 12.5


def run(
    folder: Path,
    *,
    faults: int,
    count: int,
    seed: int,
    rounds: int | None = None,
    also: Sequence[Fault] = (),
    with_reference: bool = True,
    deadline_s: float = 3_600.0,
    say: Callable[[str], None] = lambda line: None,
) -> report.Result:
    """One run in a new folder; `also`: faults at the end; `deadline_s` bounds the playing, not the judgement."""
    begun = time.monotonic()
    rounds = rounds or max(2, round(faults / FAULTS_A_ROUND))
    plan = planner.plan(seed, faults, rounds)
    plan[-1] += also
    # Event time must be over when the first event is sent.
    begin_ms = int(time.time() * 1000) - DAY_MS
    house = House(folder)
    try:
        house.start()
        say(f"{sum(map(len, plan))} faults in {rounds} rounds over {count} events; {folder}")
        played = Player(house, plan, count, begin_ms, say).play(deadline_s)
        say(f"played in {played.seconds} s; problems so far: {played.problems or 'none'}")
        proofs = prove(house, played.outcomes)
        windows = None
        if with_reference:
            # Not beside the run itself: two installations need four cores.
            judge(house, played, None, verify=False)
            house.workers.stop_all()
            windows = reference.play(played, say)
        judgement = judge(house, played, windows)
        return report.Result(seed, faults, played, judgement, proofs, round(time.monotonic() - begun, 1))
    finally:
        house.stop()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="default: one for 12.5 faults")
    parser.add_argument("--report", type=Path, help="page to write the run into")
    parser.add_argument("--no-reference", action="store_true", help="no run without faults to compare windows with")
    parser.add_argument("--deadline", type=float, default=3_300.0, help="seconds for playing")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--keep", action="store_true", help="leave the data folder")
    options = parser.parse_args()
    # A polite end cleans up too: servers, mounts, folders.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = temporary()
    try:
        result = run(
            folder,
            faults=options.faults,
            count=options.events,
            seed=options.seed,
            rounds=options.rounds,
            with_reference=not options.no_reference,
            deadline_s=options.deadline,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    finally:
        if options.keep:
            print(f"kept {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if options.report is not None:
        text = options.report.read_text() if options.report.exists() else "# Reliability\n"
        options.report.write_text(report.merged(text, result))
    found = report.as_json(result)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(json.dumps(found["chaos"], indent=1))
        print("\n".join(result.problems) or "nothing is amiss")
    sys.exit(1 if result.problems else 0)


if __name__ == "__main__":
    main()
