"""How long a stage is out of work after kill -9 of its worker: from the kill to what it next commits.

    python -m tests.chaos.recovery --kills 16

A worker is killed alone, under steady load; the stage is back when every partition of its output has a record (for
guard, judge and act: when the group has committed) that is newer than the kill.
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
from random import Random
from statistics import median
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos.house import ALL, House, temporary
from tests.chaos.sender import Sender
from tests.installation import wait_for

OUTPUT = {"measure": "facts", "redact": "calls", "sink": "ledger", "meter": "partials"}
INPUT = {"guard": "facts", "judge": "partials", "act": "anomalies"}
STAGES = (*OUTPUT, "guard", "judge")
LIMIT_S = 15.0
RATE = 300.0
REST_S = 4.0


def run(folder: Path, *, kills: int, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Kill workers one after the other; returns seconds by stage."""
    rng = Random(seed)
    house = House(folder, small_disk=False)
    found: dict[str, list[float]] = {stage: [] for stage in STAGES}
    try:
        house.start()
        house.workers.start(*ALL)
        sender = Sender(house, 0, kills * 10_000 + 20_000, int(time.time() * 1000) - 86_400_000, RATE)
        sender.faults_left = kills  # it is steady as long as there are some
        sender.start()
        wait_for("the pipeline to work", lambda: house.watch.done(1) > 2_000, 60)
        for number in range(kills):
            stage = STAGES[number % len(STAGES)]
            time.sleep(REST_S + rng.random())
            before = _place(house, stage)
            name = house.workers.of(stage)[0]
            partitions = _partitions(house, stage, name)
            if not sender.is_alive():
                raise RuntimeError(f"everything was sent before kill {number + 1}: a stage without work is never back")
            at = time.time()
            house.workers.kill(name)
            back = _back(house, stage, partitions, int(at * 1000), before)
            found[stage].append(back)
            say(f"kill {number + 1}: {name} back after {back:.2f} s")
        sender.given_up.set()
        sender.join(60)
    finally:
        house.stop()
    every = [one for each in found.values() for one in each]
    return {
        "kills": len(every),
        "median_s": round(median(every), 2),
        "max_s": round(max(every), 2),
        "by_stage": {
            stage: {"median_s": round(median(each), 2), "max_s": round(max(each), 2)}
            for stage, each in found.items()
            if each
        },
    }


def _partitions(house: House, stage: str, name: str) -> list[int]:
    """Output partitions that the worker serves."""
    if stage != "sink":
        return list(house.ends(OUTPUT[stage])) if stage in OUTPUT else []
    pid = str(house.workers.pid(name))
    return [number for number, owner in house.watch.owners().items() if owner.rsplit("-", 2)[1] == pid]


def _back(house: House, stage: str, partitions: list[int], at_ms: int, before: dict[int, int]) -> float:
    """Seconds until the stage has committed something new everywhere."""
    if stage in OUTPUT:
        # Records on their way when the worker was killed are none of its successor's.
        times = [_first_after(house, OUTPUT[stage], number, at_ms + 1_000, stage) for number in partitions]
        return (max(times) - at_ms) / 1000
    wait_for(f"{stage} to commit", lambda: any(o > before.get(n, 0) for n, o in _place(house, stage).items()), 60, 0.1)
    return time.time() - at_ms / 1000


def _first_after(house: House, topic: str, partition: int, after_ms: int, stage: str) -> int:
    """Time of the first record that was appended at or after a moment (the sink's claims are not what it is about)."""
    consumer = Consumer(house.direct.librdkafka(**{"group.id": f"chaos-{time.monotonic_ns()}", "log_level": 0}))
    place = TopicPartition(house.settings.topic(topic), partition, after_ms)

    def look() -> int:
        at = consumer.offsets_for_times([place], timeout=5)[0].offset
        if at < 0:
            return 0
        consumer.assign([TopicPartition(place.topic, partition, at)])
        for message in consumer.consume(50, 1.0):
            if message.error() is None and (stage != "sink" or b'"intent":{' in (message.value() or b"")):
                return int(message.timestamp()[1])
        return 0

    try:
        return int(wait_for(f"{topic}/{partition} to go on", look, 60, 0.05))
    finally:
        consumer.close()


def _place(house: House, stage: str) -> dict[int, int]:
    """Committed offsets of a group, for stages whose output says nothing."""
    if stage not in INPUT:
        return {}
    client, name = AdminClient(house.direct.librdkafka(log_level=0)), house.settings.topic(INPUT[stage])
    group = house.settings.group(stage)
    wanted = [TopicPartition(name, number) for number in house.ends(INPUT[stage])]
    answer = client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)])[group].result()
    return {one.partition: one.offset for one in answer.topic_partitions}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = temporary()
    try:
        found = run(
            folder, kills=options.kills, seed=options.seed, say=lambda line: print(line, file=sys.stderr, flush=True)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=1))
    sys.exit(0 if found["max_s"] < LIMIT_S else 1)


if __name__ == "__main__":
    main()
