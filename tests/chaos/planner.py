"""A seeded schedule: which faults, in which round, in which order. Pure: the same seed gives the same plan."""

from __future__ import annotations

from random import Random

from tests.chaos.faults.clock import Clock
from tests.chaos.faults.connection import Connection
from tests.chaos.faults.delivery import Delivery
from tests.chaos.faults.disk import Disk
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.insert import Insert
from tests.chaos.faults.kill import Kill
from tests.chaos.faults.rebalance import Rebalance
from tests.chaos.faults.recreate import Recreate
from tests.chaos.faults.restart import Restart
from tests.chaos.faults.zombie import Zombie
from tests.chaos.inserts import How

KINDS = (
    "kill", "zombie", "restart", "connection", "insert", "delivery", "disk", "clock", "rebalance", "recreated"
)  # fmt: skip
# Of 200 faults; the zombies are more than the 15 that must write after takeover, because not each of them does.
WEIGHTS = dict(zip(KINDS, (31, 28, 20, 19, 20, 17, 16, 17, 17, 15), strict=True))
KILLED = ("sink", "measure", "redact", "helper", "guard", "meter", "judge", "act", "sink")
HOWS: tuple[How, ...] = ("refused", "half", "unanswered", "sent", "late", "unanswered", "half")


def plan(seed: int, faults: int, rounds: int) -> list[list[Fault]]:
    """The faults of each round; a recreation of the raw topic stands at the end of its round."""
    rng = Random(seed)
    counts = shares(faults)
    # Between two rounds there is at most one recreation.
    recreations = min(counts.pop("recreated"), rounds - 1)
    drawn = [_one(rng, kind, number) for kind, count in counts.items() for number in range(count)]
    rng.shuffle(drawn)
    found: list[list[Fault]] = [drawn[number::rounds] for number in range(rounds)]
    for one in found[:recreations]:
        one.append(Recreate())
    return found


def shares(faults: int) -> dict[str, int]:
    """How many of each kind; every kind at least once where there are enough."""
    counts = {kind: max(1, faults * weight // sum(WEIGHTS.values())) for kind, weight in WEIGHTS.items()}
    for kind in sorted(KINDS, key=lambda kind: -WEIGHTS[kind]) * faults:
        if sum(counts.values()) >= faults:
            break
        if kind != "recreated":
            counts[kind] += 1
    return counts


def _one(rng: Random, kind: str, number: int) -> Fault:
    match kind:
        case "kill":
            return Kill(KILLED[number % len(KILLED)])
        case "zombie":
            return Zombie(landed=number % 6 != 5)
        case "restart":
            return Restart("clickhouse" if number % 2 else "kafka", by_kill=number % 4 < 2)
        case "connection":
            server = "clickhouse" if number % 3 == 2 else "kafka"
            how = ("cut", "delayed", "refused", "stalled")[number % 4]
            only = "" if server == "clickhouse" or rng.random() < 0.5 else rng.choice(("measure", "redact", "meter"))
            return Connection(server, how, round(rng.uniform(1.0, 4.0), 1), only)  # type: ignore[arg-type]
        case "insert":
            return Insert((HOWS[number % len(HOWS)], *rng.sample(HOWS[:4], rng.randint(0, 2))))
        case "delivery":
            topic = ("calls.raw", "facts", "calls")[number % 3]
            count = rng.randint(20, 200) if topic == "calls.raw" else rng.randint(50, 2_000)
            return Delivery(topic, rng.randrange(4), count, rng.random() < 0.5)
        case "disk":
            return Disk(round(rng.uniform(1.0, 4.0), 1))
        case "clock":
            return Clock(rng.choice((-86_400, -3_600, -60, 60, 3_600, 86_400 * 30)), round(rng.uniform(1.0, 4.0), 1))
        case "rebalance":
            stage = ("sink", "measure", "redact", "meter", "guard")[number % 5]
            counts = tuple(rng.sample((1, 2, 3, 4), rng.randint(1, 2)))
            return Rebalance(stage, counts, round(rng.uniform(1.0, 3.0), 1))
    raise ValueError(kind)
