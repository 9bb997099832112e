"""What a trail puts on a real broker: keys, headers, partitions, numbers, heartbeats, and every kind of refusal."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.partitioner import murmur2
from shim_support import PARTITIONS, Record, bootstrap, new_topic, read, servers, topic

from schemas.event import Event
from tokentrail import Stats, Trail

__all__ = ["bootstrap", "servers", "topic"]
pytestmark = pytest.mark.system


def calls(records: list[Record]) -> list[Record]:
    return [record for record in records if record.event["kind"] != "heartbeat"]


def heartbeats(records: list[Record]) -> list[dict[str, Any]]:
    by_number = sorted((record for record in records if record.event["kind"] == "heartbeat"), key=lambda r: r.sequence)
    return [record.event["heartbeat"] for record in by_number]


def assert_gapless(records: list[Record]) -> None:
    """Of each producer instance, every number from 1 is there exactly once."""
    by_producer: dict[str, list[int]] = defaultdict(list)
    for record in records:
        by_producer[record.headers["producer"]].append(record.sequence)
    for numbers in by_producer.values():
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def assert_in_order(records: list[Record]) -> None:
    """Of each producer instance, numbers grow within a partition."""
    by_place: dict[tuple[str, int], list[int]] = defaultdict(list)
    for record in records:
        by_place[record.headers["producer"], record.partition].append(record.sequence)
    assert all(numbers == sorted(numbers) for numbers in by_place.values())


def assert_adds_up(stats: Stats) -> None:
    assert stats.emitted == stats.delivered + stats.refused + stats.dropped + stats.buffered


# Vectors of Apache Kafka's own UtilsTest: the reference below is Java's function.
@pytest.mark.parametrize(("key", "value"), [("21", -973932308), ("foobar", -790332482), ("abc", 479470107)])
def test_the_reference_partitioner_is_javas(key: str, value: int) -> None:
    assert murmur2(key.encode()) == value & 0xFFFFFFFF


def test_key_headers_and_partition_are_those_of_the_contract(bootstrap: str, topic: str) -> None:
    with Trail(bootstrap, topic=topic, tenant="acme", heartbeat_s=0) as trail:
        instance = trail.instance
        for number in range(50):
            trail.emit({"run": f"run-{number}", "session": "ignored", "feature": "chat"})
        trail.emit({"session": "s1"})
        trail.emit({"tenant": "überbau", "run": "läuft"})
        trail.emit({"id": "mine", "ts": 5})
        trail.emit({})
    records = read(bootstrap, topic)
    assert len(records) == 54
    for record in records:
        event = record.event
        unit = event.get("run") or event.get("session") or event["id"]
        assert record.key == f"{event['tenant']}\x1f{unit}"
        assert record.partition == (murmur2(record.key.encode()) & 0x7FFFFFFF) % PARTITIONS
        assert record.headers == {
            "schema": "tokentrail.event.v1",
            "producer": instance,
            "sequence": str(event["producer"]["sequence"]),
        }
        assert event["producer"]["id"] == instance and event["producer"]["library"].startswith("tokentrail-python/")
        msgspec.convert(event, Event)
    assert_gapless(records)
    in_order = sorted(records, key=lambda record: record.sequence)
    made = [record.event["id"] for record in in_order if record.event["id"] != "mine"]
    assert made == sorted(made) and len(set(made)) == 53
    assert [record.event["ts"] for record in in_order if record.event["id"] == "mine"] == [5]
    now_ms = time.time_ns() // 1_000_000
    assert all(now_ms - 60_000 < record.event["ts"] <= now_ms for record in in_order if record.event["id"] != "mine")


def test_aiokafka_reads_what_is_compressed(bootstrap: str, topic: str) -> None:
    with Trail(bootstrap, topic=topic, tenant="acme", heartbeat_s=0) as trail:
        for _ in range(500):
            trail.emit({"run": "r", "output": "the same text again and again " * 20})

    async def count() -> int:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            found = 0
            while found < 500:
                batches = await asyncio.wait_for(consumer.getmany(timeout_ms=500), 20)
                found += sum(len(batch) for batch in batches.values())
            return found
        finally:
            await consumer.stop()

    assert asyncio.run(count()) == 500


def test_many_threads_lose_nothing_and_the_numbers_have_no_gap(bootstrap: str, topic: str) -> None:
    trail = Trail(bootstrap, topic=topic, tenant="acme", heartbeat_s=0.05, max_buffer_bytes=64 << 20)

    def work(thread: int) -> None:
        for number in range(2_000):
            assert trail.emit({"run": f"{thread}-{number % 10}", "step": number, "output": "x" * 200})
            if number % 500 == 0:
                assert_adds_up(trail.stats())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trail.flush(30) == 0
    trail.close()
    records = read(bootstrap, topic)
    assert_gapless(records)
    assert_in_order(records)
    assert {(r.event["run"][0], r.event["step"]) for r in calls(records)} == {
        (str(thread), step) for thread in range(4) for step in range(2_000)
    }
    assert len(calls(records)) == trail.stats().delivered == trail.stats().emitted == 8_000
    assert trail.stats().buffered_bytes == 0


def test_heartbeats_say_what_is_true(bootstrap: str, topic: str) -> None:
    trail = Trail(
        bootstrap,
        topic=topic,
        tenant="acme",
        service="shop",
        heartbeat_s=0.1,
        max_event_bytes=5_000,
        flush_timeout_s=20,
    )
    rng = random.Random(7)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        trail.emit({"step": 1})
        trail.emit(rng.choice([None, {"run": "x" * 5_000}, {"step": 2}]))  # type: ignore[arg-type]
        time.sleep(0.005)
    trail.close()
    records = read(bootstrap, topic)
    stats = trail.stats()
    beats = heartbeats(records)
    assert stats.refused > 0 and stats.dropped > 0 and stats.buffered == 0
    assert_gapless(records)
    assert len(beats) >= 3
    for record in records:
        if record.event["kind"] == "heartbeat":
            told = record.event["heartbeat"]
            assert told["last_sequence"] == record.sequence
            assert told["emitted"] >= told["delivered"] + told["refused"] + told["dropped"]
            before = [call for call in calls(records) if call.sequence < record.sequence]
            assert told["emitted"] == len(before) + told["refused"] + told["dropped"]
            assert record.key == f"acme\x1f{record.headers['producer']}"
            assert (record.event["tenant"], record.event["service"]) == ("acme", "shop")
            msgspec.convert(record.event, Event)
    assert [told["closing"] for told in beats] == [False] * (len(beats) - 1) + [True]
    assert beats[-1] == {
        "emitted": stats.emitted,
        "delivered": stats.delivered,
        "refused": stats.refused,
        "dropped": stats.dropped,
        "last_sequence": len(records),
        "controls_position": None,
        "closing": True,
    }


def test_an_oversized_event_arrives_cut(bootstrap: str, topic: str) -> None:
    noise = random.Random(1).randbytes(1_500_000).hex()
    with Trail(bootstrap, topic=topic, tenant="acme", heartbeat_s=0) as trail:
        assert trail.emit({"run": "r", "input": noise, "usage": {"input": 9}})
        assert trail.flush(20) == 0
        assert trail.stats().delivered == 1
    (record,) = read(bootstrap, topic)
    assert record.event["usage"] == {"input": 9}
    assert record.event["cut"][0]["path"] == "input[0].content" and record.event["cut"][0]["length"] == 3_000_000
    assert 890_000 < len(json.dumps(record.event)) <= 900_000


def test_what_the_broker_refuses_is_counted_as_refused(bootstrap: str) -> None:
    small = new_topic(bootstrap, max_message_bytes="2000")
    with Trail(bootstrap, topic=small, tenant="acme", heartbeat_s=0) as trail:
        trail.emit({"output": random.Random(1).randbytes(3_000).hex()})
        assert trail.flush(20) == 0
        assert trail.emit({"output": "small"})
        assert trail.flush(20) == 0
        stats = trail.stats()
    assert (stats.delivered, stats.refused) == (1, 1) and stats.by_reason == {"msg_size_too_large": 1}
    assert "too large" in (stats.last_error or "")


def test_after_a_fatal_error_a_new_producer_goes_on(bootstrap: str) -> None:
    # With this setting of librdkafka a refused batch is a fatal error: nothing goes through that producer any more.
    small = new_topic(bootstrap, max_message_bytes="2000")
    trail = Trail(bootstrap, topic=small, tenant="acme", heartbeat_s=0, kafka={"enable.gapless.guarantee": True})
    assert trail.emit({"output": random.Random(1).randbytes(3_000).hex()})
    trail.flush(20)
    deadline = time.monotonic() + 30
    while trail.stats().delivered == 0:
        assert time.monotonic() < deadline, trail.stats()
        trail.emit({"output": "small"})
        trail.flush(1)
    trail.close(20)
    records, stats = read(bootstrap, small), trail.stats()
    assert len(records) == stats.delivered
    assert stats.by_reason["fatal"] >= 1 and stats.buffered == 0
    assert_adds_up(stats)


def test_a_forked_child_is_a_producer_of_its_own(bootstrap: str, topic: str) -> None:
    trail = Trail(bootstrap, topic=topic, tenant="acme", heartbeat_s=60, flush_timeout_s=20)
    for _ in range(100):
        trail.emit({"feature": "parent"})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert trail.stats().emitted == 0
            for _ in range(100):
                assert trail.emit({"feature": "child"})
            trail.close()
            assert trail.stats().delivered == 100
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for _ in range(100):
        trail.emit({"feature": "parent"})
    trail.close()
    assert trail.stats().delivered == 200
    records = read(bootstrap, topic)
    assert_gapless(records)
    features = defaultdict(set)
    for record in calls(records):
        features[record.event["feature"]].add(record.headers["producer"])
    assert features["parent"] == {trail.instance} and len(features["child"]) == 1
    assert features["child"] != features["parent"]
    assert len({record.event["id"] for record in records}) == len(records) == 302
    assert [told["closing"] for told in heartbeats(records)] == [True, True]


def test_workers_of_multiprocessing_flush_at_their_end(bootstrap: str, topic: str) -> None:
    trail = Trail(bootstrap, topic=topic, tenant="acme", flush_timeout_s=20)

    def work() -> None:
        trail.emit({"feature": "worker"})

    workers = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    trail.close()
    assert len(calls(read(bootstrap, topic))) == 3


@pytest.mark.parametrize("ending", ["", "raise ValueError", "sys.exit(3)", "os.kill(os.getpid(), signal.SIGINT)"])
def test_a_script_that_ends_without_closing_loses_nothing(bootstrap: str, topic: str, ending: str) -> None:
    script = f"""
