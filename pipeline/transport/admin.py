"""Create the topics of the contract and keep the epoch registry.

Never alters the partitions of a topic that is there, never deletes one. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.errors import RetryableError, UnknownEpochError, UsageError
from pipeline.settings import Settings
from pipeline.transport import identity
from pipeline.transport.tail import read_all
from schemas.control import Control, Epoch
from schemas.topics import TOPICS

T = TypeVar("T")

REQUEST_S: Final = 15.0
# Positions and partition numbers of these must mean the same for ever: their incarnations are counted.
COUNTED: Final = ("calls.raw", "facts", "calls", "ledger")


def kafka_answers(settings: Settings, timeout_s: float = 2.0) -> bool:
    """True when a broker answers within `timeout_s`. Blocking."""
    try:
        _admin(settings).list_topics(timeout=timeout_s)
    except KafkaException:
        return False
    return True


def migrate_topics(settings: Settings) -> list[str]:
    """Create what is missing and register new incarnations; returns one sentence for each thing done. Blocking.

    Raises:
        RetryableError: Kafka does not answer or refuses for now.
        UsageError: A topic of the installation has another number of partitions than its neighbours, or the topics are
            another installation's.
    """
    client = _admin(settings)
    done = _create_missing(client, settings)
    done += identity.register(settings)
    done += _register(client, settings)
    return done


class Epochs:
    """Ordinals of topic incarnations, from 1, by the `epoch` controls that `migrate_topics` wrote.

    The registry is read when an unknown id turns up, so that a migration need not stop anyone.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = _admin(settings)
        self._known: dict[tuple[str, str], int] = {}  # topic, topic id: ordinal
        self._current: dict[str, int] = {}

    def current(self, topic: str) -> int:
        """Ordinal of the incarnation seen by the last `check`; `topic` is the logical name. Does not block.

        Raises:
            UnknownEpochError: The topic is not in the registry.
        """
        try:
            return self._current[topic]
        except KeyError:
            raise _unknown(self._settings.topic(topic), "no id") from None

    def check(self) -> None:
        """Compare the topics' ids with the registry. Blocking.

        Raises:
            UnknownEpochError: A topic's id is not registered, or it is not the one that was there before.
            RetryableError: Kafka does not answer.
        """
        ids = _topic_ids(self._client, [self._settings.topic(name) for name in COUNTED])
        here = {name: ids.get(self._settings.topic(name), "") for name in COUNTED}
        if any(item not in self._known for item in here.items()):
            self._known = {(epoch.topic, epoch.topic_id): epoch.ordinal for epoch in _registry(self._settings)}
        for name, topic_id in here.items():
            ordinal = self._known.get((name, topic_id))
            if ordinal is None or self._current.get(name, ordinal) != ordinal:
                raise _unknown(self._settings.topic(name), topic_id or "the topic is missing")
            self._current[name] = ordinal


def _create_missing(client: AdminClient, settings: Settings) -> list[str]:
    there = _retrying(lambda: client.list_topics(timeout=REQUEST_S).topics)
    spread = {len(there[name].partitions) for t in TOPICS if t.spread and (name := settings.topic(t.name)) in there}
    if len(spread) > 1:
        raise UsageError(
            f"The topics {settings.prefix}* that keep raw partition numbers have {sorted(spread)} partitions; they "
            "must all have the same number. Set another TOKENTRAIL_PREFIX, or drain and recreate them."
        )
    partitions = spread.pop() if spread else settings.partitions
    missing = [
        NewTopic(
            settings.topic(topic.name),
            num_partitions=partitions if topic.spread else 1,
            replication_factor=settings.replication,
            config={"retention.ms": str(topic.retention_ms), **topic.settings},
        )
        for topic in TOPICS
        if settings.topic(topic.name) not in there
    ]
    if not missing:
        return []
    done = []
    for name, future in client.create_topics(missing, operation_timeout=REQUEST_S).items():
        try:
            future.result()
            done.append(f"Topic {name} is created.")
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another migration was quicker
                raise RetryableError(f"Topic {name} could not be created: {error.args[0].str()}.") from error
    return done


