"""What `guard`, `meter` and `judge` share: state that survives, records that wait, rules, the alarm for a hole."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final, Generic, TypeVar

import msgspec

from pipeline.audit.positions import Mark
from pipeline.control.budgets import Budgets
from pipeline.detection.versions import Versions
from pipeline.errors import StuckError
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.snapshots import Snapshot, restore, write
from pipeline.transport.stage import StageContext
from schemas.fact import Fact

log = logging.getLogger(__name__)

State = TypeVar("State")

SNAPSHOT_EVERY_S: Final = 20.0
STUCK_S: Final = 120.0


class Keeper(Generic[State]):
    """Writes and restores snapshots of one stage's partitions.

    A state that cannot be read any more (its shape has changed) is as good as none: the stage folds again from the
    beginning of its input.
    """

    def __init__(self, context: StageContext, kind: type[State]) -> None:
        self._context = context
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._kept: dict[int, tuple[float, int]] = {}

    async def restore(self, partition: int) -> tuple[State, int] | None:
        """The furthest state of a partition and the input offset to resume at."""
        found = await self._context.to_thread(restore, self._context.settings, self._context.stage, partition)
        self._kept[partition] = (time.monotonic(), found.input_next if found is not None else -1)
        if found is None:
            return None
        try:
            return self._decode(found.payload), found.input_next
        except msgspec.MsgspecError:
            return None

    def due(self, partition: int, input_next: int, now_s: float) -> bool:
        """Whether enough time has passed and something has happened since the last snapshot."""
        at_s, position = self._kept.get(partition, (0.0, -1))
        return now_s - at_s >= SNAPSHOT_EVERY_S and input_next > position

    async def keep(self, partition: int, state: State, input_next: int, mark: Mark | None, now_s: float) -> None:
        """Deliver a snapshot; `input_next` is the input offset that the state has reached."""
        await write(
            self._context.producer,
            Snapshot(
                stage=self._context.stage,
                partition=partition,
                input_next=input_next,
                source_next=mark.next_offset if mark else input_next,
                payload=self._encode(state),
                epoch=mark.epoch if mark else 0,
            ),
        )
        self._kept[partition] = (now_s, input_next)

    def drop(self, partition: int) -> None:
        """The partition is another owner's now."""
        self._kept.pop(partition, None)


class Outbox:
    """Records that a fold has led to; kept until they are delivered, because the fold will not say them again.

    Memory: what one range, or one flush, leads to; nothing more is folded until it is out.
    """

    def __init__(self, producer: RangeProducer) -> None:
        self._producer = producer
        self._waiting: list[Outgoing] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, records: Iterable[Outgoing]) -> None:
        """Take records, encoded as they are now."""
        self._waiting += records

    async def send(self) -> None:
        """Deliver everything.

        Raises:
            DeliveryError: Some of it may not have been taken; all of it is sent again next time.
        """
        if self._waiting:
            await self._producer.deliver(self._waiting)
            self._waiting = []


class Rules:
    """All versions of the rules as `llm.controls` has them, read again only when it has grown."""

    def __init__(self, context: StageContext) -> None:
        self._context = context
        self._versions = Versions()
        self.budgets = Budgets()
        self._position = -1

    async def current(self) -> Versions:
        """The versions, and `budgets` brought up to date; waits while the reader is more than ten seconds behind.

        A version takes effect thirty seconds after its append time, so whatever is in force has been read by then.
        """
        controls = self._context.controls
        await controls.wait_current()
        if controls.position != self._position:
            self._position = controls.position
            self._versions = Versions(controls.records("rules"))
            self.budgets = Budgets(controls.records("budget"))
            if self.budgets.unreadable:
                log.error("budgets cannot be read here and are not watched", extra={"count": self.budgets.unreadable})
            for number in self._versions.unreadable:
                log.error(
                    "rules of a version cannot be read here; those before stay in force", extra={"version": number}
                )
        return self._versions


class HoleWatch:
    """Notices that only records behind a hole come, and that nobody repairs it."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._since: dict[int, tuple[float, int]] = {}

    def look(self, partition: int, mark: Mark, last: Fact, now_s: float) -> None:
        """Call after each range with its last fact.

        Raises:
            StuckError: The mark has not moved for 120 s although later facts came.
        """
        behind = last.position.epoch == mark.epoch and last.position.offset >= mark.next_offset
        since_s, at = self._since.get(partition, (now_s, -1))
        if not behind:
            self._since.pop(partition, None)
        elif at != mark.next_offset:
            self._since[partition] = (now_s, mark.next_offset)
        elif now_s - since_s > STUCK_S:
            raise StuckError(
                f"{self._stage}: partition {partition} waits for position {mark.epoch}/{partition}/{mark.next_offset}, "
                f"and only later ones came for {STUCK_S:.0f} s. `measure` must deliver that range again: see its log."
            )


def first_mark(facts: list[Fact], epoch: int) -> Mark:
    """Where a fold without a snapshot begins: at the first fact the log still holds."""
    return Mark(facts[0].position.epoch, facts[0].position.offset) if facts else Mark(epoch, 0)
