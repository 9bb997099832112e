"""sink: `calls` to ClickHouse rows and `llm.ledger`. Every record once, whoever crashes when.

What is done in which order is the protocol of `pipeline.audit.lane`; here its effects are performed on Kafka and
ClickHouse. Must not decide by committed offsets: where to read on is what the ledger says.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from pipeline import memory, metrics
from pipeline.audit.batch import Batch, BatchPart, Slot, build
from pipeline.audit.effects import (
    Build,
    Deliver,
    Effect,
    Finished,
    Highest,
    Insert,
    Outcome,
    Present,
    ReadLedger,
    ServerTime,
    Sleep,
)
from pipeline.audit.erasing import Subjects
from pipeline.audit.lane import Lane
from pipeline.audit.tables import TABLES
from pipeline.audit.writer import Steps
from pipeline.errors import FencedError, RetryableError, StuckError
from pipeline.storage import native, reading
from pipeline.storage.append import Block, BusyError, LateError, RowsRefusedError, insert
from pipeline.storage.client import ClickHouseError, Client, connect
from pipeline.transport.erasures import Following
from pipeline.transport.logs import told
from pipeline.transport.producer import Outgoing
from pipeline.transport.ranges import KafkaRecord, Record
from pipeline.transport.stage import Limits, Range, StageContext
from pipeline.transport.tail import last_records, read_all
from schemas.clean import Clean
from schemas.ledger import Cell

log = logging.getLogger(__name__)

# A range without rows (ticks) waits this long for company.
SILENT_S: Final = 60.0
# A mark that does not move for so long, although later records are there, is a hole that nobody repairs.
STUCK_S: Final = 120.0
REVOKE_S: Final = 2.0
ANSWER_S: Final = 30.0
CONNECT_EVERY_S: Final = 1.0
# How often a build that needs an erasure request looks whether it has been read by now.
LOOK_S: Final = 0.02

_read = msgspec.json.Decoder(Clean).decode


class _Assignment:
    """What the sink keeps of one partition under one assignment."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.blocks: dict[tuple[Cell, str], bytes] = {}  # encoded parts of the range at work, by cell and root
        self.silent_since: float | None = None  # since when records without rows wait to be accounted for
        self.is_quiet = True  # whether only such records wait
        self.hole_since: float | None = None  # since when records came that lie behind a hole
        self.hole_at = (0, 0)  # and the mark then


