"""The installation's identity on `llm.controls`: registered with the topics, compared by every stage. Blocking."""

from __future__ import annotations

import time

import msgspec
from confluent_kafka import Producer

from pipeline.errors import RetryableError, UsageError
from pipeline.identity import Identity, of, require_same
from pipeline.settings import Settings
from pipeline.transport.tail import read_all
from schemas.control import Control

REQUEST_S = 15.0


def register(settings: Settings) -> list[str]:
    """Write down whose topics these are, if nobody has; returns one sentence when it did.

    Raises:
        UsageError: They are another installation's.
        RetryableError: Kafka does not answer.
    """
    own, there = of(settings), registered(settings)
    if there is not None:
        require_same(there, own, f"Kafka at {settings.kafka_bootstrap} with the topics {settings.prefix}*")
        if there.key or not own.key:
            return []
    control = Control(
        kind="installation",
        owner="migrate",
        body={"environment": own.environment, "key": own.key},
        set_at=int(time.time() * 1000),
    )
    failures: list[str] = []
    producer = Producer(settings.librdkafka(**{"acks": "all", "enable.idempotence": True, "log_level": 3}))
    producer.produce(
        settings.topic("controls"),
        msgspec.json.encode(control),
        control.key(),
        on_delivery=lambda error, _: failures.append(error.name()) if error else None,
    )
    if producer.flush(REQUEST_S) or failures:
        raise RetryableError(f"The installation could not be registered on {settings.topic('controls')}: {failures}.")
    return [f"The topics {settings.prefix}* belong to the environment {own.environment or 'without a name'}."]


def check(settings: Settings) -> None:
    """Compare the settings with what is registered.

    Raises:
        UsageError: The topics are another installation's, or nobody has registered one.
        RetryableError: Kafka does not answer.
    """
    there = registered(settings)
    where = f"Kafka at {settings.kafka_bootstrap} with the topics {settings.prefix}*"
    if there is None:
        raise UsageError(f"Nobody has registered whose {where} is: run `tokentrail migrate`.")
    require_same(there, of(settings), where)


def registered(settings: Settings) -> Identity | None:
    """Whose topics these are; None when nobody has said so."""
    found = None
    for record in read_all(settings, "controls", 0):
        try:
            control = msgspec.json.decode(record.value or b"", type=Control)
        except msgspec.MsgspecError:
            continue
        if control.kind == "installation":
            found = Identity(str(control.body.get("environment", "")), str(control.body.get("key", "")))
    return found
