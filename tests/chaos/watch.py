"""Follows `llm.ledger` as it grows and knows at every moment which ranges are announced and not done, and whose."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition

from pipeline.audit.ledger import Follower
from pipeline.settings import Settings
from schemas.ledger import Intent


@dataclass(frozen=True)
class Open:
    """A range between INTENT and DONE: in which partition, whose, at which ledger offset its INTENT stands."""

    partition: int
    owner: str
    offset: int
    intent: Intent
    seen_s: float

    @property
    def pid(self) -> int:
        """Process id in the owner's name (host-pid-random)."""
        return int(self.owner.rsplit("-", 2)[1])

    def __str__(self) -> str:
        one = self.intent
        return f"{one.epoch}/{self.partition}/{one.first} to {one.next} (range {one.range}, ledger {self.offset})"


class LedgerWatch:
    """A thread with a plain consumer; reading it never blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._followers = {number: Follower(number) for number in range(settings.partitions)}
        self._open: dict[int, Open] = {}
        self._end = threading.Event()
        self.moved_s: dict[int, float] = {}
        self._thread = threading.Thread(target=self._follow, name="ledger-watch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._end.set()
        self._thread.join(5)

    def places(self) -> dict[int, int]:
        """Ledger offset that comes next, by partition."""
        return {number: follower.end for number, follower in self._followers.items()}

    def marks(self) -> dict[int, tuple[int, int]]:
        """Epoch and next source offset of each partition, as far as they are done."""
        return {number: (one.state.epoch, one.state.next) for number, one in self._followers.items()}

    def owners(self) -> dict[int, str]:
        """Whose ranges are accepted, by partition."""
        return {number: one.state.owner for number, one in self._followers.items()}

    def done(self, epoch: int) -> int:
        """Source records of an epoch that are done."""
        return sum(offset for its, offset in self.marks().values() if its == epoch)

    def open(self, not_before_s: float) -> Open | None:
        """The range that was announced last, if that was seen after this moment and it is not done yet."""
        found = [one for one in list(self._open.values()) if one.seen_s >= not_before_s]
        return max(found, key=lambda one: one.seen_s, default=None)

    def open_in(self, partition: int) -> Open | None:
        """The range of a partition that is not done."""
        return self._open.get(partition)

    def _follow(self) -> None:
        consumer = Consumer(
            self._settings.librdkafka(
                **{
                    "group.id": f"chaos-watch-{time.monotonic_ns()}",
                    "enable.auto.commit": False,
                    "fetch.wait.max.ms": 10,
                    "reconnect.backoff.max.ms": 500,
                    "log_level": 0,
                }
            )
        )
        topic = self._settings.topic("ledger")
        consumer.assign([TopicPartition(topic, number, 0) for number in self._followers])
        while not self._end.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            number, now = message.partition(), time.monotonic()
            follower = self._followers[number]
            before = follower.state
            verdict = follower.fold(message.offset(), message.value() or b"")
            if follower.state.next != before.next or follower.state.epoch != before.epoch:
                self.moved_s[number] = now
            entry = verdict.entry
            if not verdict.accepted or entry is None:
                continue
            state = follower.state
            if state.open is None:
                self._open.pop(number, None)
            elif entry.intent is not None:
                self._open[number] = Open(number, entry.owner, message.offset(), state.open, now)
        consumer.close()
