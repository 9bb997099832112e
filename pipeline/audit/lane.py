"""The protocol of one partition's writer: announce a range, insert it, say it is done; take over what another left.

Written as generators that yield effects and do nothing themselves, so that the laws can end one at every step. The
order of things is what makes every row stand exactly once:

1. *claim* the partition: from then on the log rejects what an earlier owner still writes;
2. wait until the deadline of the range it left has passed at the server, so that none of its inserts can follow;
3. announce (INTENT), insert what is missing, announce that it is done (DONE, mostly together with the next INTENT).

What has landed is counted before inserting whenever somebody, or we ourselves, may have inserted before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice, takewhile
from typing import Final

import msgspec

from pipeline.audit.batch import Batch, BatchPart, Slot
from pipeline.audit.effects import (
    DEADLINE_MS,
    EXECUTION_MS,
    Build,
    Finished,
    Highest,
    Insert,
    Present,
    ServerTime,
    Sleep,
)
from pipeline.audit.positions import Mark, Offer
from pipeline.audit.writer import LedgerWriter, Steps
from pipeline.errors import FatalError, RetryableError
from schemas.ledger import Claim, Done, Intent, State

MAX_ROWS: Final = 10_000
CLAIM_ATTEMPTS: Final = 5
# A flood of refused rows is our own fault, not the records'.
REFUSED_WINDOW: Final = 1_000
REFUSED_LIMIT: Final = 100


class LedgerError(FatalError):
    """What stands in ClickHouse or in the input contradicts the ledger; going on would hide it."""


class Lane:
    """One partition under one assignment.

    Args:
        partition: Source partition, which is the ledger's and the input's too.
        owner: Unique name of this process.
        input_epoch: Incarnation of `llm.calls`.
    """

    def __init__(self, partition: int, owner: str, input_epoch: int) -> None:
        self.partition = partition
        self.input_epoch = input_epoch
        self.ledger = LedgerWriter(partition, owner)
        self.mark = Mark(0, 0)
        self.slots: deque[Slot] = deque()
        self.input_end = 0
        self._landed = 0  # number of the last range all of whose rows stand
        self._count_below = (0, 0)
        self._is_first = True
        self._refusals: deque[int] = deque()

    # ---- taking the partition over

    def begin(self) -> Steps[int]:
        """Claim the partition; returns the input offset to read from.

        Raises:
            RetryableError: Somebody else claims it at the same time, or an effect failed.
        """
        yield from self.ledger.load()
        for _ in range(CLAIM_ATTEMPTS):
            verdict = yield from self.ledger.write(claim=Claim(self.ledger.state.owner))
            if verdict.accepted:
                break
        else:
            raise RetryableError(f"partition {self.partition}: others claim it at the same time")
        state = self.ledger.state
        if state.open is not None:
            yield from self._wait_beyond(state.open.deadline_ms + EXECUTION_MS)
        # Rows beyond everything announced: the ledger lost its end (a power failure), and with it deadlines.
        epoch = state.epoch if state.open is None else state.open.epoch
        self._count_below = (epoch, state.reached)
        highest = yield Highest(epoch, state.reached)
        if highest is not None:
            now = yield ServerTime()
            yield from self._wait_beyond(now + DEADLINE_MS + EXECUTION_MS)
            self._count_below = (highest[0], highest[1] + 1)
        self.mark = Mark(state.epoch, state.next)
        self.input_end = state.input_next if state.input_epoch == self.input_epoch else 0
        return self.input_end

    def _wait_beyond(self, server_ms: int) -> Steps[None]:
        while (now := (yield ServerTime())) <= server_ms:
            yield Sleep(min(1.0, (server_ms - now) / 1000 + 0.01))

    # ---- records in

    def take(self, slot: Slot) -> Offer:
        """Look at the next record of the input; only the next source position is kept."""
        fact = slot.clean.fact
        self.input_end = slot.input_offset + 1
        offer = self.mark.offer(fact.position, fact.next_offset)
        if offer == "apply":
            self.slots.append(slot)
        return offer

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and offset of the source position that is taken next."""
        return self.mark.epoch, self.mark.next_offset

    @property
    def owes_done(self) -> bool:
        """Whether a range stands in ClickHouse that the ledger does not know to be done."""
        open_ = self.ledger.state.open
        return open_ is not None and open_.range == self._landed

    # ---- ranges out

    def advance(self, *, silent: bool) -> Steps[None]:
        """Announce and insert all that can be; `silent` ranges, which have no rows, only when it says so.

        Raises:
            FencedError: Another owner has claimed the partition.
            LedgerError: The input or ClickHouse contradicts the ledger.
            FatalError: ClickHouse refuses too many rows.
            RetryableError: Something did not answer; call again.
        """
        while True:
            open_ = self.ledger.state.open
            if open_ is not None and not self.owes_done:
                if self.input_end < open_.input_next:
                    return
                yield from self._again(open_)
                continue
            self._forget_finished()
            if not self.slots:
                return
            run = self._run()
            # Records that were skipped behind the last one belong to the range.
            input_next = self.input_end if len(run) == len(self.slots) else run[-1].input_offset + 1
            batch, misfits = yield Build(run, self._next_offset(run[0]), input_next, (), None)
            if misfits:
                self._refuse(misfits)
                batch, misfits = yield Build(run, batch.first, batch.input_next, tuple(misfits), batch.erasures)
            if not batch.parts and not silent:
                return
            yield from self._announce(batch)

    def finish(self) -> Steps[None]:
        """Say DONE of a range that stands, where the next INTENT has not said it yet."""
        open_ = self.ledger.state.open
        if open_ is None or not self.owes_done:
            return
        yield from self.ledger.commit(done=Done(open_.range, open_.attempt))

    def _announce(self, batch: Batch) -> Steps[None]:
        """INTENT of a new range, with the DONE of the one before where that is owed; then insert."""
        state, before = self.ledger.state, self._before()
        done = None if state.open is None else Done(state.open.range, state.open.attempt)
        now = yield ServerTime()
        intent = batch.intent(before.range + 1, 1, now + DEADLINE_MS, self.input_epoch, self._input_first())
        yield from self.ledger.commit(done=done, intent=intent)
        if batch.parts:
            was_tried = batch.epoch == before.epoch and batch.first < state.reached
            count = self._is_first or (batch.epoch, batch.first) < self._count_below or was_tried
            yield from self._insert(batch, intent, count)

    def _again(self, open_: Intent) -> Steps[None]:
        """The range that is owed, by another owner or by us: the same content, the next attempt, counted first."""
        run = tuple(takewhile(lambda slot: slot.input_offset < open_.input_next, self.slots))
        if not run or run[-1].clean.fact.next_offset != open_.next:
            raise LedgerError(f"{self._where(open_)}: the input does not hold the range that the ledger announces")
        batch, _ = yield Build(run, open_.first, open_.input_next, open_.refused, open_.erasures)
        if batch.ledger_parts() != open_.parts or batch.counts != open_.counts:
            raise LedgerError(f"{self._where(open_)}: the input gives other rows than the ledger announces")
        now = yield ServerTime()
        intent = msgspec.structs.replace(open_, attempt=open_.attempt + 1, deadline_ms=now + DEADLINE_MS)
        yield from self.ledger.commit(intent=intent)
        yield from self._insert(batch, intent, True)

    def _insert(self, batch: Batch, intent: Intent, count: bool) -> Steps[None]:
        """Insert what is not there; cut or refuse until ClickHouse takes it."""
        while True:
            # Dead letters last: a row that another table refuses becomes one.
            letters = [part for part in batch.parts if part.cell.table == "dead_letters"]
            others = [part for part in batch.parts if part.cell.table != "dead_letters"]
            refused = (yield from self._insert_parts(others, batch, intent, count)) or (
                yield from self._insert_parts(letters, batch, intent, count)
            )
            if refused is None:
                break
            batch = yield from self._smaller(batch, refused)
            now = yield ServerTime()
            intent = batch.intent(
                intent.range, intent.attempt + 1, now + DEADLINE_MS, intent.input_epoch, intent.input_first
            )
            yield from self.ledger.commit(intent=intent)
            count = True
        self._landed = intent.range
        self._is_first = False
        yield Finished(batch)

    def _insert_parts(
        self, parts: list[BatchPart], batch: Batch, intent: Intent, count: bool
    ) -> Steps[BatchPart | None]:
        """Insert parts; returns one that was refused for ever, or None when all stand."""
        due = []
        for part in parts:
            missing = (yield from self._missing(part, batch)) if count else part
            if missing is not None:
                due.append((self._token(missing, batch), missing))
        if not due:
            return None
        outcomes = yield Insert(tuple(due), intent.deadline_ms)
        for (_, part), outcome in zip(due, outcomes, strict=True):
            if outcome == "refused":
                return part
        bad = [outcome for outcome in outcomes if outcome != "landed"]
        if bad:
            raise RetryableError(f"{self._where(intent)}: {len(bad)} of {len(due)} inserts not made ({bad[0]})")
        return None

    def _missing(self, part: BatchPart, batch: Batch) -> Steps[BatchPart | None]:
        """The part, or what is missing of it, or None when all of it stands."""
        expected = part.offsets
        present = yield Present(part.cell, batch.epoch, batch.first, batch.next)
        if present == expected:
            return None
        if not present:
            return part
        if len(set(present)) < len(present) or not set(present) <= set(expected):
            raise LedgerError(
                f"{part.cell} holds rows between {batch.epoch}/{self.partition}/{batch.first} and {batch.next} that no "
                "accepted range put there. Run `tokentrail verify`, and do not start again before it is clear why."
            )
        return part.of(set(expected) - set(present))

    def _smaller(self, batch: Batch, refused: BatchPart) -> Steps[Batch]:
        """Half of a refused batch; of a single record, the same with the refused row as a dead letter."""
        bearing = batch.with_rows
        if len(bearing) > 1:
            cut_at = bearing[len(bearing) // 2]
            half = tuple(takewhile(lambda slot: slot.clean.fact.position.offset < cut_at, batch.slots))
            known = tuple(row for row in batch.refused if row[0] < cut_at)
            smaller, _ = yield Build(half, batch.first, half[-1].input_offset + 1, known, batch.erasures)
        else:
            if refused.cell.table == "dead_letters":
                raise LedgerError(f"ClickHouse refuses a dead letter at {batch.epoch}/{self.partition}/{bearing[0]}")
            self._refuse([(bearing[0], refused.cell.table)])
            lost = tuple(sorted({*batch.refused, (bearing[0], refused.cell.table)}))
            smaller, _ = yield Build(batch.slots, batch.first, batch.input_next, lost, batch.erasures)
        return smaller  # type: ignore[no-any-return]

    def _refuse(self, rows: Iterable[tuple[int, str]]) -> None:
        self._refusals.extend(offset for offset, _ in rows)
        while self._refusals and self._refusals[0] < self._refusals[-1] - REFUSED_WINDOW:
            self._refusals.popleft()
        if len(self._refusals) > REFUSED_LIMIT:
            raise FatalError(
                f"partition {self.partition}: ClickHouse refuses {len(self._refusals)} of {REFUSED_WINDOW} records. "
                "That is the tables' or our fault, not the records': run `tokentrail migrate` and `tokentrail doctor`."
            )

    # ---- where things stand

    def _forget_finished(self) -> None:
        """Drop the records of ranges that are finished or stand."""
        before = self._before()
        if self.slots and _position(self.slots[-1]) <= (before.epoch, before.next):
            self.slots.clear()  # mostly all of them
        while self.slots and _position(self.slots[0]) <= (before.epoch, before.next):
            self.slots.popleft()
        if (self.mark.epoch, self.mark.next_offset) < (before.epoch, before.next):
            self.mark = Mark(before.epoch, before.next)

    def _before(self) -> State | Intent:
        """What the next range follows on: the range that stands, or the last finished one."""
        state = self.ledger.state
        return state if state.open is None else state.open

    def _run(self) -> tuple[Slot, ...]:
        """The records of the next range: of one epoch, and not too many."""
        epoch = self.slots[0].clean.fact.position.epoch
        slots = islice(self.slots, MAX_ROWS)
        if self.slots[-1].clean.fact.position.epoch == epoch:  # epochs never fall
            return tuple(slots)
        return tuple(takewhile(lambda slot: slot.clean.fact.position.epoch == epoch, slots))

    def _next_offset(self, slot: Slot) -> int:
        before = self._before()
        return before.next if before.epoch == slot.clean.fact.position.epoch else 0

    def _input_first(self) -> int:
        before = self._before()
        return before.input_next if before.input_epoch == self.input_epoch else 0

    def _token(self, part: BatchPart, batch: Batch) -> str:
        cell = part.cell
        span = f"{batch.epoch}-{self.partition}-{batch.first}-{batch.next}"
        return f"{span}-{cell.table}-{cell.retention_days}-{cell.week}-{part.root[:32]}"

    def _where(self, intent: Intent) -> str:
        return f"range {intent.range} of partition {self.partition} ({intent.epoch}/{intent.first} to {intent.next})"


def _position(slot: Slot) -> tuple[int, int]:
    """Epoch and offset after a record."""
    return slot.clean.fact.position.epoch, slot.clean.fact.next_offset
