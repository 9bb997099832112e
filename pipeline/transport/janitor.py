"""Delete raw records whose row and fact have existed for some hours; what is deleted is unreadable at once.

How things stood some hours ago is read from the logs themselves, by the time of their records, so that nothing has to
be remembered and a restart changes nothing. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.audit.janitor import bound
from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.transport.admin import Epochs
from pipeline.transport.ledgers import state_before
from pipeline.transport.tail import Reader
from schemas.clean import Clean
from schemas.fact import Fact

SOURCE: Final = "calls.raw"
REQUEST_S: Final = 15.0
# A record of the output may be missing at an offset (transaction markers); so far back one is looked for.
LOOK_BACK: Final = 50

_fact = msgspec.json.Decoder(Fact).decode
_clean = msgspec.json.Decoder(Clean).decode


@dataclass(frozen=True, slots=True)
class Outdated:
    """What of one raw partition may go.

    Attributes:
        partition: Which.
        first: Lowest offset that is still there.
        next: Offset below which nothing is needed any more; `first` or less: nothing may go.
        end: Offset that the next record will get.
    """

    partition: int
    first: int
    next: int
    end: int

    @property
    def records(self) -> int:
        """How many offsets may go."""
        return max(0, self.next - self.first)


def outdated(settings: Settings, partitions: int, before_ms: int) -> list[Outdated]:
    """What may go of each partition: what had its row and its fact before `before_ms` (milliseconds since 1970).

    Raises:
        RetryableError: Kafka does not answer.
        UnknownEpochError: The raw topic was recreated and `tokentrail migrate` was not run.
    """
    epochs = Epochs(settings)
    epochs.check()
    found = []
    with Reader(settings) as reader:
        for partition in range(partitions):
            ledger_end = reader.offset_at("ledger", partition, before_ms)
            state = state_before(reader, partition, ledger_end) if ledger_end else None
            fact = _last(reader, "facts", partition, before_ms, _fact)
            clean = _last(reader, "calls", partition, before_ms, lambda value: _clean(value).fact)
            first, end = reader.bounds(SOURCE, partition)
            limit = bound(epochs.current(SOURCE), state, fact, clean)
            found.append(Outdated(partition, first, min(limit, end), end))
    return found


def delete(settings: Settings, found: list[Outdated]) -> int:
    """Delete what `outdated` found; returns the number of offsets that are gone.

    Raises:
        RetryableError: Kafka does not answer or refuses; what was deleted until then stays deleted.
    """
    due = {each.partition: each for each in found if each.records}
    if not due:
        return 0
    name = settings.topic(SOURCE)
    client = AdminClient(settings.librdkafka(**{"log_level": 3, "client.id": "tokentrail-janitor"}))
    places = [TopicPartition(name, each.partition, each.next) for each in due.values()]
    gone = 0
    try:
        for place, answer in client.delete_records(places, request_timeout=REQUEST_S).items():
            gone += answer.result(REQUEST_S).low_watermark - due[place.partition].first
    except KafkaException as error:
        raise RetryableError(f"Kafka does not delete records of {name}: {error.args[0].str()}.") from error
    return gone


def _last(reader: Reader, topic: str, partition: int, before_ms: int, read: Callable[[bytes], Fact]) -> Fact | None:
    """The last readable record of a topic that is older than `before_ms`; None without one."""
    start = reader.bounds(topic, partition)[0]
    end = reader.offset_at(topic, partition, before_ms)
    for back in (1, LOOK_BACK):
        records = list(reader.read(topic, partition, max(start, end - back), end))
        if records:
            try:
                return read(records[-1].value or b"")
            except msgspec.MsgspecError:
                return None
    return None
