"""AsyncAPI 3 document of what others may read from and write to Kafka, generated from the structs and topics.

`python -m schemas.asyncapi` writes it to `schemas/asyncapi.json`; a test fails when it is not current. Public are the
topic that producers write, and those that operators read or write; the others are the pipeline's own and may change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from schemas.anomaly import Anomaly
from schemas.control import Control
from schemas.event import Event
from schemas.topics import ANOMALY_SCHEMA, BY_NAME, CONTROL_SCHEMA, EVENT_SCHEMA
from schemas.window import Late, Windows

FILE: Final = Path(__file__).parent / "asyncapi.json"
VERSION: Final = "1.0.0"
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Channel:
    """One public topic.

    Attributes:
        topic: Logical name; the prefix is the installation's.
        action: What others do with it, seen from the pipeline: it receives events and sends anomalies.
        kinds: The records in it.
        key: What the Kafka key is.
        summary: One line.
        headers: Kafka headers by name, and what they hold.
    """

    topic: str
    action: Literal["send", "receive"]
    kinds: dict[str, type]
    key: str
    summary: str
    headers: dict[str, str]


CHANNELS: Final = (
    Channel(
        "calls.raw",
        "receive",
        {EVENT_SCHEMA: Event},
        "tenant, \\x1f, and run, else session, else id; partitioner murmur2_random",
        "What applications send: one event a record, one record a call.",
        {
            "schema": f"{EVENT_SCHEMA}",
            "producer": "instance of the producer, new after a fork",
            "sequence": "number of the event, without gaps, from 1",
        },
    ),
    Channel(
        "anomalies",
        "send",
        {ANOMALY_SCHEMA: Anomaly},
        "tenant",
        "Findings with their revisions. At least once: the same id and revision may come again, with the same content.",
        {"schema": ANOMALY_SCHEMA, "rule": "name of the rule"},
    ),
    Channel(
        "windows",
        "send",
        {"tokentrail.window.v1": Windows, "tokentrail.late.v1": Late},
        "tenant",
        "Closed windows and their revisions: keep the highest revision of each; and events that came too late for "
        "theirs.",
        {},
    ),
    Channel(
        "controls",
        "receive",
        {CONTROL_SCHEMA: Control},
        "kind, selector, owner and version; compacted",
        "Switches, budgets, rules, policies, holds and erasures. Written by `tokentrail`; a release is a record.",
        {},
    ),
)


def generate() -> dict[str, Any]:
    """The document."""
    kinds = [kind for channel in CHANNELS for kind in channel.kinds.values()]
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for channel in CHANNELS:
        name = _name(channel.topic)
        topic = BY_NAME[channel.topic]
        for schema, kind in channel.kinds.items():
            messages[_name(schema)] = _message(schema, kind, channel)
        channels[name] = {
            "address": f"{{prefix}}{channel.topic}",
            "title": channel.topic,
            "description": channel.summary,
            "messages": {_name(schema): {"$ref": f"#/components/messages/{_name(schema)}"} for schema in channel.kinds},
            "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
            "bindings": {"kafka": {"topicConfiguration": _settings(topic.retention_ms, topic.settings)}},
        }
        operations[f"{channel.action}{name[0].upper()}{name[1:]}"] = {
            "action": channel.action,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": channel.summary,
            "messages": [{"$ref": f"#/channels/{name}/messages/{_name(schema)}"} for schema in channel.kinds],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tokentrail",
            "version": VERSION,
            "description": "Telemetry of language model calls on Kafka. Readers accept fields that they do not know; "
            "fields are added, and never removed, retyped or made required.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": dict(sorted(components.items())),
            "parameters": {"prefix": {"description": "Prefix of the installation's topics.", "default": "llm."}},
        },
    }


def text() -> str:
    """The document as it stands in its file."""
    return json.dumps(generate(), indent=2, sort_keys=True) + "\n"


def _message(schema: str, kind: type, channel: Channel) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": schema,
        "title": kind.__name__,
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": channel.key}, "bindingVersion": "0.5.0"}},
    }
    if channel.headers:
        found["headers"] = {
            "type": "object",
            "properties": {name: {"type": "string", "description": said} for name, said in channel.headers.items()},
        }
    return found


def _settings(retention_ms: int, settings: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"retention.ms": retention_ms}
    if "cleanup.policy" in settings:
        found["cleanup.policy"] = [settings["cleanup.policy"]]
    if "max.message.bytes" in settings:
        found["max.message.bytes"] = int(settings["max.message.bytes"])
    return found


def _name(text: str) -> str:
    """`calls.raw` as `callsRaw`, `tokentrail.event.v1` as `eventV1`."""
    first, *others = text.removeprefix("tokentrail.").split(".")
    return first + "".join(one.capitalize() for one in others)


def main() -> None:
    """Write the file."""
    FILE.write_text(text())


if __name__ == "__main__":
    main()
