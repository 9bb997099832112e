"""Producer, readers, controls, epochs and snapshots on real Kafka."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import msgspec
import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer
from transport_pipeline import Pipeline

from pipeline.errors import DeliveryError, RetryableError
from pipeline.settings import Settings
from pipeline.transport import snapshots
from pipeline.transport.admin import Epochs
from pipeline.transport.controls import ControlsReader
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.snapshots import Snapshot, restore, write
from pipeline.transport.tail import end_offset, last_records, read_all, start_offset
from schemas.control import Control
from tests.installation import wait_for

pytest_plugins = ["transport_support"]
pytestmark = [pytest.mark.system, pytest.mark.anyio]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def until_async(condition: Callable[[], object], deadline_s: float = 15.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - conditions of any kind
            await asyncio.sleep(0.02)


def values(settings: Settings, topic: str, partition: int) -> list[bytes | None]:
    return [record.value for record in read_all(settings, topic, partition)]


# The producer


async def test_offsets_come_back_in_the_order_of_the_records_whatever_their_partitions(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)
    records = [Outgoing("facts", b"%d" % n, partition=n % 3) for n in range(300)]
    offsets = await producer.deliver(records)
    await producer.close()
    for partition in range(3):
        found = {record.offset: record.value for record in read_all(kafka.settings, "facts", partition)}
        mine = [(o, r.value) for o, r in zip(offsets, records, strict=True) if r.partition == partition]
        assert sorted(mine) == mine == list(found.items())


async def test_a_key_goes_where_a_java_client_would_send_it(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)
    keys = [b"tenant-%d" % n for n in range(40)]
    await producer.deliver([Outgoing("facts", key, key, headers=[("schema", b"x")]) for key in keys])
    await producer.close()
    murmur2 = DefaultPartitioner()
    for partition in range(4):
        expected = [key for key in keys if murmur2(key, [0, 1, 2, 3], [0, 1, 2, 3]) == partition]
        records = list(read_all(kafka.settings, "facts", partition))
        assert [record.value for record in records] == expected
        assert all(record.headers == [("schema", b"x")] for record in records)


async def test_a_record_that_the_broker_does_not_take_is_an_error_for_the_whole_delivery(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings, message_timeout_s=2)
    with pytest.raises(DeliveryError, match="1 records were not acknowledged") as failure:
        await producer.deliver([Outgoing("facts", b"fine", partition=0), Outgoing("nowhere", b"lost", partition=0)])
    assert failure.value.failed == 1
    with pytest.raises(DeliveryError, match="MSG_SIZE_TOO_LARGE"):
        await producer.deliver([Outgoing("facts", b"x" * 5_000_000, partition=0)])
    assert await producer.deliver([Outgoing("facts", b"fine", partition=1)]) == [0]
    await producer.close()


async def test_a_broken_producer_is_replaced_and_the_next_delivery_succeeds(
    kafka: Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    # With this guarantee a record that the broker refuses is fatal to the client, as a lost sequence is without it.
    strict = kafka.settings.model_copy(update={"kafka_security": {"enable.gapless.guarantee": "true"}})
    producer = RangeProducer(strict, message_timeout_s=5)
    refused = Outgoing("facts", os.urandom(1_500_000), partition=1)
    with pytest.raises(DeliveryError):
        await producer.deliver([refused, Outgoing("facts", b"in the same range", partition=0)])
    await until_async(lambda: "the producer broke and was replaced" in caplog.text)
    await producer.deliver([Outgoing("facts", b"after", partition=0)])
    await producer.close()
    assert values(kafka.settings, "facts", 0)[-1] == b"after"


# The readers


async def test_the_tail_is_found_behind_transaction_markers(kafka: Pipeline) -> None:
    for _ in range(3):
        kafka.fill(1, topic="facts", **{"transactional.id": kafka.settings.prefix})
    wait_for("markers", lambda: end_offset(kafka.settings, "facts", 2) == 6)
    assert [record.offset for record in last_records(kafka.settings, "facts", 2, 1)] == [4]
    assert [record.offset for record in last_records(kafka.settings, "facts", 2, 3)] == [0, 2, 4]
    assert [record.offset for record in last_records(kafka.settings, "facts", 2, 9)] == [0, 2, 4]


async def test_an_empty_partition_has_no_tail(kafka: Pipeline) -> None:
    assert last_records(kafka.settings, "facts", 0, 5) == []
    assert list(read_all(kafka.settings, "facts", 0)) == []
    assert (start_offset(kafka.settings, "facts", 0), end_offset(kafka.settings, "facts", 0)) == (0, 0)


async def test_read_all_begins_where_told_and_keeps_what_is_wanted(kafka: Pipeline) -> None:
    kafka.fill(2_500, topic="facts")
    kept = list(read_all(kafka.settings, "facts", 3, 100, lambda record: record.offset % 2 == 0))
    assert [record.offset for record in kept] == list(range(100, 2_500, 2))


# Controls


async def test_controls_are_read_with_their_append_time_and_the_latest_of_a_key_counts(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)

    async def publish(control: Control) -> int:
        encoded = Outgoing("controls", msgspec.json.encode(control), control.key().encode())
        return (await producer.deliver([encoded]))[0]

    await publish(Control(kind="policy", version=1, body={"days": 30}))
    reader = ControlsReader(kafka.settings)
    reader.start()
    await reader.ready()
    assert reader.lag_s < 5
    assert [control.version for _, control in reader.records("policy")] == [1]
    await publish(Control(kind="policy", version=2))
    await publish(Control(kind="switch", selector={"tenant": "a"}, body={"state": "off"}))
    last = await publish(Control(kind="switch", selector={"tenant": "a"}, body={"state": "on"}))
    await until_async(lambda: reader.position == last + 1)
    await reader.wait_current()
    (first_ms, first), (second_ms, second) = reader.records("policy")
    assert (first.version, second.version) == (1, 2)
    assert reader.at("policy", first_ms) == [(first_ms, first)]
    assert first_ms <= second_ms
    assert [control.body for _, control in reader.records("switch")] == [{"state": "on"}]
    await asyncio.to_thread(reader.close)
    await producer.close()


async def test_controls_that_cannot_be_read_are_an_error_not_an_empty_list(kafka: Pipeline) -> None:
    reader = ControlsReader(kafka.settings.model_copy(update={"prefix": "nowhere."}))
    reader.start()
    with pytest.raises(RetryableError, match="tokentrail migrate"):
        await reader.ready(timeout_s=1.0)
    assert reader.lag_s == float("inf")
    await asyncio.to_thread(reader.close)


async def test_epochs_are_counted_from_one(kafka: Pipeline) -> None:
    epochs = Epochs(kafka.settings)
    epochs.check()
    assert {epochs.current(topic) for topic in ("calls.raw", "facts", "calls", "ledger")} == {1}


# Snapshots


def snapshot(place: int, payload: bytes, epoch: int = 1) -> Snapshot:
    return Snapshot("meter", 1, input_next=place, source_next=place * 2, payload=payload, epoch=epoch)


async def test_a_large_snapshot_comes_back_whole(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)
    assert restore(kafka.settings, "meter", 1) is None
    written = snapshot(100, os.urandom(3_000_000))
    await write(producer, written)
    await write(producer, Snapshot("judge", 1, 900, 900, b"another stage's"))
    assert end_offset(kafka.settings, "snapshots", 1) == 5
    assert restore(kafka.settings, "meter", 1) == written
    assert restore(kafka.settings, "meter", 0) is None
    await producer.close()


async def test_a_snapshot_that_lacks_a_chunk_does_not_count(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)
    await write(producer, snapshot(100, b"whole"))
    chunks = snapshots._chunks(snapshot(200, os.urandom(3_000_000)))
    await producer.deliver([chunks[0], *chunks[2:]])
    assert restore(kafka.settings, "meter", 1) == snapshot(100, b"whole")
    await producer.close()


async def test_a_late_writer_does_not_win_with_an_older_state(kafka: Pipeline) -> None:
    producer = RangeProducer(kafka.settings)
    await write(producer, snapshot(300, b"furthest"))
    for place in range(100, 200):
        await write(producer, snapshot(place, b"a worker that had lost the partition"))
    assert restore(kafka.settings, "meter", 1) == snapshot(300, b"furthest")
    await write(producer, snapshot(5, b"after the topic was recreated", epoch=2))
    assert restore(kafka.settings, "meter", 1) == snapshot(5, b"after the topic was recreated", epoch=2)
    await producer.close()


def test_a_foreign_record_on_the_snapshot_topic_is_passed_over(kafka: Pipeline) -> None:
    producer = Producer(kafka.settings.librdkafka())
    producer.produce(kafka.settings.topic("snapshots"), b"?", partition=1)
    assert producer.flush(10) == 0
    assert restore(kafka.settings, "meter", 1) is None
