"""`tokentrail subscribe` on real Kafka."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid

import msgspec
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from schemas.anomaly import Anomaly, Span

pytest_plugins = ["cli_support"]
pytestmark = pytest.mark.system


def anomaly(tenant, number=1, revision=1, **changes):
    now = time.time_ns() // 10**6
    values = {
        "id": f"{tenant}-{number}", "rule": "cost.spike", "tier": 1, "severity": "SEV1", "state": "open",
        "revision": revision, "subject": {"tenant": tenant}, "window": Span(now - 60_000, now), "observed": 2.0,
        "baseline": 1.0, "threshold": 2.0, "ratio": 2.0, "unit": "usd", "evidence": (),
        "why": f"Finding {number} of {tenant}.", "runbook": "", "opened_at": now, "detected_at": now,
    }  # fmt: skip
    return Anomaly(**(values | changes))


def publish(installation, *anomalies):
    producer = Producer(installation.settings.librdkafka())
    for each in anomalies:
        value = each if isinstance(each, bytes) else msgspec.json.encode(each)
        producer.produce(installation.settings.topic("anomalies"), value)
    assert producer.flush(20) == 0


@pytest.fixture
def tenant():
    return f"t-{uuid.uuid4().hex[:8]}"


def test_everything_from_the_start_each_revision_once(installation, run, tenant):
    resolved = anomaly(tenant, 1, 2, state="resolved")
    publish(installation, anomaly(tenant), anomaly(tenant), b"junk", resolved, anomaly(tenant, 2))
    done = run("subscribe", "--from-start", "--tenant", tenant, "--count", 3, "--timeout", 20, "--json")
    assert done.code == 0, done.err
    assert [(line["id"][-1], line["revision"]) for line in done.lines] == [("1", 1), ("1", 2), ("2", 1)]
    assert "4 bytes that is no anomaly" in done.err


def test_filters_let_through_what_they_name(installation, run, tenant):
    publish(
        installation,
        anomaly(tenant, 1),
        anomaly(tenant, 2, rule="loop.runaway"),
        anomaly(tenant, 3, rule="cost.daily", tier=2, severity="SEV2"),
    )
    ask = ("subscribe", "--since", "1h", "--tenant", tenant, "--timeout", 20, "--json", "--count")
    assert [line["id"][-1] for line in run(*ask, 2, "--rule", "cost.").lines] == ["1", "3"]
    assert [line["id"][-1] for line in run(*ask, 1, "--tier", 2).lines] == ["3"]


def test_from_now_on_means_nothing_that_was_and_everything_that_comes(installation, tenant):
    publish(installation, anomaly(tenant, 1))
    command = ["subscribe", "--tenant", tenant, "--count", "1", "--timeout", "30", "--data", str(installation.folder)]
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli.main", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert child.stderr is not None
        assert "Listening to llm.anomalies" in child.stderr.readline()
        publish(installation, anomaly(tenant, 2))
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 0, err
    assert len(out.splitlines()) == 1
    assert f"SEV1 page   cost.spike opened: Finding 2 of {tenant}." in out


def test_too_few_within_the_time_is_a_failure(run, tenant):
    begun = time.monotonic()
    done = run("subscribe", "--tenant", tenant, "--count", 1, "--timeout", 0.5)
    assert done.code == 1 and "0 of 1 came" in done.err
    assert time.monotonic() - begun < 15
    assert run("subscribe", "--tenant", tenant, "--timeout", 0.2).code == 0


def test_listening_leaves_no_group_behind(installation, run, tenant):
    assert run("subscribe", "--from-start", "--timeout", 1).code == 0
    client = AdminClient(installation.settings.librdkafka())
    groups = [group.group_id for group in client.list_consumer_groups(request_timeout=10).result(15).valid]
    assert any(group.endswith("measure") for group in groups)
    assert not [group for group in groups if "subscribe" in group]


def test_start_and_since_together_are_refused(run):
    done = run("subscribe", "--from-start", "--since", "1h")
    assert done.code == 2 and "not both" in done.err
    assert done.out == ""
