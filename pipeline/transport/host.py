"""Between the Faust plug-in and the lanes: assignments open lanes, events feed them, lanes hold and seek the consumer.

Holds no state of its own beyond the lanes and decides nothing but where a partition begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaError
from faust.types import TP

from pipeline.errors import RetryableError, UnknownEpochError
from pipeline.transport.lanes import Lanes
from pipeline.transport.plugin import Fetch, RangeConsumer
from pipeline.transport.stage import Stage

T = TypeVar("T")

# A range at work when its partition is taken away may finish; the group waits for us as long.
REVOKE_GRACE_S: Final = 3.0
# Longer than this a fetch is not put off, whatever a stage's linger.
MOST_PACE_S: Final = 0.1
REQUEST_S: Final = 15.0


class Host:
    """Host of the plug-in and source of the lanes."""

    def __init__(self, app: Any, stage: Stage, topic: str, fail: Callable[[BaseException], None]) -> None:
        self._app = app
        self._topic = topic
        self.pace_s = min(stage.limits.linger_s, MOST_PACE_S)
        self.lanes = Lanes(stage, topic, self, fail)

    @property
    def consumer(self) -> RangeConsumer:
        """The application's consumer."""
        consumer: RangeConsumer = self._app.consumer
        return consumer

    def fetched(self, event: Any) -> None:
        """Take one event of the stream."""
        fetch: Fetch = event.value
        self.lanes.put(fetch.tp.partition, fetch.serial, fetch.records, event.ack)

    # What the plug-in calls

    def on_assigned(self, partitions: Collection[TP]) -> None:
        """Open a lane for each partition."""
        self.lanes.open([tp.partition for tp in partitions], self.consumer.serial)

    async def on_revoked(self, partitions: Collection[TP]) -> None:
        """Let ranges finish for a moment and end the lanes."""
        await self.lanes.close([tp.partition for tp in partitions], REVOKE_GRACE_S)

    # What the lanes call

    async def place(self, partition: int, wanted: int | None) -> int:
        """The input offset to begin at: the wanted one, else the committed one, else 0.

        0 and not the log's start, because a stage that proves gaps must see what the log has lost already.

        Raises:
            RetryableError: Kafka does not answer.
            UnknownEpochError: The log ends before that offset.
        """
        tp = TP(self._topic, partition)
        offset = wanted
        if offset is None:
            offset = await _asked(self.consumer.committed(tp)) or 0
        _, end = await _asked(self.consumer.bounds(tp))
        if offset > end:
            raise UnknownEpochError(
                f"{self._topic}/{partition} ends at {end}, but {offset} and later were due: the topic was recreated or "
                "its log was cut back. Run `tokentrail migrate` and start again."
            )
        return offset

    async def start_at(self, partition: int, offset: int, serial: int) -> bool:
        """Begin to fetch; False when assignment `serial` has passed."""
        return await _asked(self.consumer.start_at(TP(self._topic, partition), offset, serial))

    def hold(self, partition: int, held: bool) -> None:
        """Fetch no more of a partition, or again."""
        tps = {TP(self._topic, partition)}
        if held:
            self.consumer.pause_partitions(tps)
        else:
            self.consumer.resume_partitions(tps)

    # What the runtime and stages call

    async def log_start(self, partition: int) -> int:
        """Lowest offset that the input partition still holds."""
        return (await _asked(self.consumer.bounds(TP(self._topic, partition))))[0]

    async def log_end(self, partition: int) -> int:
        """Offset that the next record of the input partition will get."""
        return (await _asked(self.consumer.bounds(TP(self._topic, partition))))[1]

    async def backlog(self) -> dict[int, tuple[int, int]]:
        """For each partition being fetched: the offset that is fetched next, and the log end."""
        return {tp.partition: ends for tp, ends in (await _asked(self.consumer.backlog())).items()}


async def _asked(call: Awaitable[T]) -> T:
    """An answer of the consumer's thread; aiokafka's errors as ours."""
    try:
        async with asyncio.timeout(REQUEST_S):
            return await call
    except (KafkaError, TimeoutError) as error:
        raise RetryableError(f"Kafka does not answer ({type(error).__name__}); it will be asked again") from error
