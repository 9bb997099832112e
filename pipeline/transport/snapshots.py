"""State snapshots on `llm.snapshots`: compressed, in chunks, counted only when every chunk is there.

Knows nothing of what is in a snapshot. Blocking parts run in threads.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.settings import Settings
from pipeline.transport.producer import RangeProducer


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One complete snapshot.

    Attributes:
        stage: Name of the stage that wrote it.
        partition: Input partition whose state it is.
        input_next: Input offset to resume at.
        source_next: Next source offset (of `calls.raw`) that the state waits for.
        payload: The state, as the stage packed it.
    """

    stage: str
    partition: int
    input_next: int
    source_next: int
    payload: bytes


async def write(producer: RangeProducer, snapshot: Snapshot) -> None:
    """Deliver one snapshot.

    Raises:
        DeliveryError: Not all chunks were acknowledged; the snapshot does not count.
    """
    raise NotImplementedError


def restore(settings: Settings, stage: str, partition: int) -> Snapshot | None:
    """The complete snapshot with the highest `input_next`, or None. Blocking."""
    raise NotImplementedError
