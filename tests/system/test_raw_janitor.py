"""Raw text goes hours after its row and its fact, and not before; time to loss is measured for every reader."""

from __future__ import annotations

import uuid

import pytest
from confluent_kafka import TopicPartition
from prometheus_client import REGISTRY

from agents.keeping.janitor import Janitor
from agents.keeping.job import Keeping
from agents.keeping.losses import Losses
from pipeline.keys import load
from pipeline.storage.client import connect
from tests.installation import wait_for

pytest_plugins = ["cli_support"]
pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

PARTITION = 2
TOPIC = "llm.calls.raw"


@pytest.fixture
def at(installation):
    """What `keep` gives its jobs."""
    client = connect(installation.settings, purpose="test")
    yield Keeping(installation.settings, client, load(installation.settings), 4)
    client.close()


def send(installation, count=5):
    """Events in one partition; the offset after the last."""
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    installation.produce([{"tenant": tenant, "input": "text"} for _ in range(count)], key=b"one", partition=PARTITION)
    return tenant, installation.ends("calls.raw")[PARTITION]


def first(installation):
    with installation.consumer() as consumer:
        return consumer.get_watermark_offsets(TopicPartition(TOPIC, PARTITION), 10)[0]


def facts_of(installation, tenant):
    return sum(tenant.encode() in message.value() for message in installation.read("facts"))


def rows_of(installation, tenant):
    return installation.clickhouse().query("SELECT count() FROM calls WHERE tenant = {t:String}", {"t": tenant})


def clean(run, hours=0):
    done = run("raw", "clean", "--hours", hours, "--json")
    assert done.code == 0, done.err
    return done.json["deleted"]


def test_what_has_its_row_and_its_fact_for_long_enough_is_unreadable(installation, run):
    tenant, end = send(installation)
    assert run("raw", "clean", "--json").json["deleted"] == 0, "six hours have not passed"

    # Ticks move the ranges on; the sink accounts for silence once a minute, or with the next record.
    def gone():
        send(installation, 1)
        planned = run("raw", "clean", "--hours", 0, "--dry-run", "--json").json
        return planned["partitions"].get(str(PARTITION), [0, 0])[1] >= end

    before = first(installation)
    wait_for("row, fact and clean record of all of them", gone, 60, 0.5)
    assert first(installation) == before, "a dry run deletes nothing"
    assert clean(run) > 0
    assert first(installation) >= end
    with installation.consumer() as consumer:
        consumer.assign([TopicPartition(TOPIC, PARTITION, end - 1)])
        for message in consumer.consume(50, 2):
            assert message.error() is not None or message.offset() >= end
    assert rows_of(installation, tenant).result_rows == [(5,)]
    assert "may go" in run("raw", "show").out
    assert run("verify").code == 0


def test_a_sink_that_stands_still_holds_the_janitor_back(installation, run):
    with installation.without("sink"):
        tenant, end = send(installation)
        wait_for("their facts", lambda: facts_of(installation, tenant) == 5, 20, 0.3)
        _, later = send(installation, 1)
        wait_for("the range after them", lambda: installation.ends("calls")[PARTITION] >= later, 20, 0.3)
        clean(run)
        assert first(installation) <= end - 5
    wait_for("their rows", lambda: rows_of(installation, tenant).result_rows == [(5,)], 40, 0.3)


def test_the_job_keeps_what_is_younger_than_the_setting_says(installation, at):
    before = first(installation)
    Janitor().run(at)
    assert first(installation) == before


def test_time_to_loss_is_the_topics_life_less_the_age_of_what_waits(installation, at):
    """A reader that nobody runs has read nothing: its oldest record ages."""
    Losses().run(at)

    def left(reader, topic):
        found = [
            sample
            for metric in REGISTRY.collect()
            if metric.name == "tokentrail_time_to_loss_seconds"
            for sample in metric.samples
            if sample.labels["stage"] == reader and sample.labels["topic"] == topic
        ]
        return {int(sample.labels["partition"]): sample.value for sample in found}

    week_s = 7 * 86_400
    guarded = left("guard", "facts")
    assert len(guarded) == 4 and all(0 < value < week_s for value in guarded.values()), guarded
    assert left("archive", "windows") == {0: week_s}

    def falls():
        Losses().run(at)
        return left("guard", "facts")[0] < guarded[0]

    wait_for("time to pass", falls, 10)
