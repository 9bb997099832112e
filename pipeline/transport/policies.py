"""Policies and holds on `llm.controls`: read what stands there, and append what is new."""

from __future__ import annotations

import time

import msgspec
from confluent_kafka import KafkaException, Producer

from pipeline.control.holds import KIND as HOLD
from pipeline.control.holds import Holds
from pipeline.control.policy import Policies, load
from pipeline.errors import RetryableError
from pipeline.keys import Keys
from pipeline.settings import Settings
from pipeline.transport.tail import read_all
from schemas.control import Control, ControlKind


def read_controls(settings: Settings, kind: ControlKind) -> list[tuple[int, Control]]:
    """(append time in ms, control) of one kind in log order; what is none of this version's is left out. Blocking.

    Raises:
        RetryableError: Kafka does not answer.
    """
    found = []
    for record in read_all(settings, "controls", 0):
        try:
            control = msgspec.json.decode(record.value or b"", type=Control)
        except msgspec.MsgspecError:
            continue
        if control.kind == kind:
            found.append((record.timestamp, control))
    return found


def read_policies(settings: Settings) -> Policies:
    """All policy versions. Blocking; raises as `read_controls` does."""
    return Policies(read_controls(settings, "policy"))


def read_holds(settings: Settings, keys: Keys) -> Holds:
    """All holds, the released ones too. Blocking; raises as `read_controls` does."""
    return Holds(keys, read_controls(settings, HOLD))


def publish_policy(settings: Settings) -> list[str]:
    """Append the policy of `settings.policy_file` as the next version unless the latest says the same. Blocking.

    Without a file the default policy becomes version 1 of an installation that has none, and nothing else happens.

    Returns:
        One sentence for what was done; empty when nothing was.

    Raises:
        UsageError: The file cannot be used.
        RetryableError: Kafka did not take the record.
    """
    policy = load(settings.policy_file)
    latest = read_policies(settings).latest()
    if latest is not None and (settings.policy_file is None or latest[1] == policy):
        return []
    version = 1 if latest is None else latest[0] + 1
    control = Control(
        kind="policy",
        version=version,
        owner="migrate",
        body=msgspec.to_builtins(policy),
        set_at=int(time.time() * 1000),
    )
    append_control(settings, control)
    return [f"Policy version {version} is published" + ("." if version == 1 else "; it takes effect in 30 s.")]


def append_control(settings: Settings, control: Control) -> None:
    """Append one control record and wait until the broker has it. Blocking.

    Raises:
        RetryableError: Kafka did not take it within 20 s.
    """
    producer = Producer(settings.librdkafka(**{"acks": "all", "enable.idempotence": True}))
    failures: list[str] = []
    try:
        producer.produce(
            settings.topic("controls"),
            msgspec.json.encode(control),
            control.key(),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )
        left = producer.flush(20)
    except KafkaException as error:
        raise RetryableError(f"llm.controls did not take the record: {error}") from error
    if left or failures:
        raise RetryableError(
            f"llm.controls did not take the record: {failures[0] if failures else 'no answer in 20 s'}"
        )