def _register(client: AdminClient, settings: Settings) -> list[str]:
    ids = _settled_ids(client, [settings.topic(name) for name in COUNTED])
    registry = _registry(settings)
    fresh: list[Epoch] = []
    for name in COUNTED:
        earlier = [epoch for epoch in registry if epoch.topic == name]
        if not any(epoch.topic_id == ids[settings.topic(name)] for epoch in earlier):
            ordinal = 1 + max((epoch.ordinal for epoch in earlier), default=0)
            fresh.append(Epoch(topic=name, ordinal=ordinal, topic_id=ids[settings.topic(name)]))
    if fresh:
        _append(settings, fresh)
    return [f"Topic {settings.topic(epoch.topic)} is in epoch {epoch.ordinal}." for epoch in fresh]


def _append(settings: Settings, epochs: list[Epoch]) -> None:
    failures: list[str] = []
    producer = Producer(settings.librdkafka(**{"acks": "all", "enable.idempotence": True, "log_level": 3}))
    for epoch in epochs:
        control = Control(
            kind="epoch",
            selector={"topic": epoch.topic},
            owner="migrate",
            version=epoch.ordinal,
            body=msgspec.to_builtins(epoch),
            set_at=int(time.time() * 1000),
        )
        producer.produce(
            settings.topic("controls"),
            msgspec.json.encode(control),
            control.key(),
            on_delivery=lambda error, _: failures.append(error.name()) if error else None,
        )
    if producer.flush(REQUEST_S) or failures:
        raise RetryableError(
            f"Epochs could not be registered on {settings.topic('controls')}: {failures or 'time-out'}."
        )


def _registry(settings: Settings) -> list[Epoch]:
    found: dict[tuple[str, int], Epoch] = {}
    for record in read_all(settings, "controls", 0):
        try:
            control = msgspec.json.decode(record.value or b"", type=Control)
            epoch = msgspec.convert(control.body, Epoch) if control.kind == "epoch" else None
        except msgspec.MsgspecError:
            continue
        if epoch is not None:
            # The first of two migrations that ran at once wins; the other's id is registered by its next run.
            found.setdefault((epoch.topic, epoch.ordinal), epoch)
    return list(found.values())


def _settled_ids(client: AdminClient, names: list[str]) -> dict[str, str]:
    """Ids of topics that may have been created a moment ago."""
    deadline = time.monotonic() + REQUEST_S
    while True:
        ids = _topic_ids(client, names)
        if all(name in ids for name in names):
            return ids
        if time.monotonic() > deadline:
            raise RetryableError(
                f"Kafka does not know {sorted(set(names) - set(ids))} {REQUEST_S:.0f} s after creation."
            )
        time.sleep(0.05)


def _topic_ids(client: AdminClient, names: list[str]) -> dict[str, str]:
    futures = _retrying(lambda: client.describe_topics(TopicCollection(names), request_timeout=REQUEST_S))
    ids: dict[str, str] = {}
    for name, future in futures.items():
        try:
            raw = future.result().topic_id
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                continue
            raise RetryableError(f"Kafka does not describe {name}: {error.args[0].str()}.") from error
        ids[name] = str(raw)
    return ids


def _retrying(call: Callable[[], T]) -> T:
    try:
        return call()
    except KafkaException as error:
        raise RetryableError(f"Kafka does not answer: {error.args[0].str()}.") from error


def _admin(settings: Settings) -> Any:
    return AdminClient(settings.librdkafka(**{"log_level": 2, "client.id": "tokentrail-admin"}))


def _unknown(name: str, topic_id: str) -> UnknownEpochError:
    return UnknownEpochError(
        f"{name} ({topic_id}) is not the topic that the epoch registry knows: it was recreated, or "
        "`tokentrail migrate` was not run. Drain what reads the old one, run it, and start the workers again."
    )
