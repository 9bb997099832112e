"""Everything on `llm.controls`, read from the start by a background thread and kept in memory.

What a control means is the business of `pipeline.control`; here it is a record with the time at which the broker
appended it. The topic is compacted by key, and so is what is kept: the latest record of a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import Final

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.errors import RetryableError
from pipeline.settings import Settings
from schemas.control import Control, ControlKind

log = logging.getLogger(__name__)

TOPIC: Final = "controls"
POLL_S: Final = 1.0
REQUEST_S: Final = 5.0
FETCH_WAIT_MS: Final = 500
CHECK_EVERY_S: Final = 3.0
# How often a wait looks again.
LOOK_S: Final = 0.02

_decode = msgspec.json.Decoder(Control).decode


class ControlsReader:
    """All controls in log order with their append times."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._latest: dict[bytes, tuple[int, int, Control]] = {}  # key: offset, append time in ms, control
        self._position = 0
        self._end = -1  # where the log ended when we last knew
        self._current_at: float | None = None  # when the reader last stood at the end
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._thread = threading.Thread(target=self._read, name="controls-reader", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Blocks for at most two seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * POLL_S)

    async def ready(self, timeout_s: float = 30.0) -> None:
        """Wait until everything that was there at the start has been read.

        Raises:
            RetryableError: The topic could not be read in time.
        """
        deadline = time.monotonic() + timeout_s
        while self._current_at is None:
            if time.monotonic() > deadline:
                raise RetryableError(
                    f"{self._settings.topic(TOPIC)} could not be read within {timeout_s:.0f} s. "
                    "Is Kafka there, and was `tokentrail migrate` run?"
                )
            await asyncio.sleep(LOOK_S)

    @property
    def lag_s(self) -> float:
        """Seconds since the reader last stood at the end of the topic; infinite before the first time."""
        at = self._current_at
        return float("inf") if at is None else max(0.0, time.monotonic() - at)

    async def wait_current(self, max_lag_s: float = 10.0) -> None:
        """Return when the reader is at most `max_lag_s` behind; a stage waits here before it decides by a policy."""
        while self.lag_s > max_lag_s:  # noqa: ASYNC110 - a clock decides, and it is a property of the reader's thread
            await asyncio.sleep(LOOK_S)

    def records(self, kind: ControlKind) -> list[tuple[int, Control]]:
        """(append time in ms, control) of one kind in log order, the latest of each key."""
        with self._lock:
            found = sorted((o, ms, c) for o, ms, c in self._latest.values() if c.kind == kind)
        return [(appended_ms, control) for _, appended_ms, control in found]

    def at(self, kind: ControlKind, received_at_ms: int) -> list[tuple[int, Control]]:
        """Those of `records(kind)` that were appended at or before `received_at_ms`."""
        return [(appended_ms, control) for appended_ms, control in self.records(kind) if appended_ms <= received_at_ms]

    @property
    def position(self) -> int:
        """Next offset to read: grows with every record, so that a cache can be keyed by it."""
        return self._position

    def _read(self) -> None:
        place = TopicPartition(self._settings.topic(TOPIC), 0, OFFSET_BEGINNING)
        consumer = Consumer(
            self._settings.librdkafka(
                **{
                    "group.id": f"{self._settings.group_prefix}{self._settings.prefix}controls",  # never joined
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                }
            ),
            logger=logging.getLogger("librdkafka"),
        )
        self._look_at_end(consumer, place)
        consumer.assign([place])
        try:
            while not self._stop.is_set():
                if self.lag_s > CHECK_EVERY_S and self._current_at is not None:
                    self._look_at_end(consumer, place)
                message = consumer.poll(POLL_S)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    self._keep(message.offset(), message.timestamp()[1], message.key() or b"", message.value())
                    self._note_end(self._end)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._position = max(self._position, message.offset())
                    self._note_end(message.offset())
                else:
                    log.warning("controls cannot be read for now", extra={"error": error.name()})
        finally:
            consumer.close()

    def _look_at_end(self, consumer: Consumer, place: TopicPartition) -> None:
        """Ask the broker where the log ends: the client tells of the end only once."""
        with contextlib.suppress(KafkaException):  # the growing lag tells
            self._note_end(consumer.get_watermark_offsets(place, timeout=REQUEST_S, cached=False)[1])

    def _note_end(self, end: int) -> None:
        self._end = end
        if 0 <= end <= self._position:
            self._current_at = time.monotonic()

    def _keep(self, offset: int, appended_ms: int, key: bytes, value: bytes | None) -> None:
        try:
            control = _decode(value) if value else None
        except msgspec.MsgspecError:
            log.warning("a control was skipped: it is none of this version's", extra={"offset": offset})
            control = None
        with self._lock:
            if control is not None:
                self._latest[key] = (offset, appended_ms, control)
            self._position = offset + 1
