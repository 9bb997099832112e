"""Alarms on the real Kafka while guard, meter and judge are killed: none lost, none told with two contents.

What the stages say is compared with what the pure cores say about the very logs that the stages have read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.audit.positions import Mark
from pipeline.detection.judging import Judge
from pipeline.detection.loops import LoopWatch
from schemas.anomaly import Anomaly
from schemas.fact import Fact
from schemas.partial import Partials
from schemas.window import Windows
from tests.installation import Installation, wait_for

HOUR_MS = 3_600_000
CALLS = 6_000
STAGES = ("measure", "guard", "meter", "judge", "act")
RULES = {"loop.runaway", "cost.spike", "price.unknown"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = Installation(tmp_path_factory.mktemp("alarms"), {"TOKENTRAIL_NER": "false"})
    one.start()
    yield one
    one.stop()


def traffic(now_ms: int) -> Iterator[tuple[bytes, dict[str, object]]]:
    """Nine hours up to now: a tenant whose calls cost three times as much at last, stuck runs, a model nobody knows."""
    dice = Random(5)
    for number in range(CALLS):
        at_ms = now_ms - 9 * HOUR_MS + number * 9 * HOUR_MS // CALLS
        dear = 3 if at_ms > now_ms - HOUR_MS else 1
        stuck = number % 400 < 5
        run = f"stuck-{number // 400}" if stuck else f"run-{number}"
        event: dict[str, object] = {
            "tenant": dice.choice(("acme", "globex")), "feature": "support", "provider": "openai", "model": "gpt-4o",
            "ts": at_ms, "run": run, "latency_ms": 900.0,
            "usage": {"input": int(dice.uniform(800, 1_200) * dear), "output": 100 * dear},
            "tool_calls": [{"name": "find", "arguments": {"id": 17 if stuck else number}, "result": "not found"}],
        }  # fmt: skip
        if stuck:
            event["tenant"] = "acme"
        if number % 1_000 == 999:
            event |= {"model": "nobody-knows-it", "cost_usd": None}
        yield run.encode(), event


def anomalies(installation: Installation) -> list[Anomaly]:
    return [msgspec.json.decode(message.value(), type=Anomaly) for message in installation.read("anomalies")]


def by_revision(found: list[Anomaly]) -> dict[tuple[str, int], set[bytes]]:
    contents: dict[tuple[str, int], set[bytes]] = {}
    for one in found:
        contents.setdefault((one.id, one.revision), set()).add(msgspec.json.encode(one))
    return contents


def replayed(installation: Installation) -> dict[tuple[str, int], set[bytes]]:
    """What the pure cores say about the logs, read once from the beginning."""
    found: list[Anomaly] = []
    watches: dict[int, LoopWatch] = {}
    for message in sorted(installation.read("facts"), key=lambda one: (one.partition(), one.offset())):
        fact = msgspec.json.decode(message.value(), type=Fact)
        watch = watches.setdefault(message.partition(), LoopWatch(Mark(fact.position.epoch, fact.position.offset)))
        found += watch.fold(fact)
    judge = Judge(installation.settings.partitions)
    for message in sorted(installation.read("partials"), key=lambda one: one.offset()):
        found += judge.apply(msgspec.json.decode(message.value(), type=Partials), message.timestamp()[1]).anomalies
    return by_revision(found)


@pytest.mark.timeout(300)
def test_killed_guards_meters_and_judges_tell_each_finding_as_a_clean_run_does(installation: Installation) -> None:
    installation.start_stages(STAGES)
    dice, now_ms = Random(9), int(time.time() * 1000)
    events = list(traffic(now_ms))
    killed = []
    producer = Producer(installation.settings.librdkafka(**{"partitioner": "murmur2_random", "linger.ms": 5}))
    for begin in range(0, CALLS, CALLS // 12):
        for key, event in events[begin : begin + CALLS // 12]:
            producer.produce(installation.settings.topic("calls.raw"), msgspec.json.encode(event), key)
        assert producer.flush(30) == 0
        if begin:
            stage = ("guard", "judge", "meter")[len(killed) % 3]
            killed.append(stage)
            installation.wait_restarted(stage, installation.kill(stage))
        time.sleep(dice.uniform(0.2, 1.5))
    assert set(killed) == {"guard", "judge", "meter"}

    lacking: set[str] = set()

    def settled() -> bool:
        nonlocal lacking
        installation.check()
        lacking = RULES - {one.rule for one in anomalies(installation)} or _untold(installation)
        return not lacking

    try:
        wait_for("all findings, and every stage at the end of its input", settled, 120, 1.0)
    except AssertionError as error:
        raise AssertionError(f"{error}; lacking: {sorted(lacking)}") from None
    installation.stop_stages()  # in good order: what was read is told

    told, truth = by_revision(anomalies(installation)), replayed(installation)
    assert {name: found for name, found in told.items() if len(found) > 1} == {}, "one revision, two contents"
    assert set(told) <= set(truth), "told, but not in the logs"
    # Ticks go on to the last moment, so the newest revisions of a clean run may not have been told before the stop.
    untold = {name: found for name, found in truth.items() if name not in told}
    assert all(msgspec.json.decode(next(iter(found)), type=Anomaly).state != "open" for found in untold.values())
    assert {name: truth[name] for name in told} == told

    loops = [one for one in anomalies(installation) if one.rule == "loop.runaway" and one.revision == 1]
    assert len({one.id for one in loops}) == 15, "one finding for each stuck run"
    windows = [one for message in installation.read("windows") for one in _windows(message.value())]
    newest = max((one for one in windows if one.size_s == 3600 and one.dimension == "tenant"), key=lambda w: w.calls)
    assert newest.calls > 300 and newest.revision >= 1


def _windows(value: bytes) -> list:  # type: ignore[type-arg]
    try:
        return list(msgspec.json.decode(value, type=Windows).windows)
    except msgspec.ValidationError:
        return []  # a late event's side row


def _untold(installation: Installation) -> set[str]:
    """What opens by the logs as they are so far, and has not been told."""
    told = by_revision(anomalies(installation))
    return {name for name, revision in replayed(installation) if revision == 1 and (name, revision) not in told}
