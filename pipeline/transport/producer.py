"""Deliver a range's records to Kafka, all or an error: idempotent, acks=all, never a silent loss.

Must not retry a range (the lane does) and must not hide a delivery error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to deliver.

    Attributes:
        topic: Logical topic name (`facts`).
        value: The value.
        key: The key, or None.
        partition: Target partition; -1: by the key (murmur2, as Java's clients do).
        headers: Names and values.
    """

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int = -1
    headers: Sequence[tuple[str, bytes]] = ()


class RangeProducer:
    """One idempotent producer for a process; safe to use from concurrent tasks of one event loop."""

    def __init__(self, settings: Settings, *, client_id: str = "tokentrail", message_timeout_s: float = 30.0) -> None:
        self._settings = settings

    async def deliver(self, records: Sequence[Outgoing]) -> list[int]:
        """Deliver all records; returns their offsets in the order of `records`.

        Raises:
            DeliveryError: At least one was not acknowledged; the caller repeats the whole range.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Wait shortly for what is in flight and close."""
