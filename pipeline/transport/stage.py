"""The port between a stage (a module in `agents/`) and the runtime that feeds it ranges.

A stage says what it reads, how large its ranges are and what to do with one; `pipeline.transport.runtime` owns group,
fetch, order, repeats, commits and the end of the process. A stage never touches Faust.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from pipeline.transport.ranges import KafkaRecord, Limits, Range, Record

if TYPE_CHECKING:
    from pipeline.keys import Keys
    from pipeline.settings import Settings
    from pipeline.transport.admin import Epochs
    from pipeline.transport.controls import ControlsReader
    from pipeline.transport.producer import RangeProducer

P = ParamSpec("P")
T = TypeVar("T")


class StageContext(Protocol):
    """What the runtime gives a stage in `open`; all of it lives as long as the process.

    Attributes:
        stage: Name of the stage.
        settings: The installation's settings.
        keys: The key store.
        producer: Idempotent producer; `deliver` returns when everything is acknowledged.
        controls: Reader of `llm.controls`.
        epochs: Epoch registry.
        worker_id: Unique for every start of a process.
    """

    stage: str
    settings: Settings
    keys: Keys
    producer: RangeProducer
    controls: ControlsReader
    epochs: Epochs
    worker_id: str

    async def to_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in the stage's bounded thread pool."""
        ...

    async def log_start(self, partition: int) -> int:
        """Lowest offset that the input partition still holds; proves a gap at the front (retention, deletion)."""
        ...

    async def log_end(self, partition: int) -> int:
        """Offset that the next record of the input partition will get."""
        ...

    def assigned_partitions(self) -> frozenset[int]:
        """Input partitions that this process holds now."""
        ...


class Stage(Protocol):
    """One stage of the pipeline.

    Errors out of `work`: RetryableError repeats the same range with back-off; FatalError ends the process with its
    exit code; any other exception is a bug, is repeated three times and then ends the process with exit code 70. A
    range that failed is never committed.

    Attributes:
        name: Name of the stage; the consumer group is made from it.
        source: Logical name of the topic it reads.
        limits: How large its ranges are.
    """

    name: str
    source: str
    limits: Limits

    async def open(self, context: StageContext) -> None:
        """Called once, before any assignment."""
        ...

    async def assigned(self, partition: int) -> int | None:
        """Input offset to resume at; None: the committed offset, else the beginning. Called at every assignment."""
        ...

    async def work(self, range: Range) -> None:
        """Work one range off; returns only when everything is durable. One at a time a partition."""
        ...

    async def revoked(self, partition: int) -> None:
        """Drop the partition's state. `work` of that partition has been cancelled."""
        ...

    async def idle(self, partition: int, now_s: float) -> None:
        """Called every 0.1-0.2 s for each assigned partition between ranges, never beside `work` of that partition.

        `now_s` is the loop's monotonic clock.
        """
        ...

    async def close(self) -> None:
        """Called once, after the last `work`."""
        ...


# For annotations in stages: a coroutine function as `work` is.
Work = Callable[[Range], Awaitable[None]]

__all__ = ["KafkaRecord", "Limits", "Range", "Record", "Stage", "StageContext", "Work"]
