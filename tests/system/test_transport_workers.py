"""Stage processes on real Kafka: nothing is lost or committed too early, whatever dies, hangs or moves."""

from __future__ import annotations

import os
import signal

import pytest
from confluent_kafka import TopicPartition
from transport_pipeline import Pipeline

from pipeline.errors import UnknownEpochError
from pipeline.transport.admin import migrate_topics
from pipeline.transport.tail import end_offset, read_all
from tests.installation import wait_for

pytest_plugins = ["transport_support"]
pytestmark = pytest.mark.system

EVERYWHERE = range(4)


def assert_commits_are_covered(kafka: Pipeline) -> None:
    committed = kafka.committed()  # before what was done is read: the other order would see work as missing
    for partition, offset in committed.items():
        missing = set(range(max(0, offset))) - kafka.done(partition)
        assert not missing, f"partition {partition}: {offset} committed, {len(missing)} before it never worked on"


def test_a_killed_worker_loses_nothing_and_nothing_is_committed_ahead_of_the_work(kafka: Pipeline) -> None:
    kafka.fill(2_400)
    for name in ("a", "b"):
        kafka.start(name, own_place=True, work_s=0.2)
    wait_for("both work", lambda: {entry["worker"] for entry in kafka.told(what="begin")} == {"a", "b"})
    wait_for("some is done", lambda: len(kafka.told(what="begin")) > 12)
    os.kill(kafka.workers["a"].pid, signal.SIGKILL)
    assert sum(len(kafka.done(partition)) for partition in EVERYWHERE) < 9_600, "the kill came too late to count"

    def finished() -> bool:
        assert_commits_are_covered(kafka)
        return all(len(kafka.done(partition)) == 2_400 for partition in EVERYWHERE)

    wait_for("the survivor has done all", finished, 60)
    for partition in EVERYWHERE:
        ranges = [(entry["first"], entry["next"]) for entry in kafka.told(did=partition)]
        assert len(ranges) == len(set(ranges)), "own places: what was written down is not done again"


def test_a_stop_finishes_the_range_at_work_commits_it_and_ends_with_0(kafka: Pipeline) -> None:
    kafka.fill(2_000)
    worker = kafka.start("a", work_s=0.3)
    wait_for("it works", lambda: len(kafka.told(what="begin")) >= 8)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert len(kafka.told(what="close")) == 1
    begun = {(entry["partition"], entry["first"]) for entry in kafka.told(what="begin")}
    done = {(p, entry["first"]) for p in EVERYWHERE for entry in kafka.told(did=p)}
    assert begun == done
    assert_commits_are_covered(kafka)


def test_the_place_a_stage_names_wins_over_the_committed_offset(kafka: Pipeline) -> None:
    kafka.fill(1_000)
    kafka.commit({0: 700, 1: 700})
    kafka.start("a", start={"0": 120, "2": 30})
    wait_for("all has begun", lambda: all(kafka.told(did=p) for p in EVERYWHERE))
    first = {p: min(entry["first"] for entry in kafka.told(did=p)) for p in EVERYWHERE}
    assert first == {0: 120, 1: 700, 2: 30, 3: 0}


def test_a_stuck_range_stops_only_its_partition(kafka: Pipeline) -> None:
    kafka.fill(1_000)
    kafka.start("a", stuck=[1])
    wait_for("the others are done", lambda: all(len(kafka.done(p)) == 1_000 for p in (0, 2, 3)))
    assert kafka.done(1) == set()
    wait_for("the others are committed", lambda: {p: o for p, o in kafka.committed().items() if p != 1} == {
        0: 1_000, 2: 1_000, 3: 1_000,
    })  # fmt: skip
    assert kafka.committed().get(1, -1) <= 0


