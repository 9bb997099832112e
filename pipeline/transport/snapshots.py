"""State snapshots on `llm.snapshots`: compressed, in chunks below the message limit, counted only when all are there.

Knows nothing of what is in a snapshot. The newest one in the log need not be the furthest: a worker that had lost its
partition may have written late, so the highest position among the recent complete ones is restored.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import cramjam

from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing, RangeProducer
from pipeline.transport.ranges import KafkaRecord
from pipeline.transport.tail import Reader

TOPIC: Final = "snapshots"
SCHEMA: Final = b"tokentrail.snapshot.v1"
CHUNK_BYTES: Final = 900_000
# Records looked at in one step back from the end.
STEP_RECORDS: Final = 64
# How long before the newest complete snapshot a further one may have been written.
OVERLAP_MS: Final = 15 * 60_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete snapshot.

    Attributes:
        stage: Name of the stage that wrote it.
        partition: Input partition whose state it is.
        input_next: Input offset to resume at.
        source_next: Next source offset (of `calls.raw`) that the state waits for.
        payload: The state, as the stage packed it.
        epoch: Epoch ordinal of the source; positions of a later epoch are higher whatever their offsets.
    """

    stage: str
    partition: int
    input_next: int
    source_next: int
    payload: bytes
    epoch: int = 0


@dataclass(slots=True)
class _Found:
    """Chunks of one snapshot seen so far: their offsets in the log, not their bytes."""

    total: int
    place: tuple[int, int]  # epoch and input position
    written_ms: int = 0
    offsets: dict[int, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.offsets) == self.total


async def write(producer: RangeProducer, snapshot: Snapshot) -> None:
    """Deliver one snapshot.

    Raises:
        DeliveryError: Not all chunks were acknowledged; the snapshot does not count.
    """
    await producer.deliver(await asyncio.to_thread(_chunks, snapshot))


def restore(settings: Settings, stage: str, partition: int) -> Snapshot | None:
    """The furthest complete snapshot of a stage's partition, or None when there is none. Blocking.

    Raises:
        RetryableError: Kafka cannot be read now.
    """
    with Reader(settings) as reader:
        best = _furthest(reader, stage, partition)
        if best is None:
            return None
        wanted = {offset: chunk for chunk, offset in best.offsets.items()}
        parts: dict[int, KafkaRecord] = {}
        for record in reader.read(TOPIC, partition, min(wanted), max(wanted) + 1):
            if record.offset in wanted:
                parts[wanted[record.offset]] = record
    packed = b"".join(parts[chunk].value or b"" for chunk in sorted(parts))
    headers = dict(parts[0].headers)
    if headers["digest"] != sha256(packed).digest():
        return None
    return Snapshot(
        stage=stage,
        partition=partition,
        input_next=int(headers["input_next"]),
        source_next=int(headers["source_next"]),
        payload=bytes(cramjam.zstd.decompress(packed)),
        epoch=int(headers["epoch"]),
    )


def _chunks(snapshot: Snapshot) -> Sequence[Outgoing]:
    packed = bytes(cramjam.zstd.compress(snapshot.payload, 3))
    pieces = [packed[at : at + CHUNK_BYTES] for at in range(0, len(packed), CHUNK_BYTES)]
    common = [
        ("schema", SCHEMA),
        ("stage", snapshot.stage.encode()),
        ("snapshot", uuid.uuid4().hex.encode()),
        ("total", b"%d" % len(pieces)),
        ("digest", sha256(packed).digest()),
        ("epoch", b"%d" % snapshot.epoch),
        ("input_next", b"%d" % snapshot.input_next),
        ("source_next", b"%d" % snapshot.source_next),
    ]
    key = f"{snapshot.stage}|{snapshot.partition}".encode()
    return [
        Outgoing(TOPIC, piece, key, snapshot.partition, [*common, ("chunk", b"%d" % number)])
        for number, piece in enumerate(pieces)
    ]


def _furthest(reader: Reader, stage: str, partition: int) -> _Found | None:
    start, upto = reader.bounds(TOPIC, partition)
    found: dict[bytes, _Found] = {}
    while upto > start:
        begin = max(start, upto - STEP_RECORDS)
        oldest_ms: int | None = None
        for record in reader.read(TOPIC, partition, begin, upto):
            oldest_ms = record.timestamp if oldest_ms is None else min(oldest_ms, record.timestamp)
            _note(found, record, stage)
        complete = [one for one in found.values() if one.complete]
        newest_ms = max((one.written_ms for one in complete), default=None)
        if newest_ms is not None and oldest_ms is not None and oldest_ms < newest_ms - OVERLAP_MS:
            break
        upto = begin
    return max((one for one in found.values() if one.complete), key=lambda one: one.place, default=None)


def _note(found: dict[bytes, _Found], record: KafkaRecord, stage: str) -> None:
    headers = dict(record.headers)
    if headers.get("schema") != SCHEMA or headers.get("stage") != stage.encode():
        return
    place = int(headers["epoch"]), int(headers["input_next"])
    one = found.setdefault(headers["snapshot"], _Found(total=int(headers["total"]), place=place))
    one.offsets[int(headers["chunk"])] = record.offset
    one.written_ms = max(one.written_ms, record.timestamp)
