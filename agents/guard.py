"""guard: `facts` to `anomalies`, run by run: sees loops within a call or two."""

from __future__ import annotations

import time

import msgspec

from agents.stateful import HoleWatch, Keeper, Outbox, Rules, first_mark
from pipeline import metrics
from pipeline.audit.positions import Mark
from pipeline.detection.loops import LoopWatch, WatchState
from pipeline.transport.producer import Outgoing
from pipeline.transport.stage import Limits, Range, StageContext
from schemas.anomaly import Anomaly
from schemas.fact import Fact

_read = msgspec.json.Decoder(Fact).decode
_encode = msgspec.json.Encoder().encode


class Guard:
    """The stage. Memory: `LoopWatch`'s bound for each partition."""

    name = "guard"
    source = "facts"
    limits = Limits(max_records=500, max_bytes=2_000_000, linger_s=0.005)

    async def open(self, context: StageContext) -> None:
        """Nothing to load: state comes with a partition."""
        self._context = context
        self._keeper: Keeper[WatchState] = Keeper(context, WatchState)
        self._holes = HoleWatch(self.name)
        self._rules = Rules(context)
        self._watches: dict[int, LoopWatch | None] = {}
        self._input: dict[int, int] = {}
        self._outboxes: dict[int, Outbox] = {}

    async def assigned(self, partition: int) -> int | None:
        """Resume at the furthest snapshot, else at the beginning of the log."""
        found = await self._keeper.restore(partition)
        watch = None
        if found is not None:
            watch = LoopWatch(Mark(found[0].epoch, found[0].next_offset))
            watch.restore(found[0])
        self._watches[partition] = watch
        self._outboxes[partition] = Outbox(self._context.producer)
        self._input[partition] = 0 if found is None else found[1]
        return self._input[partition]

    async def work(self, range: Range) -> None:
        """Fold the facts; what they lead to is delivered before the range counts."""
        facts = [_read(record.value or b"") for record in range.records]
        watch = self._watches[range.partition]
        if watch is None:
            watch = self._watches[range.partition] = LoopWatch(first_mark(facts, 1))
        watch.versions = await self._rules.current()
        outbox = self._outboxes[range.partition]
        # When the range is repeated its facts are duplicates, and what they led to still waits in the outbox.
        found = [anomaly for fact in facts for anomaly in watch.fold(fact)]
        outbox.add(map(outgoing, found))
        count(found)
        await outbox.send()
        self._input[range.partition] = range.next
        metrics.RECORDS.labels(self.name, "fact").inc(len(facts))
        metrics.MARK.labels(self.name, range.partition).set(watch.mark.next_offset)
        metrics.KEYS_HELD.labels(self.name, "run").set(watch.keys_held())
        self._holes.look(range.partition, watch.mark, facts[-1], time.monotonic())

    async def idle(self, partition: int, now_s: float) -> None:
        """Write a snapshot when one is due."""
        watch, input_next = self._watches.get(partition), self._input.get(partition, 0)
        if watch is not None and self._keeper.due(partition, input_next, now_s):
            await self._keeper.keep(partition, watch.state(), input_next, watch.mark, now_s)

    async def revoked(self, partition: int) -> None:
        """Forget the partition: its next owner restores it."""
        self._watches.pop(partition, None)
        self._input.pop(partition, None)
        self._outboxes.pop(partition, None)
        self._keeper.drop(partition)

    async def close(self) -> None:
        """Nothing to release."""


def outgoing(anomaly: Anomaly) -> Outgoing:
    """An anomaly as its record on `llm.anomalies`."""
    headers = (("schema", b"tokentrail.anomaly.v1"), ("rule", anomaly.rule.encode()))
    return Outgoing("anomalies", _encode(anomaly), anomaly.subject.get("tenant", "").encode(), headers=headers)


def count(anomalies: list[Anomaly]) -> None:
    """Count published revisions by rule and state."""
    for anomaly in anomalies:
        metrics.ANOMALIES.labels(anomaly.rule, anomaly.state).inc()
