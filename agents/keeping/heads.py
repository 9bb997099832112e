"""Signs the head of each partition's ledger when it has moved, every ten minutes by default.

What is signed has been copied to ClickHouse before, so that a copy that ends earlier has lost something. The last
signed head before `end` is its `previous`, whoever signed it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from agents.keeping.copy import Copy
from agents.keeping.job import Keeping
from pipeline.audit import heads
from pipeline.audit.ledger import encode
from pipeline.transport.producer import Outgoing, RangeProducer
from schemas.ledger import Entry, Signed

OWNER: Final = "keep"


class Heads:
    """The job. State: when it last signed.

    Args:
        copy: The job that copies the ledger.
    """

    name = "heads"
    every_s = 5.0

    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._signed_at_s = float("-inf")

    def run(self, at: Keeping) -> None:
        """Sign what has moved, if it is time."""
        if time.monotonic() - self._signed_at_s < at.settings.head_every_s:
            return
        self.sign(at)
        self._signed_at_s = time.monotonic()

    def sign(self, at: Keeping) -> int:
        """Sign what has moved, and copy that too; returns how many heads were signed."""
        self._copy.run(at)
        records = [entry for partition in range(at.partitions) if (entry := self._entry(at, partition)) is not None]
        if records:
            asyncio.run(_deliver(at, records))
            self._copy.run(at)
        return len(records)

    def _entry(self, at: Keeping, partition: int) -> Entry | None:
        follower, last = self._copy.followers[partition], self._copy.signed.get(partition)
        state = follower.state
        # The record of a signed head moves the head too; that alone is not worth another one.
        if state.accepted <= (0 if last is None else last.accepted + 1):
            return None
        previous = "" if last is None else heads.digest(partition, last)
        unsigned = Signed(follower.end, state.head, state.accepted, time.time_ns() // 1_000_000, previous, "", "")
        signed = heads.sign(heads.private_key(at.keys), partition, unsigned)
        return Entry(partition, OWNER, follower.end, state, signed=signed)


async def _deliver(at: Keeping, records: list[Entry]) -> None:
    producer = RangeProducer(at.settings, client_id="tokentrail-heads")
    try:
        await producer.deliver(
            [Outgoing("ledger", encode(entry), str(entry.partition).encode(), entry.partition) for entry in records]
        )
    finally:
        await producer.close()
