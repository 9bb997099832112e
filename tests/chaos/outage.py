"""ClickHouse away for minutes under steady load, then Kafka stalled for longer than the producers' time-out.

    python -m tests.chaos.outage --minutes 10 --rate 300 --stall 45
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

# Allocators keep and give back pages; a queue that grows with the outage grows by far more.
GROWTH_BYTES = 24 << 20
# The clients' own buffers fill up first.
WARM = 0.2


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
    for what, grown in memory.items():
        problems += [f"{what}: {name} grew by {mb[2]} MB" for name, mb in grown.items() if mb[2] * 1e6 > GROWTH_BYTES]
    return {
        "events": count,
        "rate": rate,
        "lost": judgement.lost,
        "twice": judgement.twice,
        "verify": judgement.verify,
        "rss_mb": memory,
        "problems": problems,
        "seconds": round(time.monotonic() - begun, 1),
    }


def growth(hit: Hit) -> dict[str, tuple[float, float, float]]:
    """For each worker: megabytes at first (after the warm-up), at last, and the difference; medians of samples."""
    found = {}
    samples = hit.rss_bytes[int(len(hit.rss_bytes) * WARM) :]
    few = max(1, len(samples) // 5)
    for name in samples[-1]:
        first = median(one[name] for one in samples[:few] if name in one) / 1e6
        last = median(one[name] for one in samples[-few:] if name in one) / 1e6
        found[name] = (round(first, 1), round(last, 1), round(last - first, 1))
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of ClickHouse's absence")
    parser.add_argument("--rate", type=float, default=300.0, help="events a second")
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
