"""Raw records read at their positions and appended again to the same partition, with a note of what they stand for.

Must not keep or print a byte of them. What was appended and is no row yet is found in the log itself. Blocking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pipeline.audit.replay import Judgement, Letter, judged, unread
from pipeline.intake.replay import headers_of, replay_of
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.ranges import KafkaRecord
from pipeline.transport.tail import Reader
from schemas.clean import Replay
from schemas.position import Position
from schemas.topics import EVENT_SCHEMA

SOURCE: Final = "calls.raw"
# Positions that lie no further apart are read in one go.
NEAR: Final = 1_000
# Appended and acknowledged together.
BATCH_RECORDS: Final = 500
BATCH_BYTES: Final = 8_000_000

Verdicts = dict[Position, Judgement]
Progress = Callable[[int], None]  # positions looked at


def on_their_way(reader: Reader, keys: Keys, epoch: int, partition: int, mark: int) -> set[tuple[int, int]]:
    """(partition, offset) of what was replayed into a partition and is no row yet; reads everything from `mark` on."""
    found = set()
    for record in reader.read(SOURCE, partition, mark, reader.bounds(SOURCE, partition)[1]):
        replay = replay_of(record.headers, record.value, keys)
        if replay is not None and replay.of.epoch == epoch:
            found.add((replay.of.partition, replay.of.offset))
    return found


def positions(reader: Reader, epoch: int, partition: int, first: int, last: int, mark: int) -> list[Letter]:
    """Every position of a span that the raw topic still holds and that is accounted for."""
    end = min(last + 1, mark)
    return [
        Letter(Position(epoch, partition, record.offset), "", has_rows=True)
        for record in reader.read(SOURCE, partition, max(first, reader.bounds(SOURCE, partition)[0]), end)
    ]


def replay(
    settings: Settings,
    keys: Keys,
    letters: Sequence[Letter],
    replayed: set[tuple[int, int]],
    *,
    second_rows: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> tuple[Verdicts, dict[Position, int]]:
    """Append the records of these positions again, as far as that is right.

    Args:
        settings: Where Kafka is.
        keys: For the proof in the headers.
        letters: Positions in their order.
        replayed: (partition, offset) of what was replayed before.
        second_rows: Rows that stand may come a second time.
        dry_run: Append nothing.
        progress: Called with how many positions were looked at.

    Returns:
        What became of each position, and the new offset of those that were appended.

    Raises:
        RetryableError: Kafka does not answer. What was appended until then is found by the next run.
    """
    return asyncio.run(_Run(settings, keys, dry_run, progress).over(letters, replayed, second_rows))


class _Run:
    """One run: what was found of each position, and the records that wait to be appended together."""

    def __init__(self, settings: Settings, keys: Keys, dry_run: bool, progress: Progress | None) -> None:
        self._settings = settings
        self._keys = keys
        self._dry_run = dry_run
        self._progress = progress
        self._verdicts: Verdicts = {}
        self._made: dict[Position, int] = {}
        self._batch: list[tuple[Letter, KafkaRecord]] = []
        self._size = 0

    async def over(
        self, letters: Sequence[Letter], replayed: set[tuple[int, int]], second_rows: bool
    ) -> tuple[Verdicts, dict[Position, int]]:
        """Go over the letters; verdicts, and new offsets."""
        producer = RangeProducer(self._settings, client_id="tokentrail-replay")
        try:
            with Reader(self._settings) as reader:
                for letter, record in _read(reader, self._unread(reader, letters, replayed, second_rows)):
                    self._judge(letter, record)
                    if len(self._batch) >= BATCH_RECORDS or self._size >= BATCH_BYTES:
                        await self._append(producer)
                await self._append(producer)
        finally:
            await producer.close()
        return self._verdicts, self._made

    def _unread(
        self, reader: Reader, letters: Sequence[Letter], replayed: set[tuple[int, int]], second_rows: bool
    ) -> list[Letter]:
        """The letters whose records must be read; the others have their verdict."""
        partitions = {letter.position.partition for letter in letters}
        starts = {number: reader.bounds(SOURCE, number)[0] for number in partitions}
        due = []
        for letter in letters:
            at = letter.position
            was_replayed = (at.partition, at.offset) in replayed
            verdict = unread(letter, starts[at.partition], was_replayed, second_rows=second_rows)
            if verdict is None:
                due.append(letter)
            else:
                self._verdicts[at] = verdict
        return due

    def _judge(self, letter: Letter, record: KafkaRecord | None) -> None:
        verdict: Judgement = "gone"
        if record is not None:
            hash = self._keys.digest("deadletter", "", record.value or b"")
            verdict = judged(letter, record.value, time.time_ns() // 1_000_000, hash)
            if verdict == "replay":
                self._batch.append((letter, record))
                self._size += len(record.value or b"")
        self._verdicts[letter.position] = verdict
        if self._progress is not None:
            self._progress(len(self._verdicts))

    async def _append(self, producer: RangeProducer) -> None:
        if self._batch and not self._dry_run:
            offsets = await producer.deliver([_again(letter, record, self._keys) for letter, record in self._batch])
            for (letter, _), offset in zip(self._batch, offsets, strict=True):
                self._made[letter.position] = offset
        self._batch.clear()
        self._size = 0


def _again(letter: Letter, record: KafkaRecord, keys: Keys) -> Outgoing:
    value = record.value or b""
    # A replay of a replay keeps the time of the first.
    earlier = replay_of(record.headers, value, keys)
    replay = Replay(letter.position, earlier.received_at if earlier else record.timestamp)
    headers = [("schema", EVENT_SCHEMA.encode()), *headers_of(replay, value, keys)]
    return Outgoing(SOURCE, value, record.key, letter.position.partition, headers)


def _read(reader: Reader, letters: Sequence[Letter]) -> Iterator[tuple[Letter, KafkaRecord | None]]:
    """Each letter with its record; None where the log does not hold it any more."""
    run: list[Letter] = []
    for letter in letters:
        near = run and (
            run[-1].position.partition == letter.position.partition
            and letter.position.offset - run[-1].position.offset <= NEAR
        )
        if run and not near:
            yield from _read_run(reader, run)
            run = []
        run.append(letter)
    if run:
        yield from _read_run(reader, run)


def _read_run(reader: Reader, run: Sequence[Letter]) -> Iterator[tuple[Letter, KafkaRecord | None]]:
    first, last = run[0].position, run[-1].position
    waiting = iter(run)
    letter = next(waiting)
    for record in reader.read(SOURCE, first.partition, first.offset, last.offset + 1):
        while letter.position.offset < record.offset:
            yield letter, None
            letter = next(waiting)
        if letter.position.offset == record.offset:
            yield letter, record
            following = next(waiting, None)
            if following is None:
                return
            letter = following
    yield letter, None
    for missing in waiting:
        yield missing, None
