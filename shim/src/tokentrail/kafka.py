"""How the shim sets librdkafka up: settings that keep the promises, and where its log lines go. No state here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Callable

from confluent_kafka import KafkaError, Producer

DELIVERY_TIMEOUT_MS = 120_000
_LOG = logging.getLogger("tokentrail")
_LIBRARY_LOG = logging.getLogger("tokentrail.librdkafka")

FIXED = frozenset(
    (
        "partitioner",  # a run written by two kinds of producers must not be split over partitions
        "on_delivery",
        "delivery.report.only.error",
        "queue.buffering.max.messages",
        "queue.buffering.max.kbytes",
        "logger",
        "log_cb",
        "error_cb",
    )
)
"""Settings that an application cannot change, because counts, bounds or the wire contract hang on them."""


class LibraryLog:
    """Takes librdkafka's log lines, which otherwise go to the application's stderr, to a logger, as details.

    What a person should know arrives a second time as an error, and the outbox tells that at most once a minute.
    """

    def log(self, level: int, line: str, *parts: object) -> None:
        """The one method of `logging.Logger` that confluent-kafka calls; `level` is Python's."""
        _LIBRARY_LOG.debug(line, *parts)


def settings(
    bootstrap: str,
    extra: Mapping[str, Any],
    max_buffer_bytes: int,
    max_buffer_events: int,
    max_event_bytes: int,
) -> dict[str, Any]:
    """Settings for librdkafka; `extra` wins over all that is not in `FIXED`."""
    chosen: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "client.id": "tokentrail",
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 20,
        "compression.type": "lz4",
        "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        # Brokers take 1 MiB by default; a record is its value, key and headers.
        "message.max.bytes": max(1_000_000, max_event_bytes + 65_536),
    }
    chosen.update((name, value) for name, value in extra.items() if name not in FIXED)
    for name in FIXED.intersection(extra):
        _LOG.warning("tokentrail: the Kafka setting %s is the shim's own, what was given is ignored", name)
    chosen.update(
        {
            "partitioner": "murmur2_random",
            # The outbox has its own, exact bounds; these stand behind it and must never be the first to be reached.
            "queue.buffering.max.messages": max_buffer_events + 1_000,
            "queue.buffering.max.kbytes": 2 * max_buffer_bytes // 1024 + 4_096,
        }
    )
    return chosen


def connect(chosen: dict[str, Any], on_error: Callable[[KafkaError], None]) -> Producer:
    """A producer; it connects in the background.

    Raises:
        KafkaException: for a setting that librdkafka does not know or take.
        Exception: of other kinds, for values of a wrong type.
    """
    return Producer({**chosen, "error_cb": on_error, "logger": LibraryLog()})
