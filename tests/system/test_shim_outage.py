"""A broker that is away, at the start, in the middle or for good: nothing blocks or doubles, and the counts hold."""

from __future__ import annotations

import time

import pytest
from shim_support import bootstrap, new_topic, read, servers, topic

from infra.embedded.servers import EmbeddedServers
from tokentrail import Trail

__all__ = ["bootstrap", "servers", "topic"]
pytestmark = pytest.mark.system

# librdkafka waits longer after each failed connection; the tests should not.
IMPATIENT = {"reconnect.backoff.max.ms": 200}


def test_a_broker_that_is_down_at_the_start_gets_everything_later(servers: EmbeddedServers, topic: str) -> None:
    address = servers.endpoints.kafka_bootstrap
    servers.kill("kafka")
    began = time.monotonic()
    trail = Trail(address, topic=topic, tenant="acme", heartbeat_s=0, kafka=IMPATIENT)
    for step in range(1_000):
        assert trail.emit({"step": step})
    assert time.monotonic() - began < 1
    assert trail.flush(0.2) == 1_000
    servers.restart("kafka")
    assert trail.flush(60) == 0
    trail.close()
    assert trail.stats().delivered == 1_000 and trail.stats().lost == 0
    assert sorted(record.event["step"] for record in read(address, topic)) == list(range(1_000))


def test_a_broker_that_is_killed_in_the_middle_costs_and_doubles_nothing(servers: EmbeddedServers, topic: str) -> None:
    address = servers.endpoints.kafka_bootstrap
    trail = Trail(address, topic=topic, tenant="acme", heartbeat_s=0, kafka=IMPATIENT)
    for step in range(3_000):
        assert trail.emit({"step": step, "run": f"r{step % 50}"})
        if step == 1_000:
            servers.kill("kafka")
        if step == 2_000:
            servers.restart("kafka")
        time.sleep(0.0002)
    assert trail.flush(60) == 0
    trail.close()
    records = read(address, topic)
    assert sorted(record.event["step"] for record in records) == list(range(3_000))
    assert sorted(record.sequence for record in records) == list(range(1, 3_001))


def test_a_topic_that_does_not_exist_harms_nothing(bootstrap: str) -> None:
    trail = Trail(bootstrap, topic="no-such-topic", tenant="acme", heartbeat_s=0)
    assert trail.emit({"a": 1})
    assert trail.flush(0.5) == 1
    trail.close(0.5)
    assert trail.stats().dropped == 1
    assert new_topic(bootstrap)


def test_a_broker_that_goes_for_good_bounds_close_and_counts_hold(servers: EmbeddedServers, topic: str) -> None:
    address = servers.endpoints.kafka_bootstrap
    trail = Trail(address, topic=topic, tenant="acme", heartbeat_s=0.05, kafka=IMPATIENT)
    for _ in range(200):
        trail.emit({"a": 1})
    assert trail.flush(30) == 0
    assert sum(record.event["kind"] == "call" for record in read(address, topic)) == 200
    servers.kill("kafka")
    for _ in range(300):
        trail.emit({"a": 2})
    began = time.monotonic()
    trail.close(1)
    assert time.monotonic() - began < 1 + 1.5
    stats = trail.stats()
    assert (stats.emitted, stats.delivered, stats.dropped, stats.buffered) == (500, 200, 300, 0)
    assert stats.by_reason == {"left_at_close": 300} and stats.buffered_bytes == 0
