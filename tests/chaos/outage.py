"""ClickHouse away for minutes under steady load, then Kafka stalled for longer than the producers' time-out.

    python -m tests.chaos.outage --minutes 10 --rate 400 --stall 45
    python -m tests.chaos.outage --minutes 0.25 --stall 0

Ends non-zero when anything is lost or twice, when `verify` does not agree, or when a worker's memory grew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.faults.fault import Fault, Hit
from tests.chaos.faults.outage import Outage
from tests.chaos.house import House, temporary
from tests.chaos.judge import judge
from tests.chaos.player import Player

# What a sink reads ahead (20,000 records a partition) fills up first; in the last third nothing may grow any more than
# allocators do. Stages that fold hold runs and keys, whose number grows with the traffic, outage or not, up to bounds
# of their own (`bench meter`): they are reported and not judged.
GROWTH_BYTES = 8 << 20
FOLDS = ("guard", "meter", "judge")


def run(folder: Path, *, minutes: float, rate: float, stall_s: float, say: Callable[[str], None]) -> dict[str, Any]:
    """One outage of ClickHouse and one stall of Kafka (0: none); returns what came of them."""
    plan: list[list[Fault]] = [[Outage("clickhouse", minutes * 60)]]
    if stall_s:
        plan.append([Outage("kafka", stall_s)])
    count = int(rate * max(minutes * 60, stall_s) * 1.1) * len(plan)
    house = House(folder, small_disk=False)
    begun = time.monotonic()
    try:
        house.start()
        player = Player(house, plan, count, int(time.time() * 1000) - 86_400_000, say, rate=rate)
        played = player.play(4 * 3_600)
        judgement = judge(house, played, None)
    finally:
        house.stop()
    memory = {}
    for one in played.outcomes:
        if one.hit is not None and len(one.hit.rss_bytes) > 4:
            memory[one.hit.what] = growth(one.hit)
    problems = [*played.problems, *(one.problem for one in played.outcomes if one.problem), *judgement.problems]
    for what, workers in memory.items():
        for name, (_, before, last) in workers.items():
            if (last - before) * 1e6 > GROWTH_BYTES and not name.startswith(FOLDS):
                problems.append(f"{what}: {name} grew from {before} to {last} MB in the last third")
    return {
        "events": count,
        "rate": rate,
        "lost": judgement.lost,
        "twice": judgement.twice,
        "verify": judgement.verify,
        "rss_mb_begin_two_thirds_end": memory,
        "problems": problems,
        "seconds": round(time.monotonic() - begun, 1),
    }


def growth(hit: Hit) -> dict[str, tuple[float, float, float]]:
    """For each worker: megabytes at the beginning, after two thirds of the time, and at the end; medians of samples.

    A process that was not there, or still loading, when the outage began says nothing and is not in it.
    """
    samples = hit.rss_bytes
    few = max(1, len(samples) // 12)
    thirds = len(samples) * 2 // 3
    parts = samples[:few], samples[thirds : thirds + few], samples[-few:]

    def mb(part: list[dict[str, int]], name: str) -> float:
        return round(median(one[name] for one in part) / 1e6, 1)

    throughout = set.intersection(*(set(one) for part in parts for one in part))
    return {name: (mb(parts[0], name), mb(parts[1], name), mb(parts[2], name)) for name in sorted(throughout)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of ClickHouse's absence")
    parser.add_argument("--rate", type=float, default=400.0, help="events a second")
    parser.add_argument("--stall", type=float, default=45.0, help="seconds that Kafka stands still; 0: not at all")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = temporary()
    try:
        found = run(
            folder,
            minutes=options.minutes,
            rate=options.rate,
            stall_s=options.stall,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["problems"] else 0)


if __name__ == "__main__":
    main()
