"""`verify` on the real Kafka and ClickHouse: the ports of `pipeline.audit.verify`, and the call that wires them.

Reads only. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.audit.batch import Slot, build
from pipeline.audit.leaves import leaf
from pipeline.audit.positions import Mark
from pipeline.audit.report import Report
from pipeline.audit.sources import Ends, Leaves
from pipeline.audit.tables import OFFSET, TABLES, Table
from pipeline.audit.verify import Progress, verify
from pipeline.errors import RetryableError
from pipeline.keys import Keys, load
from pipeline.settings import Settings
from pipeline.storage import reading
from pipeline.storage.client import Client, connect
from pipeline.transport.admin import Epochs
from pipeline.transport.tail import Reader, read_all
from schemas.clean import Clean
from schemas.ledger import Intent

KAFKA_S: Final = 10.0
_read = msgspec.json.Decoder(Clean).decode


def verify_installation(settings: Settings, *, settled: bool = False, progress: Progress | None = None) -> Report:
    """Reconcile an installation's Kafka, ledger and rows; see `pipeline.audit.verify.verify`.

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
        UsageError: The key root is not to be had.
    """
    client = connect(settings, purpose="verify", timeout_s=300)
    try:
        with Reader(settings) as reader:
            epochs = Epochs(settings)
            epochs.check()
            return verify(
                Installation(settings, reader, client, epochs, load(settings)),
                partition_count(settings),
                settled=settled,
                progress=progress,
            )
    finally:
        client.close()


def partition_count(settings: Settings) -> int:
    """How many partitions the ledger has, and so the raw topic.

    Raises:
        RetryableError: Kafka does not answer or has no such topic.
    """
    topic = settings.topic("ledger")
    try:
        found = AdminClient(settings.librdkafka(log_level=3)).list_topics(topic, timeout=KAFKA_S)
    except KafkaException as error:
        raise RetryableError(f"Kafka does not say how many partitions {topic} has") from error
    count = len(found.topics[topic].partitions)
    if not count:
        raise RetryableError(f"There is no topic {topic}: run `tokentrail migrate`")
    return count


class Installation:
    """`pipeline.audit.verify.Sources` of a running installation."""

    def __init__(self, settings: Settings, reader: Reader, client: Client, epochs: Epochs, keys: Keys) -> None:
        self._settings = settings
        self._reader = reader
        self._client = client
        self._epochs = epochs
        self._keys = keys

    def ends(self, partition: int) -> Ends:
        """The log's ends, as of now."""
        first, end = self._reader.bounds("calls.raw", partition)
        return Ends(self._epochs.current("calls.raw"), first, end, self._reader.bounds("calls", partition)[0])

    def ledger(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Every record of the partition's ledger."""
        # With a reader of its own: it is read while other things are.
        for record in read_all(self._settings, "ledger", partition):
            yield record.offset, record.value or b""

    def groups(self, table: Table) -> Sequence[reading.Origin]:
        """What the table holds, by where it came from."""
        return reading.origins(self._client, table)

    def rows(self, table: Table, epoch: int, partition: int, first: int, next: int) -> Iterable[tuple[Any, ...]]:
        """Rows between two offsets in their order."""
        return reading.rows(self._client, table, reading.Span(epoch, partition, first, next))

    def made_of(self, partition: int, intent: Intent) -> Leaves | None:
        """The leaves a range must have, made again from `llm.calls`; None when that has forgotten it."""
        first, end = self._reader.bounds("calls", partition)
        if intent.input_epoch != self._epochs.current("calls") or intent.input_first < first or intent.input_next > end:
            return None
        mark = Mark(intent.epoch, intent.first)
        slots = []
        for record in self._reader.read("calls", partition, intent.input_first, intent.input_next):
            try:
                clean = _read(record.value or b"")
            except msgspec.MsgspecError:
                continue
            if mark.offer(clean.fact.position, clean.fact.next_offset) == "apply":
                slots.append(Slot(record.offset, clean, len(record.value or b"")))
        if not slots:
            return None
        batch = build(slots, intent.first, intent.input_next, self._keys, intent.refused)
        return {
            part.cell: {row[OFFSET]: leaf(TABLES[part.cell.table], row) for row in part.rows} for part in batch.parts
        }
