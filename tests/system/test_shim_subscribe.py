"""`tokentrail.subscribe` on a real broker: filters, its beginning, a broker that goes away, what a group remembers."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer
from shim_support import bootstrap, new_topic, servers

import tokentrail
from infra.embedded.servers import EmbeddedServers
from schemas.anomaly import Anomaly, Span, SuggestedControl

__all__ = ["bootstrap", "servers"]
pytestmark = pytest.mark.system


def anomaly(number: int, **changes: Any) -> Anomaly:
    values: dict[str, Any] = {
        "id": f"a{number}", "rule": "cost.spike", "tier": 1, "severity": "SEV1", "state": "open", "revision": 1,
        "subject": {"tenant": "acme"}, "window": Span(0, 60_000), "observed": 2.0, "baseline": 1.0, "threshold": 2.0,
        "ratio": 2.0, "unit": "usd", "evidence": ("1/0/7",), "why": f"Number {number}.", "runbook": "", "opened_at": 1,
        "detected_at": 2, "suggested_control": SuggestedControl("switch", {"tenant": "acme"}), "details": {"n": number},
    }  # fmt: skip
    return Anomaly(**(values | changes))


def send(address: str, topic: str, *records: Any) -> None:
    producer = Producer({"bootstrap.servers": address})
    for record in records:
        producer.produce(topic, record if isinstance(record, bytes) else msgspec.json.encode(record), partition=0)
    assert producer.flush(20) == 0


def numbers(found: Any) -> list[int]:
    return [one.details["n"] for one in found]


def test_each_revision_comes_once_with_every_field_and_what_is_none_is_skipped(bootstrap: str) -> None:
    topic = new_topic(bootstrap)
    record = anomaly(1)
    send(bootstrap, topic, record, record, b"no json", b"[1]", b'{"id": "x"}', anomaly(1, revision=2, state="resolved"))
    with tokentrail.subscribe(bootstrap, topic=topic, since=timedelta(hours=1), idle_s=3) as found:
        first, second = list(found)
    assert (first.id, first.revision, first.state) == ("a1", 1, "open")
    assert (first.window_start, first.window_end, first.evidence, first.tenant) == (0, 60_000, ("1/0/7",), "acme")
    assert first.suggested_control is not None and first.suggested_control.selector == {"tenant": "acme"}
    assert second.state == "resolved" and dict(first.more) == {}


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"tenant": "globex"}, [2]),
        ({"tier": (2, 3)}, [3]),
        ({"rule": "latency."}, [3]),
        ({"rule": ("cost.spike",), "tenant": ("acme",)}, [1]),
        ({"shadow": True}, [1, 2, 3, 4]),
        ({}, [1, 2, 3]),
    ],
)
def test_filters(bootstrap: str, filters: dict[str, Any], wanted: list[int]) -> None:
    topic = new_topic(bootstrap)
    send(bootstrap, topic, anomaly(1), anomaly(2, subject={"tenant": "globex"}),
         anomaly(3, rule="latency.p95", tier=2), anomaly(4, shadow=True, rule="x"))  # fmt: skip
    assert numbers(tokentrail.subscribe(bootstrap, topic=topic, since=0.0, idle_s=1.5, **filters)) == wanted


def test_it_begins_now_and_waits_for_a_broker_that_was_killed(servers: EmbeddedServers) -> None:
    address = servers.endpoints.kafka_bootstrap
    topic = new_topic(address)
    send(address, topic, anomaly(1))
    found: list[tokentrail.Anomaly] = []
    subscription = tokentrail.subscribe(address, topic=topic, kafka={"reconnect.backoff.max.ms": 200})
    reader = threading.Thread(target=lambda: found.extend(subscription), daemon=True)
    send(address, topic, anomaly(2))
    reader.start()
    servers.kill("kafka")
    time.sleep(1)
    servers.restart("kafka")
    send(address, topic, anomaly(3))
    deadline = time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    subscription._closed = True
    reader.join(5)
    subscription._consumer.close()
    assert numbers(found) == [2, 3]


def test_a_group_goes_on_behind_what_was_handled(bootstrap: str) -> None:
    topic = new_topic(bootstrap)
    send(bootstrap, topic, *(anomaly(number) for number in range(5)))
    fast = {"session.timeout.ms": 6000}
    with tokentrail.subscribe(bootstrap, topic=topic, since=0.0, group="pager", kafka=fast) as first:
        assert numbers([next(first), next(first)]) == [0, 1]
    # Number 1 was given and not yet handled: the next was never asked for.
    with tokentrail.subscribe(bootstrap, topic=topic, group="pager", idle_s=8, kafka=fast) as second:
        assert numbers(second) == [1, 2, 3, 4]


def test_what_cannot_be_read_is_said_at_once(bootstrap: str) -> None:
    with pytest.raises(tokentrail.SubscriptionError, match="no topic"):
        tokentrail.subscribe(bootstrap, topic="nothing-here")
    with pytest.raises(tokentrail.SubscriptionError, match="does not answer"):
        tokentrail.subscribe("127.0.0.1:1", connect_timeout_s=1)
