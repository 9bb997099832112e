"""The trail: what an application makes once and emits to. It never raises, never waits, and counts what it loses.

All that is not a programming error in the constructor's arguments is counted and logged instead of raised: wrong
settings, a broker that is away, input that cannot be written as JSON.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any

from . import kafka as librdkafka
from . import lifecycle
from .call import Call
from .content import MODES, Hasher
from .encode import Encoder, Rejected
from .outbox import Outbox, Plan
from .plain import plain
from .stats import Stats

_LOG = logging.getLogger("tokentrail")
BOOTSTRAP_VARIABLE = "TOKENTRAIL_KAFKA_BOOTSTRAP"
HASH_KEY_VARIABLE = "TOKENTRAIL_HASH_KEY"
_MIN_EVENT_BYTES = 4_096


class Trail:
    """Sends events about language model calls to Kafka. Make one for a process; any thread may use it.

    Memory is bounded: events on their way take at most `max_buffer_bytes`, each counted with its key and 768 bytes of
    overhead, and are at most `max_buffer_events`. librdkafka adds what it is just sending: at most five requests of 1
    MB to each broker. A full buffer drops new events and counts them.

    A forked child gets a producer of its own at its first event; `close` runs at exit, also in workers of
    multiprocessing.

    Args:
        bootstrap: Kafka's addresses, `host:port,...`; else the variable `TOKENTRAIL_KAFKA_BOOTSTRAP`. Without either
            the trail is disabled, and the log says so.
        topic: Where events go.
        tenant: For events that do not name theirs; so are `environment` and `service`.
        environment: For example `production`.
        service: The application's name.
        defaults: Any other fields for events that do not have them.
        max_buffer_bytes: Bound of the memory of events on their way.
        max_buffer_events: Bound of their number.
        max_event_bytes: Longer events are cut: the longest texts first, heads stay, and `cut` says what is missing.
        flush_timeout_s: How long `close` waits at most, also at exit.
        content: `full` sends texts, `hash` only length and keyed hash of each, `none` only the size of the prompt.
        hash_key: Key of those hashes: bytes, hexadecimal or base64 of 16 bytes or more, or any text; else the variable
            `TOKENTRAIL_HASH_KEY`, else a random one, and then hashes of two processes cannot be compared.
        heartbeat_s: Seconds between heartbeats, which say what was emitted and lost; 0 for none.
        kafka: Further settings of librdkafka, for example for security. Those that bounds, counts and partitions hang
            on cannot be set.
        enabled: False makes every event a counted drop, without a thread or connection.

    Raises:
        TypeError: for arguments of a wrong kind.
        ValueError: for a content mode that does not exist, and for bounds that are not positive.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        topic: str = "llm.calls.raw",
        tenant: str | None = None,
        environment: str | None = None,
        service: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        max_buffer_bytes: int = 16 * 1024 * 1024,
        max_buffer_events: int = 100_000,
        max_event_bytes: int = 900_000,
        flush_timeout_s: float = 5.0,
        content: str = "full",
        hash_key: bytes | str | None = None,
        heartbeat_s: float | None = 30.0,
        kafka: Mapping[str, Any] | None = None,
        enabled: bool = True,
    ) -> None:
        _check(defaults, kafka, content, max_buffer_bytes, max_buffer_events, max_event_bytes)
        own = {"tenant": tenant, "environment": environment, "service": service}
        fields = {**(defaults or {}), **{name: value for name, value in own.items() if value is not None}}
        hasher = Hasher(hash_key or os.environ.get(HASH_KEY_VARIABLE))
        self._encode = Encoder(fields, content, max_event_bytes, hasher)
        self._told_fault = False
        servers = bootstrap or os.environ.get(BOOTSTRAP_VARIABLE) or ""
        plan = Plan(
            topic=topic,
            settings=librdkafka.settings(servers, kafka or {}, max_buffer_bytes, max_buffer_events, max_event_bytes),
            max_buffer_bytes=max_buffer_bytes,
            max_buffer_events=max_buffer_events,
            flush_timeout_s=flush_timeout_s,
            heartbeat_s=max(heartbeat_s or 0.0, 0.0),
            identity=plain({"tenant": "_producer", **{name: value for name, value in own.items() if value}}),
        )
        unavailable = "" if enabled and (servers or "bootstrap.servers" in (kafka or {})) else "disabled"
        self._outbox = Outbox(plan, unavailable)
        if enabled and unavailable:
            self._outbox.last_error = f"no Kafka address: give bootstrap= or set {BOOTSTRAP_VARIABLE}"
            _LOG.error("tokentrail: events will be dropped: %s", self._outbox.last_error)
        lifecycle.start(self._outbox)
        lifecycle.watch(self)

    @property
    def instance(self) -> str:
        """Id of this producer in this process, as it stands in the events' `producer.id`; another one after a fork."""
        return self._outbox.instance

    def emit(self, event: Mapping[str, Any]) -> bool:
        """Send one event: the fields of `tokentrail.event.v1`; id, time and producer are added.

        Returns:
            True when it was accepted for sending, False when it was lost at once; either is counted. Nothing raises,
            and nothing waits for the network.
        """
        outbox = self._outbox
        try:
            if outbox.producer is None:
                lifecycle.start(outbox)  # a forked child's first event
                if outbox.producer is None:
                    return outbox.lose(False, outbox.unavailable or "closed")
            if outbox.is_full:
                return outbox.lose(False, "buffer_full")
            try:
                encoded = self._encode(event)
            except Rejected as rejected:
                return outbox.lose(rejected.reason == "too_large", rejected.reason, str(rejected))
            except Exception as error:
                return outbox.lose(False, "unserialisable", f"unserialisable: {type(error).__name__}")
            return outbox.send(encoded)
        except Exception as error:
            with suppress(Exception):  # no stack or memory left, perhaps not even for counting
                outbox.lose(False, "internal", f"internal: {type(error).__name__}")
            return False

    def call(self, /, **fields: Any) -> Call:
        """A context manager (`async with` too) around one call to a model: times it and emits one event at its end.

        Args:
            **fields: What is known before the call: `tenant=`, `feature=`, `model=`, `provider=`, `run=`, `step=`, ...
        """
        return Call(self, fields)

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until everything emitted so far is delivered or lost.

        Args:
            timeout_s: Seconds to wait at most; `flush_timeout_s` without.

        Returns:
            How many events are still on their way.
        """
        return lifecycle.wait(self._outbox, self._outbox.plan.flush_timeout_s if timeout_s is None else timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Flush, send a last heartbeat, and end. Takes `flush_timeout_s` seconds, or `timeout_s`, and 1.5 s at most.

        What is not delivered by then counts as dropped, and so does what is emitted later. Closing twice is closing
        once.
        """
        lifecycle.close(self._outbox, self._outbox.plan.flush_timeout_s if timeout_s is None else timeout_s)

    def stats(self) -> Stats:
        """What became of the events so far, in this process."""
        return self._outbox.stats()

    def note_fault(self, fault: Exception) -> None:
        """Remember that something in the shim, or in how it was called, failed without harm; the first is logged."""
        # The text of a TypeError is about arguments; that of others may quote what was to be sent.
        self._outbox.last_error = (
            f"{type(fault).__name__}: {fault}" if type(fault) is TypeError else type(fault).__name__
        )
        if not self._told_fault:
            self._told_fault = True
            _LOG.warning("tokentrail: a call's event is incomplete: %s", self._outbox.last_error)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's producer alone, with empty counts. Called by itself."""
        old = self._outbox
        self._outbox = Outbox(old.plan, old.unavailable)
        self._outbox.close_by = old.close_by

    def __enter__(self) -> Trail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # A trail that nobody holds any more: its thread flushes and ends by itself.
        with suppress(Exception):  # the constructor may have failed, or the interpreter be at its end
            lifecycle.let_go(self._outbox)


def _check(
    defaults: object, settings: object, content: object, max_bytes: object, max_events: object, max_event_bytes: object
) -> None:
    for name, value in (("defaults", defaults), ("kafka", settings)):
        if value is not None and not isinstance(value, Mapping):
            raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    if content not in MODES:
        raise ValueError(f"content must be one of {', '.join(MODES)}, not {content!r}")
    bounds = (
        ("max_buffer_bytes", max_bytes, 1),
        ("max_buffer_events", max_events, 1),
        ("max_event_bytes", max_event_bytes, _MIN_EVENT_BYTES),
    )
    for name, value, least in bounds:
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
