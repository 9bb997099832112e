"""meter: `facts` to `partials`: absolute aggregates of each source partition, published as they change."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from agents.stateful import HoleWatch, Keeper, Outbox, first_mark
from pipeline import metrics
from pipeline.audit.positions import Mark
from pipeline.transport.producer import Outgoing
from pipeline.transport.stage import Limits, Range, StageContext
from pipeline.windows.partials import FoldState, PartialFold, records
from schemas.fact import Fact
from schemas.window import Late

_read = msgspec.json.Decoder(Fact).decode
_encode = msgspec.json.Encoder().encode

FLUSH_EVERY_S: Final = 0.2
# Glimpses of minutes that go on, published by one process in a second; minutes that are over always go out.
GLIMPSES_A_SECOND: Final = 200


class _Fold:
    """What belongs to one partition."""

    def __init__(self, fold: PartialFold, input_next: int, outbox: Outbox) -> None:
        self.fold = fold
        self.input_next = input_next
        self.outbox = outbox
        self.flushed_s = 0.0
        self.told_watermark: int | None = None


class Meter:
    """The stage. Memory: `PartialFold`'s bound for each partition."""

    name = "meter"
    source = "facts"
    limits = Limits(max_records=2_000, max_bytes=4_000_000, linger_s=0.02)

    async def open(self, context: StageContext) -> None:
        """Nothing to load: state comes with a partition."""
        self._context = context
        self._keeper: Keeper[FoldState] = Keeper(context, FoldState)
        self._holes = HoleWatch(self.name)
        self._folds: dict[int, _Fold] = {}
        self._lateness_ms = int(context.settings.allowed_lateness_s * 1000)

    async def assigned(self, partition: int) -> int | None:
        """Resume at the furthest snapshot, else at the beginning of the log."""
        found = await self._keeper.restore(partition)
        if found is None:
            self._folds.pop(partition, None)
            return 0
        fold = PartialFold(Mark(0, 0), allowed_lateness_ms=self._lateness_ms)
        fold.restore(found[0])
        self._folds[partition] = _Fold(fold, found[1], Outbox(self._context.producer))
        return found[1]

    async def work(self, range: Range) -> None:
        """Fold the facts; partials are absolute, so they may follow in their own time."""
        facts = [_read(record.value or b"") for record in range.records]
        at = self._folds.get(range.partition)
        if at is None:
            fold = PartialFold(first_mark(facts, 1), allowed_lateness_ms=self._lateness_ms)
            at = self._folds[range.partition] = _Fold(fold, range.first, Outbox(self._context.producer))
        late = [told for fact in facts if (told := self._fold(at.fold, fact)) is not None]
        if late:
            metrics.LATE.labels(self.name).inc(len(late))
            at.outbox.add(Outgoing("windows", _encode(told), told.tenant.encode(), 0) for told in late)
        at.input_next = range.next
        metrics.RECORDS.labels(self.name, "fact").inc(len(facts))
        metrics.MARK.labels(self.name, range.partition).set(at.fold.mark.next_offset)
        for kind, held in at.fold.keys_held().items():
            metrics.KEYS_HELD.labels(self.name, kind).set(held)
        now_s = time.monotonic()
        self._holes.look(range.partition, at.fold.mark, facts[-1], now_s)
        await self._flush(range.partition, at, now_s)

    def _fold(self, fold: PartialFold, fact: Fact) -> Late | None:
        """Fold one fact; what is to be told of it when it came too late."""
        before = fold.counts.get("late", 0)
        if not fold.fold(fact) or fold.counts.get("late", 0) == before or fold.watermark is None:
            return None
        return Late(fact.tenant, fact.position, fact.event_ms, fact.received_at, fold.watermark - fact.event_ms)

    async def idle(self, partition: int, now_s: float) -> None:
        """Publish what has changed; write a snapshot when one is due."""
        at = self._folds.get(partition)
        if at is None:
            return
        await self._flush(partition, at, now_s)
        if self._keeper.due(partition, at.input_next, now_s):
            # A snapshot holds nothing that is still to be published, or a restart would never publish it.
            await self._publish(partition, at, None)
            await self._keeper.keep(partition, at.fold.state(), at.input_next, at.fold.mark, now_s)

    async def _flush(self, partition: int, at: _Fold, now_s: float) -> None:
        if now_s - at.flushed_s < FLUSH_EVERY_S:
            return
        at.flushed_s = now_s
        most = max(5, int(GLIMPSES_A_SECOND * FLUSH_EVERY_S) // max(1, len(self._folds)))
        await self._publish(partition, at, most)

    async def _publish(self, partition: int, at: _Fold, most: int | None) -> None:
        # What could not be delivered goes first: the fold has forgotten that it changed.
        await at.outbox.send()
        found = records(at.fold, partition, most)
        if len(found) == 1 and not found[0].cells and at.fold.watermark == at.told_watermark:
            return
        # Encoded before anything is awaited: the cells are live.
        at.outbox.add(Outgoing("partials", _encode(record), record.tenant.encode(), 0) for record in found)
        at.told_watermark = at.fold.watermark
        await at.outbox.send()

    async def revoked(self, partition: int) -> None:
        """Forget the partition: its next owner restores it."""
        self._folds.pop(partition, None)
        self._keeper.drop(partition)

    async def close(self) -> None:
        """Nothing to release."""
