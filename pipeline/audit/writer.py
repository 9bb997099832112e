"""One owner's hand on a partition's ledger: fold what is there, append, and learn from the log what became of it.

Generators that yield effects, as all of the lane's protocol.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from pipeline.audit.effects import Deliver, Effect, ReadLedger
from pipeline.audit.ledger import Follower, Verdict, encode
from pipeline.errors import DeliveryError, FencedError, RetryableError
from schemas.ledger import Claim, Done, Entry, Intent, State

T = TypeVar("T")
Steps = Generator[Effect, Any, T]


class LedgerWriter:
    """Appends to the ledger of one partition under one owner's name.

    Args:
        partition: Which.
        owner: Unique name of this process.
    """

    def __init__(self, partition: int, owner: str) -> None:
        self.partition = partition
        self.owner = owner
        self._follower = Follower(partition)

    @property
    def state(self) -> State:
        """The fold of the ledger as far as it is known."""
        return self._follower.state

    def load(self) -> Steps[None]:
        """Fold the ledger's end: from the state that its last record carries, else from the beginning."""
        last = yield ReadLedger(None)
        follower = Follower.from_tail(self.partition, last[-1][1]) if last else None
        self._follower = follower or Follower(self.partition)
        yield from self._catch_up()

    def write(
        self, *, claim: Claim | None = None, done: Done | None = None, intent: Intent | None = None
    ) -> Steps[Verdict]:
        """Append a record and learn what became of it. When nobody came between, its offset alone says so.

        Raises:
            DeliveryError: The record may be in the log or come there later; what is there by now has been folded.
        """
        follower = self._follower
        value = encode(Entry(self.partition, self.owner, follower.end, follower.state, claim, done, intent))
        try:
            offset = yield Deliver(value)
        except DeliveryError:
            yield from self._catch_up()
            raise
        if offset == follower.end:
            return follower.fold(offset, value)
        return (yield from self._catch_up())[offset]

    def commit(self, *, done: Done | None = None, intent: Intent | None = None) -> Steps[None]:
        """Append a record that has to be accepted.

        Raises:
            FencedError: Another owner has claimed the partition.
            RetryableError: The log holds something that came in between; it has been folded.
        """
        verdict = yield from self.write(done=done, intent=intent)
        if verdict.accepted:
            return
        if self.state.owner != self.owner:
            raise FencedError(
                f"partition {self.partition} belongs to {self.state.owner or 'nobody'} now; this process "
                f"({self.owner}) was away too long. It ends and may start again."
            )
        raise RetryableError(f"partition {self.partition}: the ledger rejects a record ({verdict.reason})")

    def _catch_up(self) -> Steps[dict[int, Verdict]]:
        verdicts = {}
        for offset, value in (yield ReadLedger(self._follower.end)):
            verdicts[offset] = self._follower.fold(offset, value)
        return verdicts
