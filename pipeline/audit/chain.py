"""Fold one partition's ledger and hold it to all that speaks of it: itself, its copy, its signed heads, its anchors.

Pure: records in, problems out. Says nothing of rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

from pipeline.audit import copies, heads
from pipeline.audit.ledger import Follower, Verdict
from pipeline.audit.report import ProblemKind
from pipeline.audit.retention import Holdings
from pipeline.audit.sources import Anchored, Checkpoint, Trust
from schemas.ledger import Signed, State

STATES_KEPT: Final = 10_000
SIGNED_KEPT: Final = 100

Tell = Callable[[ProblemKind, str, str, str], None]  # kind, why, table, position


class Chain:
    """The check of one partition's ledger.

    Args:
        partition: Which.
        trust: What seals and signatures are held to.
        tell: Called for every problem.
        copied: Rows of ClickHouse's copy in their order, from the checkpoint on; None does not look at it.
        anchored: Heads of this partition that were put away outside.
        since: Where the last check ended; None begins at the beginning.

    Attributes:
        follower: The fold.
        signed: Signed heads that are true.
        signed_end: Ledger offset up to which they reach.
        copied: Records that the copy has.
        anchored: Anchored heads that are true.
    """

    def __init__(
        self,
        partition: int,
        trust: Trust,
        tell: Tell,
        copied: Iterable[tuple[Any, ...]] | None = None,
        anchored: Sequence[Anchored] = (),
        since: Checkpoint | None = None,
    ) -> None:
        self._partition = partition
        self._trust = trust
        self._tell = tell
        # A cell's end names all that was ever put into it, so it can be held only to a ledger read from its beginning.
        self._holdings = Holdings(partition) if since is None else None
        self.follower = self._holdings.follower if self._holdings else Follower(partition, since.state, since.end)  # type: ignore[union-attr]
        self._begin = self.follower.end
        self._states: deque[tuple[int, State]] = deque([(self._begin, self.follower.state)], maxlen=STATES_KEPT)
        self._last = "" if since is None else since.last
        # (ledger offset, digest) of the last signed heads.
        self._digests = deque([(-1, "" if since is None else since.signed)], maxlen=SIGNED_KEPT)
        self._copy = None if copied is None else _Copy(partition, trust.seal_key, tell, copied, self._begin)
        self._anchors: dict[int, list[Anchored]] = {}
        for each in anchored:
            if each.signed.end >= self._begin:
                self._anchors.setdefault(each.signed.end, []).append(each)
        self.signed = self.anchored = 0
        self.signed_end = 0
        self._hold_anchors()

    @property
    def copied(self) -> int:
        """Records that the copy has."""
        return 0 if self._copy is None else self._copy.found

    def fold(self, offset: int, value: bytes) -> Verdict:
        """Take the next record."""
        follower = self.follower
        if offset != follower.end:
            why = f"ledger offsets {follower.end} to {offset - 1} are gone"
            self._tell("ledger_cut", why, "", self._at(follower.end, offset - 1))
        verdict = self._holdings.fold(offset, value) if self._holdings else follower.fold(offset, value)
        entry = verdict.entry
        if entry is not None and not _is_true(self._states, entry.seen, entry.state):
            self._tell("ledger_state_false", "it carries a state that is not so", "", self._at(offset))
        self._last = sha256(value).hexdigest()
        self._states.append((follower.end, follower.state))
        if self._copy is not None:
            self._copy.hold(offset, value, verdict, follower.state)
        if verdict.accepted and entry is not None:
            if (
                entry.expiring is not None
                and self._holdings
                and entry.expiring != self._holdings.expiry(entry.expiring.cell)
            ):
                cell = entry.expiring.cell
                why = f"the record of the end of {cell} does not say what stood there"
                self._tell("expiry_differs", why, cell.table, self._at(offset))
            if entry.signed is not None:
                self._hold_signed(offset, entry.signed)
        self._hold_anchors()
        return verdict

    def end(self) -> None:
        """There are no more records."""
        for found in self._anchors.values():
            for each in found:
                why = (
                    f"{each.name} has a head of partition {self._partition} at ledger offset {each.signed.end}; the "
                    f"ledger reaches {self.follower.end} only"
                )
                self._tell("anchor_differs", why, "", self._at(each.signed.end))
        if self._copy is not None:
            self._copy.end(self.follower.end, self.signed_end)

    def checkpoint(self, next_of_epoch: dict[int, int]) -> Checkpoint:
        """Where the next check may begin."""
        return Checkpoint(self.follower.end, self._last, self.follower.state, self._digests[-1][1], next_of_epoch)

    # ---- heads

    def _hold_signed(self, offset: int, signed: Signed) -> None:
        where = self._at(offset)
        if not heads.is_signed(self._trust.public_key, self._partition, signed):
            self._tell(
                "head_forged", f"key {signed.key} did not sign this head, or is not this installation's", "", where
            )
            return
        # Two may sign at the same time: what counts is what stood in the ledger that was signed.
        before = next((digest for at, digest in reversed(self._digests) if at < signed.end), None)
        if signed.previous != before:
            self._tell("head_unchained", "this signed head does not name the one before it", "", where)
        self._digests.append((offset, heads.digest(self._partition, signed)))
        state = next((state for end, state in reversed(self._states) if end == signed.end), None)
        if state is None or (state.head, state.accepted) != (signed.head, signed.accepted):
            why = f"the ledger is not what was signed when it reached ledger offset {signed.end}"
            self._tell("head_false", why, "", where)
            return
        self.signed += 1
        self.signed_end = max(self.signed_end, signed.end)

    def _hold_anchors(self) -> None:
        follower = self.follower
        for each in self._anchors.pop(follower.end, ()):
            if (each.signed.head, each.signed.accepted) == (follower.state.head, follower.state.accepted):
                self.anchored += 1
                continue
            why = (
                f"{each.name} has another head of partition {self._partition} at ledger offset {follower.end}: what "
                "stands before it was rewritten since"
            )
            self._tell("anchor_differs", why, "", self._at(follower.end))

    def _at(self, first: int, last: int | None = None) -> str:
        return _at(self._partition, first, last)


class _Copy:
    """ClickHouse's copy, walked beside the ledger."""

    def __init__(self, partition: int, key: bytes, tell: Tell, rows: Iterable[tuple[Any, ...]], begin: int) -> None:
        self._partition = partition
        self._key = key
        self._tell = tell
        # Read ahead: what stands in the copy now is in the ledger, which is read from here on.
        self._rows: Iterator[tuple[Any, ...]] = iter(rows)
        self._next = next(self._rows, None)
        self._reached = begin
        self.found = 0

    def hold(self, offset: int, value: bytes, verdict: Verdict, state: State) -> None:
        """Compare the copy with the next record of the ledger."""
        self._skip_to(offset)
        if self._next is None:
            return
        if self._next[copies.OFFSET] > offset:
            self._problem("copy_missing", "it stands in the ledger", offset)
            return
        expected = (verdict.reason, state.head, copies.text(value))
        first = self._next
        while (row := self._next) is not None and row[copies.OFFSET] == offset:
            # The same row twice is harmless: two processes may copy at once.
            if row is first or row != first:
                self._compare(offset, row, expected)
            self._advance()
        self.found += 1
        self._reached = offset + 1

    def end(self, end: int, signed_end: int) -> None:
        """The ledger ends; what comes before a signed head was copied before it was signed."""
        self._skip_to(1 << 63)
        if self._reached < signed_end:
            why = f"the ledger reaches {end}, its last signed head {signed_end}"
            self._tell("copy_missing", why, "ledger", _at(self._partition, self._reached, signed_end - 1))

    def _compare(self, offset: int, row: tuple[Any, ...], expected: tuple[str, str, str]) -> None:
        if not copies.is_sealed(self._key, row):
            self._problem("copy_changed", "its seal is not that of what stands in it", offset)
        elif (row[copies.VERDICT], row[copies.HEAD], row[copies.VALUE]) != expected:
            self._problem("copy_changed", "the ledger has another record there", offset)

    def _skip_to(self, offset: int) -> None:
        while self._next is not None and self._next[copies.OFFSET] < offset:
            self._problem("copy_unexpected", "the ledger does not have it", self._next[copies.OFFSET])
            self._advance()

    def _advance(self) -> None:
        self._next = next(self._rows, None)

    def _problem(self, kind: ProblemKind, why: str, offset: int) -> None:
        self._tell(kind, why, "ledger", _at(self._partition, offset))


def _at(partition: int, first: int, last: int | None = None) -> str:
    """A place in the ledger, or a stretch of it."""
    start = f"ledger {partition}/{first}"
    return start if last is None or last == first else f"{start} to {last}"


def _is_true(states: deque[tuple[int, State]], seen: int, state: State) -> bool:
    """Whether a carried state is what the log gave at `seen`; what is too long ago is taken at its word."""
    if seen > states[-1][0]:
        return False
    if seen < states[0][0]:
        return True
    return next(known == state for end, known in reversed(states) if end <= seen)
