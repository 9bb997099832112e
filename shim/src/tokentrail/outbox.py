"""Numbers events, hands them to librdkafka, and knows at every moment what became of each.

One outbox is one producer instance: it belongs to one process, and after a fork the child gets another. `send` may be
called from any thread and never waits for the network; delivery reports arrive in the courier's thread alone, so the
counts on that side need no lock. Memory: `max_buffer_bytes` bounds the records on their way with `OVERHEAD_BYTES` for
each; librdkafka adds what it is just sending, at most five requests of 1 MB to each broker.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from . import kafka
from ._version import LIBRARY
from .encode import Encoded
from .ids import new_id
from .native import new_lock, was_ctrl_c
from .stats import Stats

SCHEMA = "tokentrail.event.v1"
OVERHEAD_BYTES = 768
"""Memory of one record on its way beyond its value and key: structures of librdkafka and its headers."""

_ORDINARY_BYTES = 8_192
_SCHEMA_HEADER = ("schema", SCHEMA.encode())
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)


@dataclass(frozen=True)
class Plan:
    """All that a new producer instance needs, so that a forked child can make one.

    Attributes:
        topic: Where records go.
        settings: librdkafka's settings.
        max_buffer_bytes: Bound of the records on their way.
        max_buffer_events: Bound of their number.
        flush_timeout_s: How long closing waits.
        heartbeat_s: Seconds between heartbeats; 0 for none.
        identity: Fields of heartbeats that say whose they are; `tenant` is one of them.
    """

    topic: str
    settings: Mapping[str, Any]
    max_buffer_bytes: int
    max_buffer_events: int
    flush_timeout_s: float
    heartbeat_s: float
    identity: Mapping[str, Any]


class Outbox:
    """One producer instance.

    Args:
        plan: How to connect and what to keep to.
        unavailable: Why there is nothing to connect to; every event is then dropped under this word.
    """

    def __init__(self, plan: Plan, unavailable: str = "") -> None:
        self.plan = plan
        self.instance = uuid.uuid4().hex
        self.unavailable = unavailable
        self.last_error: str | None = None
        self.kafka_error: str | None = None  # the last one from librdkafka
        self.fatal = False
        self.is_full = False  # an event of ordinary size did not fit, and nothing has left since
        self.close_by: float | None = None  # time.monotonic(); set once, and from then on nothing is accepted
        self.finished = True  # False from the start of the courier's thread to its end
        self.thread: int | None = None  # the courier's
        self.producer: Producer | None = None
        self.lock = new_lock()
        self._topic = plan.topic
        self._max_bytes = plan.max_buffer_bytes
        self._max_events = plan.max_buffer_events
        self._head = f'{{"producer":{{"id":"{self.instance}","library":"{LIBRARY}","sequence":'
        self._producer_header = ("producer", self.instance.encode())
        # Written under the lock.
        self._sequence = 0
        self._taken = 0
        self._taken_bytes = 0
        self._accepted = 0
        self._lost: Counter[tuple[bool, str]] = Counter()  # (refused rather than dropped, reason)
        # Written by the courier's thread only.
        self._done = 0
        self._done_bytes = 0
        self._delivered = 0
        self._lost_later: Counter[tuple[bool, str]] = Counter()

    def connect(self) -> None:
        """Make the producer, which connects in the background; refused settings make the outbox unavailable."""
        with self.lock:
            if self.producer is None and not self.unavailable:
                try:
                    self.producer = kafka.connect(dict(self.plan.settings), self._on_error)
                except Exception as error:
                    self.unavailable = "bad_configuration"
                    self.last_error = f"librdkafka refused the configuration: {error}"

    def request_close(self, close_by: float) -> None:
        """Accept nothing from now on; the courier ends by itself, at `close_by` (`time.monotonic()`) at the latest."""
        with self.lock:
            if self.close_by is None:
                self.close_by = close_by

    def reconnect(self) -> Producer | None:
        """Replace a producer that a fatal error has made useless; returns it, for its last delivery reports."""
        with self.lock:
            old, self.producer, self.fatal = self.producer, None, False
            self.connect()
            return old

    def send(self, event: Encoded, heartbeat: bool = False) -> bool:
        """Number an event and hand it over; False where it was not accepted, which is counted (not for heartbeats)."""
        fields, tenant, unit, event_id, has_ts = event
        with self.lock:
            producer = self.producer
            if producer is None or (self.close_by is not None and not heartbeat):
                return self.lose(False, self.unavailable or "closed")
            while True:
                sequence = self._sequence + 1
                made_id, now_ms = new_id.with_time()
                if event_id or has_ts:
                    own_id = "" if event_id else f'"id":"{made_id}",'
                    own_ts = "" if has_ts else f'"ts":{now_ms},'
                    head = f"{self._head}{sequence}}},{own_id}{own_ts}"
                else:
                    head = f'{self._head}{sequence}}},"id":"{made_id}","ts":{now_ms},'
                value = head.encode() + fields[1:]
                key = f"{tenant}\x1f{unit or event_id or made_id}".encode()
                headers: list[tuple[str, str | bytes | None]] = [
                    _SCHEMA_HEADER,
                    self._producer_header,
                    ("sequence", str(sequence)),
                ]
                report = self._on_heartbeat_delivery if heartbeat else self._on_delivery
                record = (self._topic, value, key, -1, report, None, 0, headers)
                size = len(value) + len(key) + OVERHEAD_BYTES
                if (
                    self._taken_bytes - self._done_bytes + size > self._max_bytes
                    or self._taken - self._done >= self._max_events
                ):
                    self.is_full = size < _ORDINARY_BYTES
                    if self._taken == self._done:
                        self.is_full = False  # the last report came in between: no other will say so
                    return False if heartbeat else self.lose(False, "buffer_full")
                if self._sequence + 1 == sequence:  # else a finaliser or signal handler has emitted in between
                    break
            # Nothing is called between here and produce, so nothing can come between: a number is used exactly once,
            # also when a signal handler raises.
            self._sequence = sequence
            self._taken += 1
            self._taken_bytes += size
            if not heartbeat:
                self._accepted += 1
            interrupted = False
            try:
                try:
                    producer.produce(*record)
                except TypeError:
                    # The record has the right types. While it reads headers, confluent-kafka looks for pending signals,
                    # and puts this error in the place of what a signal handler raises.
                    interrupted = True
                    producer.produce(*record)
            except Exception as error:
                if self._sequence == sequence:
                    self._sequence -= 1
                self._taken -= 1
                self._taken_bytes -= size
                if heartbeat:
                    return False
                self._accepted -= 1
                return self._refused_at_once(error)
        if interrupted and was_ctrl_c():
            raise KeyboardInterrupt
        return True

    def lose(self, refused: bool, reason: str, error: str = "") -> bool:
        """Count an event that was not accepted. Always False, which `emit` returns.

        Args:
            refused: Refused rather than dropped.
            reason: The word under which it is counted.
            error: For a person; must not quote the event.
        """
        with self.lock:
            self._lost[refused, reason] += 1
            if error:
                self.last_error = error
        return False

    def _refused_at_once(self, error: Exception) -> bool:
        if isinstance(error, BufferError):
            return self.lose(False, "buffer_full")
        cause = error.args[0] if isinstance(error, KafkaException) else None
        if not isinstance(cause, KafkaError):
            return self.lose(True, "internal", f"internal: {type(error).__name__}")
        self.fatal = self.fatal or cause.code() == KafkaError._FATAL
        return self.lose(True, _word(cause), cause.str())

    def beat(self, closing: bool) -> bool:
        """Send the counts as they are. `last_sequence` is the heartbeat's own number: 1..last_sequence were sent."""
        with self.lock:
            now = self.stats()
            heartbeat = {
                "emitted": now.emitted,
                "delivered": now.delivered,
                "refused": now.refused,
                "dropped": now.dropped,
                "last_sequence": self._sequence + 1,
                "controls_position": None,
                "closing": closing,
            }
            fields = orjson.dumps({**self.plan.identity, "kind": "heartbeat", "heartbeat": heartbeat})
            return self.send((fields, self.plan.identity["tenant"], self.instance, "", False), heartbeat=True)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._leave(message)
        if error is None:
            self._delivered += 1
        elif error.code() in _PURGED and self.close_by is not None:
            self._lost_later[False, "left_at_close"] += 1
        else:
            self._lost_later[True, _word(error)] += 1
            self.last_error = error.str()

    def _on_heartbeat_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._leave(message)

    def _leave(self, message: Message) -> None:
        self._done_bytes += len(message) + len(message.key() or b"") + OVERHEAD_BYTES
        self._done += 1
        self.is_full = False

    def _on_error(self, error: KafkaError) -> None:
        self.last_error = self.kafka_error = error.str()
        self.fatal = self.fatal or error.fatal()

    def give_up(self) -> None:
        """Count what is still on its way as dropped: the producer is gone, and no report will come any more."""
        left = self.buffered()
        if left:
            self._lost_later[False, "left_at_close"] += left
        self._done, self._done_bytes = self._taken, self._taken_bytes

    def on_their_way(self) -> int:
        """Records without a delivery report, heartbeats too."""
        return self._taken - self._done

    def buffered(self) -> int:
        """Events of the application without a delivery report."""
        return self._accepted - self._delivered - sum(self._lost_later.values())

    def stats(self) -> Stats:
        """The counts now."""
        with self.lock:
            later = dict(self._lost_later)
            delivered = self._delivered
            here = Counter(self._lost)
            on_their_way = self._accepted - delivered - sum(later.values())
            here.update(later)
            refused = sum(count for (is_refused, _), count in here.items() if is_refused)
            dropped = sum(count for (is_refused, _), count in here.items() if not is_refused)
            return Stats(
                emitted=delivered + refused + dropped + on_their_way,
                delivered=delivered,
                refused=refused,
                dropped=dropped,
                buffered=on_their_way,
                buffered_bytes=self._taken_bytes - self._done_bytes,
                last_error=self.last_error,
                by_reason={reason: count for (_, reason), count in here.items()},
            )


def _word(error: KafkaError) -> str:
    """The name that librdkafka has for an error, as a word, for example `msg_timed_out`."""
    return str(error.name()).lstrip("_").lower()
