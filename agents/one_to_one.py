"""What `measure` and `redact` share: every raw record, usable or not, gives exactly one record with its position.

Walks a range of `calls.raw` with its gaps, finds where to resume, and stops the partition when our own code fails
again and again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from pipeline import metrics
from pipeline.errors import FatalError, PoisonError
from pipeline.intake.decode import decode
from pipeline.intake.facts import Where, gap, stub
from pipeline.intake.replay import replay_of
from pipeline.keys import Keys
from pipeline.transport.ranges import Record
from pipeline.transport.stage import Range, StageContext
from pipeline.transport.tail import last_records
from schemas.event import Event
from schemas.fact import Fact
from schemas.position import Position

log = logging.getLogger(__name__)

SOURCE: Final = "calls.raw"
FUSE_WINDOW: Final = 1_000
FUSE_LIMIT: Final = 50


class Fuse:
    """Blows when more than 50 of the last 1,000 records made our own code raise: a bug must not eat a topic."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._recent: deque[bool] = deque(maxlen=FUSE_WINDOW)

    def ok(self) -> None:
        """A record went well."""
        self._recent.append(False)

    def failed(self, error: Exception) -> None:
        """A record made our code raise; it becomes a stub.

        Raises:
            FatalError: Too many of the last records did.
        """
        self._recent.append(True)
        metrics.INTERNAL_ERRORS.labels(self._stage).inc()
        # The exception's text may quote the record; its type and place may not.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else "?"
        log.error("%s: %s at %s for one record; it becomes a dead letter", self._stage, type(error).__name__, place)
        if sum(self._recent) > FUSE_LIMIT:
            raise FatalError(
                f"{self._stage}: {sum(self._recent)} of the last {len(self._recent)} records made our own code fail; "
                "the partition stops so that nothing more is turned into dead letters. This is a bug: report the log."
            ) from None


def walk(range: Range, epoch: int, keys: Keys) -> Iterator[tuple[Where, Record | None, int]]:
    """Every source position of a range, in order: (where, record, last offset).

    A stretch that Kafka proves to hold no record (retention, transaction markers) comes once, with record None and the
    last missing offset. `keys` prove which records are replayed ones.
    """
    expected = range.first
    for record in range.records:
        if record.offset > expected:
            position = Position(epoch, range.partition, expected)
            yield Where(position, range.first, record.timestamp), None, record.offset - 1
        position = Position(epoch, range.partition, record.offset)
        replay = replay_of(record.headers, record.value, keys)
        yield Where(position, range.first, record.timestamp, replay), record, record.offset
        expected = record.offset + 1


def gap_fact(where: Where, last: int) -> Fact:
    """The gap record for a stretch without records."""
    metrics.SKIPPED.labels("source", "gap").inc(last - where.position.offset + 1)
    return gap(where, last, "not_in_log")


def event_or_stub(record: Record, where: Where, fuse: Fuse, use: Callable[[Event], None]) -> tuple[Fact, str] | None:
    """Decode one record and use its event; None when that went well, else its stub and the path of what was wrong.

    Raises:
        FatalError: Our own code failed too often.
    """
    try:
        use(decode(record.value, where.received_at))
    except PoisonError as error:
        fuse.ok()
        return stub(where, error.reason), error.path
    except Exception as error:
        fuse.failed(error)
        return stub(where, "internal_error"), ""
    fuse.ok()
    return None


async def resume(context: StageContext, output: str, partition: int, read: Callable[[bytes], Fact]) -> int | None:
    """Input offset to resume at: where the range began in which the last record of the output was made.

    All ranges before that one had been delivered before it was begun, whoever wrote it; it is repeated, and readers
    skip what they have. None (use the committed offset) when the output holds nothing.

    Raises:
        FatalError: The output's last record is none of ours.
    """
    last = await context.to_thread(last_records, context.settings, output, partition, 1)
    if not last:
        return None
    try:
        fact = read(last[0].value or b"")
    except msgspec.MsgspecError as error:
        raise FatalError(
            f"{context.stage}: the last record of {context.settings.topic(output)}[{partition}] is none of ours. "
            "Something else writes to this topic; stop it, or set another TOKENTRAIL_PREFIX."
        ) from error
    # A recreated source begins a new epoch at offset 0.
    return fact.first if fact.position.epoch == context.epochs.current(SOURCE) else 0
