"""The fold of one partition's ledger as it stood before an offset, read from there backwards. Reads only; blocking."""

from __future__ import annotations

from pipeline.audit.ledger import Follower
from pipeline.transport.tail import Reader
from schemas.ledger import State

LEDGER = "ledger"


def state_before(reader: Reader, partition: int, offset: int) -> State | None:
    """The state after every record below `offset`; None when nothing says it. Raises as `follower_before`."""
    follower = follower_before(reader, partition, offset)
    return None if follower is None else follower.state


def follower_before(reader: Reader, partition: int, offset: int) -> Follower | None:
    """A follower that has folded every record below `offset`; None when the last one is unreadable or there is none.

    That record carries what its writer had folded, so that only what came after that is read.

    Raises:
        RetryableError: Kafka does not answer.
    """
    for record in reader.read(LEDGER, partition, offset - 1, offset):
        follower = Follower.from_tail(partition, record.value or b"")
        if follower is None:
            return None
        for later in reader.read(LEDGER, partition, follower.end, offset):
            follower.fold(later.offset, later.value or b"")
        return follower
    return None
