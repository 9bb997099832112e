"""An event to a Kafka record as producers send it: key, value and headers of `tokentrail.event.v1`. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from demo.desk import Body

SCHEMA: Final = b"tokentrail.event.v1"
# The partitioner that every producer must use, or one run would be split over partitions.
PARTITIONER: Final = "murmur2_random"


class Message(NamedTuple):
    """One record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Writer:
    """Numbers the events of each tenant's producer instance, as the shim does."""

    def __init__(self) -> None:
        self._sequences: dict[str, int] = {}

    def message(self, event: Body) -> Message:
        """The record of an event."""
        tenant = event["tenant"]
        sequence = self._sequences.get(tenant, -1) + 1
        self._sequences[tenant] = sequence
        unit = event.get("run") or event.get("session") or event["id"]
        headers = [("schema", SCHEMA), ("producer", f"demo-{tenant}".encode()), ("sequence", str(sequence).encode())]
        return Message(f"{tenant}\x1f{unit}".encode(), orjson.dumps(event), headers)


def tick(ts_ms: int) -> bytes:
    """The value of a tick: it moves watermarks on and is no row."""
    return orjson.dumps({"tenant": "_tick", "kind": "tick", "ts": ts_ms})
