"""Kafka: does it answer, are the topics those of the contract, are their incarnations known, is there a policy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pipeline.cli.checks import Finding, fail, ok, warn
from pipeline.cli.sender import Silent
from pipeline.cli.times import duration, iso_ms
from pipeline.errors import UnknownEpochError
from schemas.topics import TOPICS, Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings

REQUEST_S: Final = 5.0
ANSWER_S: Final = 10.0
# A topic that differs in one of these breaks what other parts rely on.
_LOAD_BEARING: Final = ("message.timestamp.type", "cleanup.policy")
MIGRATE: Final = "Run `tokentrail migrate`."


def admin(settings: Settings) -> AdminClient:
    """A client for looking at things."""
    return AdminClient(settings.librdkafka(**{"client.id": "tokentrail-doctor", "logger": Silent()}))


def reachable(settings: Settings) -> Iterator[Finding]:
    """Whether a broker answers."""
    begun = time.monotonic()
    try:
        found = admin(settings).list_topics(timeout=REQUEST_S)
    except KafkaException as error:
        yield fail(
            "kafka",
            f"{settings.kafka_bootstrap} does not answer ({error.args[0].name()}).",
            "Start it (`tokentrail up`), or set TOKENTRAIL_KAFKA_BOOTSTRAP to where it is.",
        )
        return
    took = duration(1000 * (time.monotonic() - begun))
    yield ok("kafka", f"{settings.kafka_bootstrap} answers after {took}, {len(found.brokers)} broker(s).")


def topics(settings: Settings) -> Iterator[Finding]:
    """Whether every topic is there with the partitions and settings of the contract."""
    client = admin(settings)
    there = client.list_topics(timeout=REQUEST_S).topics
    missing = [settings.topic(topic.name) for topic in TOPICS if settings.topic(topic.name) not in there]
    if missing:
        yield fail("topics", f"Missing: {', '.join(missing)}.", MIGRATE)
        if settings.topic("calls.raw") in missing:
            return
    spread = len(there[settings.topic("calls.raw")].partitions)
    wrong = []
    known = [topic for topic in TOPICS if settings.topic(topic.name) not in missing]
    for topic in known:
        count, due = len(there[settings.topic(topic.name)].partitions), spread if topic.spread else 1
        if count != due:
            wrong.append(f"{settings.topic(topic.name)} has {count} partitions, not {due}")
    if wrong:
        yield fail(
            "topics",
            "; ".join(wrong) + ".",
            "Stages keep partition numbers: drain, delete that topic, and run `tokentrail migrate`.",
        )
    odd = dict(_differences(client, settings, known))
    heavy = [said for said, is_heavy in odd.items() if is_heavy]
    light = [said for said, is_heavy in odd.items() if not is_heavy]
    if heavy:
        yield fail("topics", "; ".join(heavy) + ".", "Set it back with `kafka-configs --alter`.")
    if light:
        yield warn("topics", "; ".join(light) + ".", "Set it back, or know why it differs.")
    if not (missing or wrong or odd):
        yield ok("topics", f"{len(TOPICS)} topics as in the contract, {spread} partitions.")


def _differences(client: AdminClient, settings: Settings, known: list[Topic]) -> Iterator[tuple[str, bool]]:
    """(what differs, whether others rely on it) of the settings of topics."""
    by_name = {settings.topic(topic.name): topic for topic in known}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in by_name]
    for resource, future in client.describe_configs(asked, request_timeout=REQUEST_S).items():
        topic, found = by_name[resource.name], future.result(ANSWER_S)
        due = {"retention.ms": str(topic.retention_ms), "cleanup.policy": "delete", **topic.settings}
        if due["cleanup.policy"] == "compact":
            del due["retention.ms"]
        for name, value in due.items():
            if name in found and found[name].value != value:
                yield f"{resource.name} has {name}={found[name].value}, not {value}", name in _LOAD_BEARING


def epochs(settings: Settings) -> Iterator[Finding]:
    """Whether the topics are the ones that the epoch registry knows."""
    from pipeline.transport.admin import COUNTED, Epochs

    registry = Epochs(settings)
    try:
        registry.check()
    except UnknownEpochError as error:
        yield fail("epochs", str(error), MIGRATE)
        return
    yield ok("epochs", ", ".join(f"{settings.topic(name)} {registry.current(name)}" for name in COUNTED) + ".")


def policy(settings: Settings) -> Iterator[Finding]:
    """Whether there is a policy in force, and one that waits."""
    from pipeline.transport.policies import read_policies

    policies = read_policies(settings)
    if not policies:
        yield fail("policy", f"{settings.topic('controls')} holds none, so redact waits.", MIGRATE)
        return
    now_ms = time.time_ns() // 1_000_000
    (number, _), latest = policies.at(now_ms), policies.latest()
    waits = f"; version {latest[0]} takes effect within 30 s" if latest and latest[0] != number else ""
    yield ok("policy", f"version {number} is in force{waits}.")


def clock(settings: Settings) -> Iterator[Finding]:
    """The broker's clock, by the newest append time; ticks give one a second for each partition."""
    newest = newest_append_ms(settings)
    if newest is None:
        yield warn("kafka clock", "Nothing was appended yet, so its clock is unknown.", "Start the stages.")
        return
    ahead_ms = newest - time.time_ns() // 1_000_000
    if ahead_ms > 2_000:
        yield fail(
            "kafka clock",
            f"The broker's clock is {duration(ahead_ms)} ahead of this machine's.",
            "Let both follow one time server: retention and policies go by the broker's clock.",
        )
    elif settings.ticks == "wall" and ahead_ms < -10_000:
        yield warn(
            "kafka clock",
            f"The last append was {duration(-ahead_ms)} ago ({iso_ms(newest)}); measure writes one tick a second.",
            "Look at the measure stage, then at the broker's clock.",
        )
    else:
        yield ok("kafka clock", f"The last append was {duration(max(0, -ahead_ms))} ago by this machine's clock.")


def newest_append_ms(settings: Settings) -> int | None:
    """The newest append time in `calls.raw`, milliseconds since 1970; None when it is empty."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec

    client = admin(settings)
    name = settings.topic("calls.raw")
    partitions = client.list_topics(name, timeout=REQUEST_S).topics[name].partitions
    asked = {TopicPartition(name, number): OffsetSpec.max_timestamp() for number in partitions}
    found = [
        future.result(ANSWER_S).timestamp for future in client.list_offsets(asked, request_timeout=REQUEST_S).values()
    ]
    return max((at_ms for at_ms in found if at_ms >= 0), default=None)
