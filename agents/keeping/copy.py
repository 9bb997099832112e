"""Copies the ledger to ClickHouse every two seconds, record by record, each with what the fold says of it.

Knows besides what comes of folding: the state that the copy has reached, and the last signed head before it. Two of it
at a time write the same rows twice, which harms nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from agents.keeping.job import Keeping
from pipeline.audit import copies, heads
from pipeline.audit.leaves import seal_key
from pipeline.audit.ledger import Follower, Verdict
from pipeline.storage import ledger_copy
from pipeline.transport.ledgers import follower_before
from pipeline.transport.tail import Reader
from schemas.ledger import Signed

# Rows of one insert; a record is a kilobyte or two, seldom some hundred.
BATCH: Final = 2_000
TOPIC: Final = "ledger"


class Copy:
    """The job. State: how far each partition is copied.

    Attributes:
        followers: By partition, the fold of all that is copied.
        signed: By partition, the last signed head in that.
    """

    name = "copy"
    every_s = 2.0

    def __init__(self) -> None:
        self.followers: dict[int, Follower] = {}
        self.signed: dict[int, Signed] = {}
        self._reader: Reader | None = None

    def run(self, at: Keeping) -> None:
        """Copy what came since."""
        self._reader = self._reader or Reader(at.settings)
        for partition in range(at.partitions):
            follower = self.followers.pop(partition, None) or self._resume(at, self._reader, partition)
            self._copy(at, self._reader, follower)
            # Only now: after a failure the copy itself is asked how far it is.
            self.followers[partition] = follower

    def _copy(self, at: Keeping, reader: Reader, follower: Follower) -> None:
        _, end = reader.bounds(TOPIC, follower.partition)
        rows = self._rows(at, reader, follower, end)
        while batch := list(islice(rows, BATCH)):
            ledger_copy.append(at.client, follower.partition, batch)

    def _rows(self, at: Keeping, reader: Reader, follower: Follower, end: int) -> Iterator[tuple[Any, ...]]:
        key, partition = seal_key(at.keys), follower.partition
        for record in reader.read(TOPIC, partition, follower.end, end):
            value = record.value or b""
            verdict = follower.fold(record.offset, value)
            self._look(at, partition, verdict)
            yield copies.row(key, partition, record.offset, record.timestamp, value, verdict, follower.state)

    def _resume(self, at: Keeping, reader: Reader, partition: int) -> Follower:
        """The fold of what is copied already, and the last signed head in it."""
        reached = ledger_copy.reached(at.client, partition)
        found = follower_before(reader, partition, reached) if reached else None
        # Where the copy says that the last signed head is; what it says is looked up in Kafka, and what follows too.
        begin = ledger_copy.last_signed(at.client, partition)
        follower = Follower(partition)
        for record in reader.read(TOPIC, partition, 0 if found is None else begin, reached):
            self._look(at, partition, follower.fold(record.offset, record.value or b""), is_folded=found is None)
        return found or follower

    def _look(self, at: Keeping, partition: int, verdict: Verdict, *, is_folded: bool = True) -> None:
        entry = verdict.entry
        if entry is None or entry.signed is None or (is_folded and not verdict.accepted):
            return
        if heads.is_signed(heads.public_key(at.keys), partition, entry.signed):
            self.signed[partition] = entry.signed
