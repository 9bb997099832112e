"""Positions: a record is an event is a position. Identity of everything that comes out of `llm.calls.raw`."""

from __future__ import annotations

import msgspec


class Position(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """Where an event stands in `llm.calls.raw`.

    Attributes:
        epoch: Ordinal of the topic's incarnation (a recreated topic starts a new epoch), from the epoch registry.
        partition: Kafka partition.
        offset: Kafka offset.
    """

    epoch: int
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}/{self.partition}/{self.offset}"
