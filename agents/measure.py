"""measure: `calls.raw` to `facts`. Decodes, validates, prices and fingerprints; no text leaves it, no NER slows it.

Also writes one tick a second into each partition it owns, so that silence has a time, and a dead letter for each
unusable record.
"""

from __future__ import annotations

import logging
import time
from collections import Counter

import msgspec

from agents.one_to_one import SOURCE, Fuse, event_or_stub, gap_fact, resume, walk
from pipeline import memory, metrics
from pipeline.detection.fingerprint import loop_marks
from pipeline.errors import RetryableError
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.pricing import PriceBook
from pipeline.redaction.identifiers import is_clean_identifier
from pipeline.transport.producer import Outgoing
from pipeline.transport.ranges import Record
from pipeline.transport.stage import Limits, Range, StageContext
from schemas.event import Event
from schemas.fact import Fact

log = logging.getLogger(__name__)

TICK_S = 1.0
_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Fact).decode


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.deadletter.v1"):
    """What `llm.deadletter` says of an unusable record: where it is and what is wrong with it, no byte of it."""

    position: str
    reason: str
    path: str
    size_bytes: int
    hash: str
    received_at: int


class Measure:
    """The stage. State: none but the time of each partition's last tick."""

    name = "measure"
    source = SOURCE
    limits = Limits(max_records=500, max_bytes=4_000_000, linger_s=0.02)

    async def open(self, context: StageContext) -> None:
        """Load the price book and the identifier patterns."""
        self._context = context
        self._fuse = Fuse(self.name)
        self._facts = FactMaker(Identifiers(context.keys, is_clean_identifier), PriceBook())
        self._ticked: dict[int, float] = {}
        memory.of_ranges()

    async def assigned(self, partition: int) -> int | None:
        """Resume where the range began that the last fact was made in."""
        return await resume(self._context, "facts", partition, _read)

    async def work(self, range: Range) -> None:
        """One fact for every source position of the range, all delivered or the range is repeated."""
        epoch = self._context.epochs.current(SOURCE)
        out: list[Outgoing] = []
        types: Counter[str] = Counter()
        for where, record, last in walk(range, epoch, self._context.keys):
            if record is None:
                fact, key = gap_fact(where, last), None
            else:
                fact, key = self._measure(record, where, out)
            types[fact.type] += 1
            out.append(Outgoing("facts", _encode(fact), key, range.partition))
        await self._context.producer.deliver(out)
        for kind, count in types.items():
            metrics.RECORDS.labels(self.name, kind).inc(count)

    def _measure(self, record: Record, where: Where, out: list[Outgoing]) -> tuple[Fact, bytes | None]:
        made: list[tuple[Fact, bytes]] = []

        def use(event: Event) -> None:
            tenant = self._facts.identifiers.tenant(event.tenant)
            # Only within a run or a session can calls go round; for others the dearest part of a fact is for nobody.
            in_run = event.kind == "call" and (event.run or event.session)
            marks = loop_marks(event, self._context.keys.derive("fingerprint", tenant)) if in_run else None
            fact = self._facts.fact(event, where, marks)
            made.append((fact, self._facts.route(fact, event)))

        failure = event_or_stub(record, where, self._fuse, use)
        if failure is None:
            return made[0]
        fact, path = failure
        value = record.value or b""
        letter = DeadLetter(
            position=str(where.position),
            reason=fact.reason or "unknown",
            path=path,
            size_bytes=len(value),
            hash=self._context.keys.digest("deadletter", "", value),
            received_at=where.received_at,
        )
        metrics.DEAD_LETTERS.labels(letter.reason).inc()
        out.append(Outgoing("deadletter", _encode(letter), str(where.position).encode()))
        return fact, None

    async def idle(self, partition: int, now_s: float) -> None:
        """Write the partition's tick when one is due."""
        if self._context.settings.ticks == "off" or now_s - self._ticked.get(partition, 0.0) < TICK_S:
            return
        self._ticked[partition] = now_s
        tick = _encode({"tenant": "_tick", "kind": "tick", "ts": int(time.time() * 1000)})
        try:
            await self._context.producer.deliver([Outgoing(SOURCE, tick, None, partition)])
        except RetryableError as error:
            log.warning("measure: no tick for partition %d (%s); the next one follows", partition, error)

    async def revoked(self, partition: int) -> None:
        """Forget the partition's tick."""
        self._ticked.pop(partition, None)

    async def close(self) -> None:
        """Nothing to release."""
