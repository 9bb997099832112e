"""Facts, partials and judgements in memory, for tests of folds and rules: a small plant without Kafka."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.judging import Judge
from pipeline.detection.loops import LoopWatch
from pipeline.detection.versions import Versions
from pipeline.windows.partials import PartialFold, records
from schemas.anomaly import Anomaly
from schemas.fact import Fact, RecordType
from schemas.partial import Partials
from schemas.position import Position
from schemas.window import Window

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
# Midnight in UTC.
MIDNIGHT_MS = 20_400 * DAY_MS
NANO = 1_000_000_000

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Partials).decode


class Facts:
    """Makes facts of one source partition in order; `offset` is the next one."""

    def __init__(self, partition: int = 0, epoch: int = 1) -> None:
        self.partition = partition
        self.epoch = epoch
        self.offset = 0

    def _next(self) -> Position:
        self.offset += 1
        return Position(self.epoch, self.partition, self.offset - 1)

    def call(self, at_ms: float, *, usd: float | None = 0.01, tenant: str = "acme", **fields: Any) -> Fact:
        """A call at `at_ms`; `usd` None is an unknown price."""
        values: dict[str, Any] = {
            "feature": "chat",
            "provider": "openai",
            "model": "gpt-4o",
            "cost_nano_usd": None if usd is None else int(usd * NANO),
            "cost_source": "unknown" if usd is None else "computed",
            "latency_ms": 1_000.0,
            "input_tokens": 100,
            "output_tokens": 10,
            **fields,
        }
        ts = int(at_ms)
        received = values.pop("received_at", ts)
        return Fact(type="call", position=self._next(), first=0, received_at=received, ts=ts, tenant=tenant, **values)

    @staticmethod
    def at_end(fold: PartialFold, partition: int) -> Fact:
        """A tick behind everything that a fold has seen, a minute later."""
        facts = Facts(partition, fold.mark.epoch)
        facts.offset = fold.mark.next_offset
        return facts.tick((fold.watermark or 0) + MINUTE_MS)

    def judgement(self, at_ms: float, kind: RecordType, *, tenant: str = "acme", **fields: Any) -> Fact:
        """An evaluation, a feedback or a canary at `at_ms`."""
        values: dict[str, Any] = {"feature": "chat", **fields}
        if kind == "canary":
            values = {"provider": "openai", "model": "gpt-4o", **values}
        ts = int(at_ms)
        received = values.pop("received_at", ts)
        return Fact(type=kind, position=self._next(), first=0, received_at=received, ts=ts, tenant=tenant, **values)

    def tick(self, at_ms: float) -> Fact:
        """A tick at `at_ms`."""
        return Fact(type="tick", position=self._next(), first=0, received_at=int(at_ms), ts=int(at_ms))


def partials(fold: PartialFold, partition: int, most: int | None = 200) -> list[bytes]:
    """What `meter` publishes of a fold's changes, the watermark last."""
    return [_encode(record) for record in records(fold, partition, most)]


class Plant:
    """Meters of all partitions, guards and the judge, on one simulated clock.

    Args:
        partitions: Source partitions.
        versions: The rules.
        flush_ms: Event time between two publications; in the log they are 200 ms apart.
    """

    def __init__(self, partitions: int = 2, versions: Versions | None = None, flush_ms: int = MINUTE_MS) -> None:
        self.facts = [Facts(partition) for partition in range(partitions)]
        self.folds = [PartialFold(Mark(1, 0)) for _ in range(partitions)]
        self.guards = [LoopWatch(Mark(1, 0), versions) for _ in range(partitions)]
        self.judge = Judge(partitions, versions)
        self.flush_ms = flush_ms
        self.now_ms = 0
        self.flushed_ms = 0
        self.wall_ms = 0
        self.anomalies: list[Anomaly] = []
        self.windows: list[Window] = []
        self._turn = 0

    def until(self, at_ms: float) -> None:
        """Let time pass: a tick for every partition each minute, and what is due is published."""
        while self.now_ms + MINUTE_MS <= at_ms:
            self.now_ms = self.now_ms + MINUTE_MS if self.now_ms else int(at_ms) // MINUTE_MS * MINUTE_MS
            for partition, facts in enumerate(self.facts):
                self._fold(partition, facts.tick(self.now_ms))
            if self.now_ms - self.flushed_ms >= self.flush_ms:
                self.flush()

    def call(self, at_ms: float, *, partition: int | None = None, **fields: Any) -> None:
        """One call; partitions take turns unless one is named."""
        self.until(at_ms)
        if partition is None:
            self._turn = partition = (self._turn + 1) % len(self.facts)
        self._fold(partition, self.facts[partition].call(at_ms, **fields))

    def flush(self) -> None:
        """Publish what has changed, and judge it."""
        self.flushed_ms = self.now_ms
        self.wall_ms += 200
        for partition, fold in enumerate(self.folds):
            for value in partials(fold, partition):
                verdict = self.judge.apply(_decode(value), self.wall_ms)
                self.anomalies += verdict.anomalies
                self.windows += [window for closed in verdict.windows for window in closed.windows]

    def _fold(self, partition: int, fact: Fact) -> None:
        self.folds[partition].fold(fact)
        self.anomalies += self.guards[partition].fold(fact)

    def opened(self, rule: str = "") -> list[Anomaly]:
        """First revisions, of one rule where one is named."""
        return [one for one in self.anomalies if one.revision == 1 and one.rule.startswith(rule)]


def read(values: Iterable[bytes]) -> list[Partials]:
    """Published values as records."""
    return [_decode(value) for value in values]


def plain(state: object) -> object:
    """A state as it would come out of a snapshot, for comparing: whatever the order of its maps."""

    def sorted_out(value: Any) -> Any:
        if isinstance(value, dict):
            return sorted((repr(name), sorted_out(item)) for name, item in value.items())
        return [sorted_out(item) for item in value] if isinstance(value, list | tuple) else repr(value)

    return sorted_out(msgspec.msgpack.decode(msgspec.msgpack.encode(state)))
