"""The background thread of an outbox: serves delivery reports, sends heartbeats, tells of losses, and closes.

`emit` pays for none of this. The thread spends its life inside librdkafka's poll, which does not hold the interpreter.
Nothing that goes wrong here may end the thread before it has closed.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from confluent_kafka import Producer

from .native import original
from .outbox import Outbox

PURGE_S = 1.0
"""How long closing may take beyond its time, to take back what was not delivered."""

_LOG = logging.getLogger("tokentrail")
_POLL_S = 0.1
_TELL_EVERY_S = 60.0


class Courier:
    """Looks after one outbox until it is closed."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._beats = 0
        self._beat_at = 0.0
        self._told_lost = 0
        self._tell_losses_at = 0.0
        self._tell_error_at = 0.0

    def run(self) -> None:
        """The thread's body."""
        outbox = self._outbox
        try:
            self._serve()
            self._close()
        except Exception as error:
            outbox.last_error = f"background thread: {type(error).__name__}"
        finally:
            outbox.request_close(time.monotonic())
            outbox.give_up()
            outbox.producer = None  # destroys it, here and not in the application's thread
            with suppress(Exception):
                self._tell(time.monotonic(), last=True)
            outbox.finished = True

    def _serve(self) -> None:
        outbox = self._outbox
        self._beat_at = time.monotonic() + outbox.plan.heartbeat_s
        look_at = 0.0
        while outbox.close_by is None:
            self._poll(outbox.producer, _POLL_S)
            now = time.monotonic()
            if now >= look_at:
                look_at = now + _POLL_S
                try:
                    self._look_round(now)
                except Exception as error:  # a logging handler of the application, for example
                    outbox.last_error = f"background thread: {type(error).__name__}"

    def _look_round(self, now: float) -> None:
        if self._outbox.fatal:
            self._replace()
        if self._outbox.plan.heartbeat_s and now >= self._beat_at:
            self._beat_at = now + self._outbox.plan.heartbeat_s
            self._beat(closing=False)
        self._tell(now)

    def _close(self) -> None:
        outbox = self._outbox
        close_by = outbox.close_by or 0.0
        self._deliver_until(close_by)
        has_news = self._beats or outbox.stats().emitted
        if outbox.plan.heartbeat_s and has_news and not outbox.on_their_way():
            self._beat(closing=True)
            self._deliver_until(close_by)
        if outbox.producer is not None and outbox.on_their_way():
            outbox.producer.purge()
            self._deliver_until(time.monotonic() + PURGE_S)

    def _deliver_until(self, until: float) -> None:
        while self._outbox.on_their_way() and time.monotonic() < until:
            self._poll(self._outbox.producer, min(_POLL_S, max(until - time.monotonic(), 0.0)))

    def _poll(self, producer: Producer | None, timeout_s: float) -> None:
        try:
            if producer is not None:
                producer.poll(timeout_s)
                return
        except Exception as error:
            self._outbox.last_error = str(error)
        original("time", "sleep")(timeout_s)

    def _beat(self, closing: bool) -> None:
        if self._outbox.beat(closing):
            self._beats += 1

    def _replace(self) -> None:
        """After a fatal error librdkafka refuses everything: what it held counts as refused, and a new one goes on."""
        old = self._outbox.reconnect()
        _LOG.error("tokentrail: fatal error in the Kafka producer, made a new one: %s", self._outbox.last_error)
        if old is not None:
            old.purge()
            until = time.monotonic() + PURGE_S
            while len(old) and time.monotonic() < until:
                self._poll(old, _POLL_S)

    def _tell(self, now: float, last: bool = False) -> None:
        stats = self._outbox.stats()
        if stats.lost > self._told_lost and (last or now >= self._tell_losses_at):
            self._told_lost = stats.lost
            self._tell_losses_at = now + _TELL_EVERY_S
            _LOG.warning(
                "tokentrail: %d events lost so far (%d dropped, %d refused: %s)%s",
                stats.lost,
                stats.dropped,
                stats.refused,
                ", ".join(f"{reason} {count}" for reason, count in stats.by_reason.items()),
                f"; last error: {stats.last_error}" if stats.last_error else "",
            )
        error = self._outbox.kafka_error
        if stats.buffered and error is not None and now >= self._tell_error_at:
            self._outbox.kafka_error = None
            self._tell_error_at = now + _TELL_EVERY_S
            _LOG.warning("tokentrail: %d events are waiting for Kafka: %s", stats.buffered, error)
