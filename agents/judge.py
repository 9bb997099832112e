"""judge: `partials` to `windows` and `anomalies`: merges what the meters say and applies the rules."""

from __future__ import annotations

import msgspec

from agents.guard import count, outgoing
from agents.stateful import Keeper, Outbox, Rules
from pipeline import metrics
from pipeline.detection.judging import Judge as Judging
from pipeline.detection.judging import JudgeState
from pipeline.transport.producer import Outgoing
from pipeline.transport.stage import Limits, Range, StageContext
from schemas.partial import Partials

_read = msgspec.json.Decoder(Partials).decode
_encode = msgspec.json.Encoder().encode


class Judge:
    """The stage; `partials` has one partition, so one process works and others stand by."""

    name = "judge"
    source = "partials"
    limits = Limits(max_records=200, max_bytes=4_000_000, linger_s=0.005)

    async def open(self, context: StageContext) -> None:
        """Nothing to load: state comes with the partition."""
        self._context = context
        self._keeper: Keeper[JudgeState] = Keeper(context, JudgeState)
        self._rules = Rules(context)
        self._judging: Judging | None = None
        self._input = 0
        self._applied = 0
        self._outbox = Outbox(context.producer)

    async def assigned(self, partition: int) -> int | None:
        """Resume at the furthest snapshot, else at the beginning of the log."""
        found = await self._keeper.restore(partition)
        self._judging = Judging(self._context.settings.partitions)
        self._input = 0
        if found is not None:
            self._judging.restore(found[0])
            self._input = found[1]
        self._applied = self._input
        self._outbox = Outbox(self._context.producer)
        return self._input

    async def work(self, range: Range) -> None:
        """Apply every record; what it leads to is delivered before the range counts."""
        assert self._judging is not None
        self._judging.versions = await self._rules.current()
        self._judging.budgets = self._rules.budgets
        for record in range.records:
            # When the range is repeated its records have been applied, and what they led to waits in the outbox.
            if record.offset < self._applied:
                continue
            try:
                partials = _read(record.value or b"")
            except msgspec.MsgspecError:
                # Of another version: windows lack what it says.
                metrics.SKIPPED.labels(self.name, "unreadable").inc()
                continue
            verdict = self._judging.apply(partials, record.timestamp)
            self._applied = record.offset + 1
            self._outbox.add(map(outgoing, verdict.anomalies))
            self._outbox.add(Outgoing("windows", _encode(one), one.tenant.encode(), 0) for one in verdict.windows)
            count(verdict.anomalies)
        await self._outbox.send()
        self._input = range.next
        metrics.RECORDS.labels(self.name, "partials").inc(len(range.records))
        metrics.MARK.labels(self.name, range.partition).set(range.next)

    async def idle(self, partition: int, now_s: float) -> None:
        """Write a snapshot when one is due."""
        if self._judging is not None and self._keeper.due(partition, self._input, now_s):
            await self._keeper.keep(partition, self._judging.state(), self._input, None, now_s)

    async def revoked(self, partition: int) -> None:
        """Forget the state: the next owner restores it."""
        self._judging = None
        self._keeper.drop(partition)

    async def close(self) -> None:
        """Nothing to release."""
