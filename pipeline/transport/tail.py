"""Read the end of a partition, or all of it, without a consumer group: for resuming and for folding the ledger.

Everything here blocks: call it in a thread (`StageContext.to_thread`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.settings import Settings
from pipeline.transport.ranges import KafkaRecord


def end_offset(settings: Settings, topic: str, partition: int) -> int:
    """Offset that the next record of the partition will get; `topic` is the logical name."""
    raise NotImplementedError


def start_offset(settings: Settings, topic: str, partition: int) -> int:
    """Lowest offset that the partition still holds; `topic` is the logical name."""
    raise NotImplementedError


def last_records(settings: Settings, topic: str, partition: int, count: int = 1) -> list[KafkaRecord]:
    """The last `count` records of a partition in log order, fewer when it holds fewer."""
    raise NotImplementedError


def read_all(
    settings: Settings,
    topic: str,
    partition: int,
    start: int = 0,
    keep: Callable[[KafkaRecord], bool] | None = None,
) -> Iterator[KafkaRecord]:
    """Every record from `start` to the end as it is when the call is made, filtered by `keep`."""
    raise NotImplementedError
    yield