def test_ranges_of_revoked_partitions_acknowledge_nothing_and_are_done_by_the_new_owner(kafka: Pipeline) -> None:
    kafka.fill(500)
    kafka.start("a", stuck=[0, 1, 2, 3])
    wait_for("a holds them all", lambda: len(kafka.told(what="begin", worker="a")) == 4)
    kafka.start("b")
    wait_for("a was told", lambda: len(kafka.told(what="revoked", worker="a")) == 4)
    taken = wait_for("b has two", lambda: len(kafka.told(what="assigned", worker="b")) == 2 and [
        entry["partition"] for entry in kafka.told(what="assigned", worker="b")
    ])  # fmt: skip
    wait_for("b has done its own", lambda: all(len(kafka.done(p)) == 500 for p in taken))
    assert [entry for p in EVERYWHERE for entry in kafka.told(did=p, worker="a")] == []
    assert all(min(entry["first"] for entry in kafka.told(did=p)) == 0 for p in taken)
    wait_for("b commits", lambda: all(kafka.committed().get(p) == 500 for p in taken))
    assert all(kafka.committed().get(p, -1) <= 0 for p in set(EVERYWHERE) - set(taken))


def test_a_failed_delivery_sends_the_whole_range_again(kafka: Pipeline) -> None:
    kafka.fill(400)
    kafka.start("a", copy_to="facts", message_timeout_s=1, max_records=50, work_s=0.1)
    wait_for("it copies", lambda: len([entry for p in EVERYWHERE for entry in kafka.told(did=p)]) >= 4)
    broker = kafka.servers.pids()["kafka"]
    os.kill(broker, signal.SIGSTOP)
    try:
        failed = wait_for("a delivery fails", lambda: kafka.told(what="failed", error="DeliveryError"))
    finally:
        os.kill(broker, signal.SIGCONT)
    wait_for("all is copied", lambda: all(len(kafka.done(p)) == 400 for p in EVERYWHERE))
    for entry in failed:
        assert len(kafka.told(what="begin", partition=entry["partition"], first=entry["first"])) >= 2
    for partition in EVERYWHERE:
        copies = [int((r.value or b"").split()[1]) for r in read_all(kafka.settings, "facts", partition)]
        due = 0
        for number in copies:  # as every reader does: only the next position counts
            due += number == due
        assert due == 400


def test_a_topic_that_was_recreated_stops_the_workers_until_it_is_registered(kafka: Pipeline) -> None:
    assert migrate_topics(kafka.settings) == []
    name = kafka.settings.topic("facts")
    kafka.admin.delete_topics([name])[name].result()
    wait_for("it is gone", lambda: name not in kafka.admin.list_topics(timeout=5).topics)
    assert kafka.start("a").wait(20) == UnknownEpochError.exit_code
    assert "tokentrail migrate" in kafka.output("a")
    assert migrate_topics(kafka.settings) == [f"Topic {name} is created.", f"Topic {name} is in epoch 2."]
    kafka.fill(10)
    kafka.start("b")
    wait_for("it works", lambda: kafka.told(what="begin", worker="b"))


def test_missing_offsets_are_seen_in_front_and_inside(kafka: Pipeline) -> None:
    kafka.fill(300)
    kafka.fill(300, **{"transactional.id": kafka.settings.prefix})
    # A marker takes an offset of its own, a moment after the commit.
    wait_for("markers", lambda: all(end_offset(kafka.settings, "calls.raw", p) == 601 for p in EVERYWHERE))
    kafka.fill(300)
    name = kafka.settings.topic("calls.raw")
    for future in kafka.admin.delete_records([TopicPartition(name, p, 100) for p in EVERYWHERE]).values():
        future.result()
    kafka.start("a", own_place=True, max_records=250)
    wait_for("all is done", lambda: all(max(kafka.done(p), default=0) == 900 for p in EVERYWHERE))
    assert {entry["log_start"] for entry in kafka.told(what="assigned")} == {100}
    for partition in EVERYWHERE:
        ranges = kafka.told(did=partition)
        assert [gap for entry in ranges for gap in entry["gaps"]] == [[0, 99], [600, 600]]
        assert sum(entry["n"] for entry in ranges) == 800
        assert [entry["first"] for entry in ranges[1:]] == [entry["next"] for entry in ranges[:-1]]
