"""`verify` on the real Kafka and ClickHouse: the ports of `pipeline.audit.verify`, and the call that wires them.

Reads only. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.audit import copies, heads
from pipeline.audit.leaves import seal_key
from pipeline.audit.partition import Scope
from pipeline.audit.report import Report
from pipeline.audit.sources import Anchored, Checkpoint, Ends, Trust
from pipeline.audit.tables import Table
from pipeline.audit.verify import Progress, verify
from pipeline.errors import RetryableError
from pipeline.keys import load
from pipeline.settings import Settings
from pipeline.storage import ledger_copy, reading
from pipeline.storage.client import Client, connect
from pipeline.transport.admin import Epochs
from pipeline.transport.tail import Reader, read_all

KAFKA_S: Final = 10.0


def verify_installation(
    settings: Settings,
    *,
    settled: bool = False,
    chain: bool = False,
    from_clickhouse: bool = False,
    anchors: Sequence[Anchored] = (),
    progress: Progress | None = None,
) -> Report:
    """Reconcile an installation's Kafka, ledger and rows; see `pipeline.audit.verify`.

    Args:
        settings: The installation.
        settled: Nothing should be on its way any more.
        chain: Look at ClickHouse's copy of the ledger too.
        from_clickhouse: Ask ClickHouse only: fold its copy of the ledger, hold it to its signed heads and to anchors.
        anchors: Heads that were put away outside.
        progress: Called with (ranges checked, ranges in all).

    Raises:
        RetryableError: Kafka or ClickHouse does not answer.
        UsageError: The key root is not to be had.
    """
    scope = Scope(0, settled=settled, chain=chain or from_clickhouse, anchors=anchors)
    return check(settings, scope, from_clickhouse=from_clickhouse, progress=progress)[0]


def check(
    settings: Settings, scope: Scope, *, from_clickhouse: bool = False, progress: Progress | None = None
) -> tuple[Report, dict[int, Checkpoint]]:
    """What `pipeline.audit.verify.verify` says of an installation; `scope.partitions` 0 is as many as there are."""
    keys = load(settings)
    trust = Trust(seal_key(keys), heads.public_key(keys))
    with ExitStack() as stack:
        client = connect(settings, purpose="verify", timeout_s=300)
        stack.callback(client.close)
        sources: Database | Installation
        if from_clickhouse:
            sources = Database(client)
            count = ledger_copy.partitions(client)
        else:
            epochs = Epochs(settings)
            epochs.check()
            sources = Installation(settings, stack.enter_context(Reader(settings)), client, epochs)
            count = partition_count(settings)
        if not scope.partitions:
            scope = Scope(count, scope.settled, scope.chain, scope.anchors, scope.since)
        return verify(sources, trust, scope, progress)


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


class Database:
    """`pipeline.audit.sources.Sources` with ClickHouse alone."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def ends(self, partition: int) -> Ends | None:
        """Kafka is not asked."""
        return None

    def ledger(self, partition: int, start: int = 0) -> Iterable[tuple[int, bytes]]:
        """Every record of the partition's ledger, as it was copied."""
        end = start
        for row in ledger_copy.rows(self._client, partition, start):
            if row[copies.OFFSET] >= end:
                end = row[copies.OFFSET] + 1
                yield row[copies.OFFSET], row[copies.VALUE].encode()

    def copied(self, partition: int, start: int = 0) -> Iterable[tuple[Any, ...]]:
        """Rows of the copy of the ledger."""
        return ledger_copy.rows(self._client, partition, start)

    def groups(self, table: Table) -> Sequence[reading.Origin]:
        """What the table holds, by where it came from."""
        return reading.origins(self._client, table)

    def rows(self, table: Table, epoch: int, partition: int, first: int, next: int) -> Iterable[tuple[Any, ...]]:
        """Rows between two offsets in their order."""
        return reading.rows(self._client, table, reading.Span(epoch, partition, first, next))

    def held(self, table: Table, partition: int) -> Iterator[tuple[Any, ...]]:
        """Rows that legal holds keep."""
        kept = Table(f"held_{table.name}", table.columns[:-1])
        if self._client.command(f"EXISTS TABLE {self._client.database}.{kept.name}") != "1":
            return
        for group in reading.origins(self._client, kept):
            if group.partition == partition:
                span = reading.Span(group.epoch, partition, 0, group.highest + 1)
                yield from reading.rows(self._client, kept, span)


class Installation(Database):
    """`pipeline.audit.sources.Sources` of a running installation: the ledger is Kafka's."""

    def __init__(self, settings: Settings, reader: Reader, client: Client, epochs: Epochs) -> None:
        super().__init__(client)
        self._settings = settings
        self._reader = reader
        self._epochs = epochs

    def ends(self, partition: int) -> Ends | None:
        """The log's ends, as of now."""
        first, end = self._reader.bounds("calls.raw", partition)
        return Ends(self._epochs.current("calls.raw"), first, end, self._reader.bounds("calls", partition)[0])

    def ledger(self, partition: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Every record of the partition's ledger."""
        # With a reader of its own: it is read while other things are.
        for record in read_all(self._settings, "ledger", partition, start):
            yield record.offset, record.value or b""