class Sink:
    """The stage. Memory: the records of the range at work of each partition, encoded once."""

    name = "sink"
    source = "calls"
    limits = Limits(max_records=10_000, max_bytes=32_000_000, linger_s=1.0)

    async def open(self, context: StageContext) -> None:
        """Wait for ClickHouse."""
        self._context = context
        self._assignments: dict[int, _Assignment] = {}
        self._erasures = Following(context.controls, context.keys)
        memory.of_ranges()
        while True:
            try:
                self._client: Client = await context.to_thread(
                    connect, context.settings, purpose=self.name, timeout_s=ANSWER_S
                )
                return
            except ClickHouseError as error:
                log.warning("ClickHouse is not to be had; it is asked again", extra=told(error))
                await asyncio.sleep(CONNECT_EVERY_S)

    async def assigned(self, partition: int) -> int | None:
        """Claim the partition in the ledger and resume where the ledger says."""
        at = _Assignment(Lane(partition, self._context.worker_id, self._context.epochs.current(self.source)))
        start: int = await self._perform(at, at.lane.begin())
        self._assignments[partition] = at
        log.info("partition claimed", extra={"partition": partition, "mark": repr(at.lane.mark)})
        return start

    async def work(self, range: Range) -> None:
        """Announce, insert and account for the range, as far as it has rows."""
        at = self._assignments[range.partition]
        lane, at.is_quiet = at.lane, False
        fresh = [record for record in range.records if record.offset >= lane.input_end]
        types: Counter[str] = Counter()
        for slot in await self._context.to_thread(_decode, fresh):
            offer = lane.take(slot)
            if offer == "apply":
                types[slot.clean.fact.type] += 1
            else:
                metrics.SKIPPED.labels(self.name, offer).inc()
            if offer == "ahead" and at.hole_since is None:
                at.hole_since, at.hole_at = time.monotonic(), lane.position
        if lane.slots and at.silent_since is None:
            at.silent_since = time.monotonic()
        await self._advance(at, silent=False)
        at.is_quiet = True
        for kind, count in types.items():
            metrics.RECORDS.labels(self.name, kind).inc(count)

    async def idle(self, partition: int, now_s: float) -> None:
        """Say DONE where no next range came to say it, and account for silence once a minute."""
        at = self._assignments.get(partition)
        if at is None:
            return
        self._look_for_a_hole(at, now_s)
        if at.silent_since is not None and now_s - at.silent_since >= SILENT_S:
            await self._advance(at, silent=True)
        await self._perform(at, at.lane.finish())

    async def revoked(self, partition: int) -> None:
        """Leave the ledger tidy if that is quick; if not, the next owner counts."""
        at = self._assignments.pop(partition, None)
        if at is None:
            return
        try:
            async with asyncio.timeout(REVOKE_S):
                if at.is_quiet:
                    await self._perform(at, at.lane.advance(silent=True))
                await self._perform(at, at.lane.finish())
        except (RetryableError, FencedError, TimeoutError) as error:
            log.info("left without DONE", extra={"partition": partition, "why": type(error).__name__})

    async def close(self) -> None:
        """Close the connections."""
        await self._context.to_thread(self._client.close)

    async def _advance(self, at: _Assignment, *, silent: bool) -> None:
        lane = at.lane
        await self._perform(at, lane.advance(silent=silent))
        if not lane.slots:
            at.silent_since = None
        metrics.MARK.labels(self.name, lane.partition).set(lane.mark.next_offset)

    def _look_for_a_hole(self, at: _Assignment, now_s: float) -> None:
        """Stop when only records behind a hole come and nobody repairs it."""
        if at.hole_since is None:
            return
        if at.lane.position != at.hole_at:
            at.hole_since = None
        elif now_s - at.hole_since > STUCK_S:
            epoch, offset = at.lane.position
            raise StuckError(
                f"Partition {at.lane.partition} waits for position {epoch}/{at.lane.partition}/{offset}, and only "
                f"later ones came for {STUCK_S:.0f} s. `redact` must deliver that range again: look at its log, then "
                "run `tokentrail doctor`."
            )

    # ---- effects

    async def _perform(self, at: _Assignment, steps: Steps[Any]) -> Any:
        """Run the protocol, one effect after the other."""
        answer: Any = None
        error: RetryableError | None = None
        while True:
            try:
                effect = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                error = None  # else it and this frame hold each other, and all that the failed attempt had built
            answer = None
            try:
                answer = await self._do(at, effect)
            except RetryableError as failure:
                error = failure
                # What attempts before this one left in circles, of libraries too; else it grows while a server is away.
                gc.collect()

    async def _do(self, at: _Assignment, effect: Effect) -> Any:
        to_thread, partition = self._context.to_thread, at.lane.partition
        match effect:
            case Deliver(value):
                record = Outgoing("ledger", value, str(partition).encode(), partition)
                return (await self._context.producer.deliver([record]))[0]
            case ReadLedger(start):
                return await to_thread(self._read_ledger, partition, start)
            case ServerTime():
                return await to_thread(self._client.now_ms)
            case Sleep(seconds):
                await asyncio.sleep(seconds)
            case Present(cell, epoch, first, next):
                span = reading.Span(epoch, partition, first, next)
                return await to_thread(reading.offsets, self._client, TABLES[cell.table], *_life(cell), span)
            case Highest(epoch, offset):
                return await to_thread(reading.highest, self._client, partition, epoch, offset)
            case Build():
                subjects = await self._whom(effect.erasures)
                return await to_thread(self._build, at, effect, subjects)
            case Insert(parts, deadline_ms):
                return await asyncio.gather(
                    *(to_thread(self._insert, at, token, part, deadline_ms) for token, part in parts)
                )
            case Finished(batch):
                at.blocks.clear()
                metrics.DEAD_LETTERS.labels("row_refused").inc(len({offset for offset, _ in batch.refused}))
                for part in batch.parts:
                    metrics.ROWS.labels(part.cell.table).inc(len(part))
        return None

    def _read_ledger(self, partition: int, start: int | None) -> list[tuple[int, bytes]]:
        settings = self._context.settings
        if start is None:
            found: Iterable[KafkaRecord] = last_records(settings, "ledger", partition, 1)
        else:
            found = read_all(settings, "ledger", partition, start)
        return [(record.offset, record.value or b"") for record in found]

    async def _whom(self, count: int | None) -> Subjects | None:
        """Whose records become bare rows: by the first `count` erasure requests, or by all that are known now."""
        await self._context.controls.wait_current()
        while count is not None and self._erasures.known < count:  # noqa: ASYNC110 - a thread reads them
            await asyncio.sleep(LOOK_S)
        return self._erasures.subjects(self._erasures.known if count is None else count)

    def _build(self, at: _Assignment, wanted: Build, subjects: Subjects | None) -> tuple[Batch, list[tuple[int, str]]]:
        """Rows, leaves, roots and the encoded blocks; and the rows that fit no column of their table."""
        batch = build(wanted.slots, wanted.first, wanted.input_next, self._context.keys, wanted.refused, subjects)
        misfits = []
        at.blocks.clear()
        for part in batch.parts:
            try:
                at.blocks[part.cell, part.root] = native.block_of_columns(TABLES[part.cell.table], part.columns)
            except native.MISFIT:
                found = native.misfits(TABLES[part.cell.table], part.rows)
                misfits += [(part.offsets[index], part.cell.table) for index in found]
        return batch, misfits

    def _insert(self, at: _Assignment, token: str, part: BatchPart, deadline_ms: int) -> Outcome:
        table = TABLES[part.cell.table]
        body = at.blocks.get((part.cell, part.root)) or native.block_of_columns(table, part.columns)
        block = Block(table, f"{self._client.database}-{token}", len(part), body)
        try:
            insert(self._client, block, deadline_ms=deadline_ms)
        except RowsRefusedError as error:
            log.error("rows refused", extra={"table": table.name, "rows": block.rows, "code": error.code})
            return "refused"
        except LateError:
            return "late"
        except BusyError:
            return "busy"
        except ClickHouseError as error:
            log.warning("insert failed", extra={"table": table.name, "rows": block.rows, **told(error)})
            return "failed"
        return "landed"


def _life(cell: Cell) -> tuple[int, str]:
    return cell.retention_days, cell.week


def _decode(records: Sequence[Record]) -> list[Slot]:
    """Clean records with their places; what is none of ours is counted and left out."""
    found = []
    for record in records:
        value = record.value or b""
        try:
            clean = _read(value)
        except msgspec.MsgspecError:
            metrics.SKIPPED.labels(Sink.name, "unreadable").inc()
            continue
        found.append(Slot(record.offset, clean, len(value)))
    return found
