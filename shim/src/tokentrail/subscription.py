"""`tokentrail.subscribe`: anomalies as they are raised, by a plain consumer. Needs no more than the rest of the shim.

A broker that goes away is waited for, however long; what came meanwhile is read when it is back. Delivery is at least
once: the same revision may come again after a restart, never with another content; `id` and `revision` name it, and
within one subscription each comes once.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, Union

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from .anomaly import Anomaly, read
from .kafka import LibraryLog

_LOG = logging.getLogger("tokentrail")

# Revisions remembered, so that each is given once: about 20 MB.
REMEMBERED = 100_000
POLL_S = 0.2
TOLD_EVERY_S = 60.0

Names = Union[str, Collection[str], None]
Since = Union[datetime, timedelta, float, None]


class SubscriptionError(Exception):
    """Anomalies cannot be read: no topic, no right to it, or no broker within `connect_timeout_s` at the start."""


class Subscription:
    """Anomalies as they are raised: iterate over it, in one thread. `close` it, or use it as a context manager.

        for anomaly in tokentrail.subscribe("kafka:9092", tier=1):
            page(anomaly.why)

    Args:
        bootstrap: Kafka's address; default: TOKENTRAIL_KAFKA_BOOTSTRAP.
        tenant: Only of this tenant, or of these.
        rule: Only of this rule, or of these; one that ends in a point takes all that begin so (`cost.`).
        tier: 1 pages, 2 tickets, 3 reviews; one or several.
        since: From a datetime on, from a timedelta ago, or from seconds since 1970; default: from now on.
        group: A name under which Kafka remembers what was handled, so that the next start goes on there. An anomaly
            counts as handled when the one after it is asked for.
        idle_s: End when nothing has come for so long.
        shadow: Also of rules that are being tried out.
        topic: Its name, with the installation's prefix.
        connect_timeout_s: How long to wait for Kafka at the start.
        kafka: Further settings of librdkafka, for example for security.

    Raises:
        SubscriptionError: There is no such topic, no right to it, or no broker at the start.
    """

    def __init__(
        self,
        bootstrap: str | None = None,
        *,
        tenant: Names = None,
        rule: Names = None,
        tier: int | Collection[int] | None = None,
        since: Since = None,
        group: str | None = None,
        idle_s: float | None = None,
        shadow: bool = False,
        topic: str = "llm.anomalies",
        connect_timeout_s: float = 30.0,
        kafka: Mapping[str, Any] | None = None,
    ) -> None:
        self._tenants, self._rules = _names(tenant), _names(rule)
        self._tiers = None if tier is None else {tier} if isinstance(tier, int) else set(tier)
        self._idle_s, self._shadow, self._topic = idle_s, shadow, topic
        self._group = group
        self._seen: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._handled: Message | None = None
        self._told_s = 0.0
        self._closed = False
        address = bootstrap or os.environ.get("TOKENTRAIL_KAFKA_BOOTSTRAP")
        if not address:
            raise SubscriptionError("Say where Kafka is: subscribe('kafka:9092'), or set TOKENTRAIL_KAFKA_BOOTSTRAP.")
        self._consumer = Consumer(
            {
                "bootstrap.servers": address,
                "client.id": "tokentrail-subscribe",
                "fetch.wait.max.ms": 100,
                "auto.offset.reset": "earliest",
                **(kafka or {}),
                "group.id": group or f"tokentrail-subscribe-{uuid.uuid4().hex}",
                "enable.auto.commit": group is not None,
                # Only what was asked beyond counts as handled.
                "enable.auto.offset.store": False,
                "error_cb": self._on_error,
                "logger": LibraryLog(),
            }
        )
        try:
            self._connect(_milliseconds(since), connect_timeout_s)
        except BaseException:
            self._consumer.close()
            raise

    def __iter__(self) -> Iterator[Anomaly]:
        return self

    def __next__(self) -> Anomaly:
        self._store()
        began_s = time.monotonic()
        while not self._closed:
            message = self._consumer.poll(POLL_S)
            if message is None:
                if self._idle_s is not None and time.monotonic() - began_s >= self._idle_s:
                    break
                continue
            error = message.error()
            if error is not None:
                if error.retriable() or error.code() == KafkaError._PARTITION_EOF:
                    continue
                raise SubscriptionError(f"{self._topic} cannot be read: {error.str()}")
            self._handled = message
            anomaly = self._wanted(message)
            if anomaly is not None:
                return anomaly
            self._store()
        raise StopIteration

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it. With a group, everything up to the anomaly before the last given one is marked as handled."""
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _connect(self, since_ms: int | None, timeout_s: float) -> None:
        """Decide where to begin before anything is read, so that nothing falls between; a broker may be starting."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return self._begin(since_ms, max(0.1, deadline_s - time.monotonic()))
            except KafkaException as error:
                if time.monotonic() >= deadline_s:
                    raise SubscriptionError(f"Kafka does not answer: {error.args[0].str()}") from error
                time.sleep(POLL_S)

    def _begin(self, since_ms: int | None, timeout_s: float) -> None:
        found = self._consumer.list_topics(self._topic, timeout=timeout_s).topics[self._topic]
        if found.error is not None:
            raise SubscriptionError(f"There is no topic {self._topic} ({found.error.str()}).")
        places = [TopicPartition(self._topic, number) for number in found.partitions]
        begin = self._offsets(places, since_ms, timeout_s)
        if self._group is None:
            self._consumer.assign(begin)
            return
        missing = [place for place in self._consumer.committed(places, timeout=timeout_s) if place.offset < 0]
        if missing:
            # A group that has never been here: it begins where a subscription without one would.
            numbers = {place.partition for place in missing}
            self._consumer.commit(offsets=[one for one in begin if one.partition in numbers], asynchronous=False)
        self._consumer.subscribe([self._topic])

    def _offsets(self, places: list[TopicPartition], since_ms: int | None, timeout_s: float) -> list[TopicPartition]:
        if since_ms is not None:
            asked = [TopicPartition(self._topic, place.partition, since_ms) for place in places]
            places = self._consumer.offsets_for_times(asked, timeout=timeout_s)
        for place in places:
            if place.offset < 0:
                place.offset = self._consumer.get_watermark_offsets(place, timeout=timeout_s)[1]
        return places

    def _wanted(self, message: Message) -> Anomaly | None:
        try:
            anomaly = read(message.value() or b"")
        except ValueError as error:
            _LOG.warning("tokentrail: skipped a record of %s that is no anomaly (%s)", self._topic, error)
            return None
        name = anomaly.id, anomaly.revision
        if name in self._seen:
            return None
        self._seen[name] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return anomaly if self._passes(anomaly) else None

    def _passes(self, anomaly: Anomaly) -> bool:
        return (
            (self._shadow or not anomaly.shadow)
            and (self._tenants is None or anomaly.tenant in self._tenants)
            and (self._tiers is None or anomaly.tier in self._tiers)
            and (
                self._rules is None
                or anomaly.rule in self._rules
                or any(anomaly.rule.startswith(name) for name in self._rules if name.endswith("."))
            )
        )

    def _store(self) -> None:
        """The next one is asked for, so the one before is handled."""
        if self._group is not None and self._handled is not None:
            try:
                self._consumer.store_offsets(message=self._handled)
            except KafkaException:
                # The partition is another member's now, which reads it again.
                _LOG.debug("tokentrail: an offset could not be stored", exc_info=True)
        self._handled = None

    def _on_error(self, error: KafkaError) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            _LOG.warning("tokentrail: anomalies cannot be read for now, waiting for Kafka (%s)", error.str())


# `for anomaly in tokentrail.subscribe(...)`.
subscribe = Subscription


def _names(given: Names) -> Collection[str] | None:
    return None if given is None else {given} if isinstance(given, str) else set(given)


def _milliseconds(since: Since) -> int | None:
    if since is None:
        return None
    if isinstance(since, timedelta):
        return int((time.time() - since.total_seconds()) * 1000)
    if isinstance(since, datetime):
        moment = since if since.tzinfo else since.replace(tzinfo=timezone.utc)
        return int(moment.timestamp() * 1000)
    return int(since * 1000)