import os, signal, sys
from tokentrail import Trail
trail = Trail(topic={topic!r}, tenant="acme", flush_timeout_s=20)
for number in range(1000):
    trail.emit({{"step": number}})
{ending}
"""
    environment = {**os.environ, "TOKENTRAIL_KAFKA_BOOTSTRAP": bootstrap}
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=60, check=False)
    assert time.monotonic() - began < 15
    records = read(bootstrap, topic)
    assert sorted(record.event["step"] for record in calls(records)) == list(range(1000))
    assert heartbeats(records)[-1]["closing"] is True


def test_interrupts_leave_no_gap_and_no_number_twice(bootstrap: str, topic: str) -> None:
    script = f"""
import itertools, signal
from tokentrail import Trail
trail = Trail({bootstrap!r}, topic={topic!r}, tenant="acme", heartbeat_s=0, flush_timeout_s=20)
def interrupt(number, frame):
    global emitting
    trail.emit({{"from": "handler"}})
    if emitting and next(turns) % 2:
        emitting = False
        raise KeyboardInterrupt
turns = itertools.count()
emitting = False
signal.signal(signal.SIGVTALRM, interrupt)
signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
for _ in range(300):
    try:
        emitting = True
        for _ in range(100):
            trail.emit({{"a": 1}})
    except KeyboardInterrupt:
        pass
    emitting = False
signal.setitimer(signal.ITIMER_VIRTUAL, 0)
trail.close()
print(trail.stats().delivered)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True, text=True)
    records = read(bootstrap, topic)
    assert_gapless(records)
    assert len(records) == int(done.stdout) > 1_000
