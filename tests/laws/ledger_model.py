"""A log and a ClickHouse in memory that do everything the real ones may do at the wrong moment, and processes to end.

The protocol under test is the sink's own (`pipeline.audit.lane`); only what it asks of the outside is played here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from pipeline.audit.batch import BatchPart, Slot, build
from pipeline.audit.effects import (
    EXECUTION_MS,
    Build,
    Deliver,
    Effect,
    Finished,
    Highest,
    Insert,
    Outcome,
    Present,
    ReadLedger,
    ServerTime,
    Sleep,
)
from pipeline.audit.lane import Lane
from pipeline.audit.ledger import Follower
from pipeline.audit.rows import rows
from pipeline.errors import DeliveryError, FencedError, RetryableError
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Stamp
from schemas.fact import Fact
from schemas.ledger import Cell
from schemas.position import Position

KEYS = Keys(bytes(32))
NOW = 1_795_000_000_000

# What becomes of an insert whose process ends while it is on its way.
Fate = Literal["never", "landed", "first part only", "lands last"]


def call(offset: int, *, epoch: int = 1, days: int = 30) -> Clean:
    fact = Fact("call", Position(epoch, 0, offset), 0, NOW, NOW, tenant="acme")
    return Clean(fact=fact, stamp=Stamp(days, 7), content=Content(input=f"text {offset}") if offset % 2 else None)


def tick(offset: int, *, epoch: int = 1) -> Clean:
    return Clean(fact=Fact("tick", Position(epoch, 0, offset), 0, NOW, NOW))


def gap(first: int, last: int, *, epoch: int = 1) -> Clean:
    return Clean(fact=Fact("gap", Position(epoch, 0, first), 0, NOW, NOW, gap_last=last))


def slots(records: Sequence[Clean]) -> list[Slot]:
    return [Slot(offset, clean, 100) for offset, clean in enumerate(records)]


@dataclass
class Model:
    """The outside world of one partition."""

    input: list[Slot]
    log: list[bytes] = field(default_factory=list)
    now_ms: int = NOW
    stored: dict[Cell, list[tuple[int, int, bytes]]] = field(default_factory=dict)
    tokens: set[tuple[Cell, str]] = field(default_factory=set)
    keeps_tokens: bool = True
    flying: dict[str, tuple[int, BatchPart]] = field(default_factory=dict)
    refuses: Callable[[str, int], bool] = lambda table, offset: False
    # One answer for each coming delivery; 'ok' when there is none.
    deliveries: list[Literal["ok", "lost", "landed but failed", "lands later"]] = field(default_factory=list)
    delayed: list[bytes] = field(default_factory=list)

    def perform(self, effect: Effect) -> Any:
        """Do what is asked; every step takes a millisecond."""
        self.pass_time(1)
        match effect:
            case Deliver(value):
                return self._deliver(value)
            case ReadLedger(start):
                if start is None:
                    return [(len(self.log) - 1, self.log[-1])] if self.log else []
                return list(enumerate(self.log))[start:]
            case ServerTime():
                return self.now_ms
            case Sleep(seconds):
                self.pass_time(int(seconds * 1000))
            case Present(cell, epoch, first, next):
                return sorted(o for e, o, _ in self.stored.get(cell, []) if e == epoch and first <= o < next)
            case Highest(epoch, offset):
                found = [(e, o) for held in self.stored.values() for e, o, _ in held if (e, o) >= (epoch, offset)]
                return max(found, default=None)
            case Build(run, first, input_next, refused):
                return build(run, first, input_next, KEYS, refused), []
            case Insert(parts, deadline_ms):
                return [self._insert(token, part, deadline_ms) for token, part in parts]
            case Finished():
                pass
        return None

    def _deliver(self, value: bytes) -> int:
        how = self.deliveries.pop(0) if self.deliveries else "ok"
        if how in ("ok", "landed but failed"):
            self.log.append(value)
        elif how == "lands later":
            self.delayed.append(value)
        if how != "ok":
            raise DeliveryError(1, how)
        return len(self.log) - 1

    def land_delayed(self) -> None:
        """Records that a broker kept for a while reach the log."""
        self.log += self.delayed
        self.delayed.clear()

    def _insert(self, token: str, part: BatchPart, deadline_ms: int) -> Outcome:
        if self.now_ms > deadline_ms:
            return "late"
        if token in self.flying:
            return "busy"
        if self._is_refused(part):
            return "refused"
        self._land(token, part)
        return "landed"

    def _is_refused(self, part: BatchPart) -> bool:
        return any(self.refuses(part.cell.table, offset) for offset in part.offsets)

    def _land(self, token: str, part: BatchPart) -> None:
        if self.keeps_tokens and (part.cell, token) in self.tokens:
            return
        self.tokens.add((part.cell, token))
        self.stored.setdefault(part.cell, []).extend((row[0], row[2], repr(row).encode()) for row in part.rows)

    def fly(self, insert: Insert, fate: Fate) -> None:
        """Inserts that were sent and whose sender is gone."""
        for number, (token, part) in enumerate(insert.parts):
            if fate == "landed" or (fate == "first part only" and number == 0):
                self._insert(token, part, insert.deadline_ms)
            elif fate == "lands last" and self.now_ms <= insert.deadline_ms and not self._is_refused(part):
                self.flying[token] = (insert.deadline_ms + EXECUTION_MS, part)

    def pass_time(self, milliseconds: int) -> None:
        """Move the server's clock; inserts that take as long as they may land on the way."""
        self.now_ms += milliseconds
        for token, (at_ms, part) in list(self.flying.items()):
            if self.now_ms >= at_ms:
                del self.flying[token]
                self._land(token, part)

    # ---- what must hold at the end

    def check(self) -> Follower:
        """Every row stands exactly once, with its content, and the ledger says so; returns the folded ledger."""
        self.pass_time(60_000)
        found = Counter((cell, *row) for cell, held in self.stored.items() for row in held)
        folded = Follower(0)
        finished = []
        for offset, value in enumerate(self.log):
            before = folded.state
            verdict = folded.fold(offset, value)
            entry = verdict.entry
            if not verdict.accepted or entry is None:
                continue
            if entry.done is not None:
                assert before.open is not None
                finished.append(before.open)
            if entry.intent is not None and not entry.intent.parts:
                finished.append(entry.intent)
        last = self.input[-1].clean.fact
        assert folded.state.open is None
        assert (folded.state.epoch, folded.state.next) == (last.position.epoch, last.next_offset)
        expected: Counter[tuple[Cell, int, int, bytes]] = Counter()
        refused = {(intent.epoch, *item) for intent in finished for item in intent.refused}
        for slot in {slot.clean.fact.position: slot for slot in reversed(self.input)}.values():
            position = slot.clean.fact.position
            lost = tuple(
                (position.offset, table)
                for table, _ in rows(slot.clean, KEYS)
                if (position.epoch, position.offset, table) in refused
            )
            for part in build([slot], position.offset, 0, KEYS, lost).parts:
                expected.update((part.cell, row[0], row[2], repr(row).encode()) for row in part.rows)
        assert found == expected
        # The finished ranges follow one another and name exactly what stands.
        for earlier, later in pairwise(finished):
            assert later.range == earlier.range + 1
            assert later.first == (earlier.next if later.epoch == earlier.epoch else 0)
        named = Counter(dict.fromkeys(self.stored, 0))
        for intent in finished:
            named.update({part.cell: part.rows for part in intent.parts})
        assert named == Counter({cell: len(held) for cell, held in self.stored.items()})
        return folded


class Process:
    """One owner: takes the partition over and works the input off, `chunk` records at a time."""

    def __init__(self, model: Model, owner: str, chunk: int = 3) -> None:
        self.model = model
        self.owner = owner
        self.lane = Lane(0, owner, 1)
        self.ended: str | None = None
        self.pending: Effect | None = None
        self._steps = self._run(chunk)
        self._advance(None)

    def _run(self, chunk: int) -> Generator[Effect, Any, None]:
        start = yield from self.lane.begin()
        todo = [slot for slot in self.model.input if slot.input_offset >= start]
        while todo:
            batch, todo = todo[:chunk], todo[chunk:]
            for slot in batch:
                self.lane.take(slot)
            yield from self._patiently(lambda: self.lane.advance(silent=False))
        yield from self._patiently(lambda: self.lane.advance(silent=True))
        yield from self._patiently(self.lane.finish)

    def _patiently(self, call: Callable[[], Generator[Effect, Any, None]]) -> Generator[Effect, Any, None]:
        for _ in range(60):
            try:
                yield from call()
                return
            except RetryableError:
                yield Sleep(0.5)
        raise AssertionError("the protocol does not come to an end")

    def step(self) -> bool:
        """Perform what the process waits for; False when it has ended."""
        if self.ended is not None:
            return False
        assert self.pending is not None
        try:
            answer = self.model.perform(self.pending)
        except RetryableError as error:
            self._advance(error)
        else:
            self._advance(answer)
        return self.ended is None

    def crash(self, fate: Fate = "never") -> None:
        """End the process before it learns what became of the step it waits for."""
        self.ended = "crashed"
        if isinstance(self.pending, Insert):
            self.model.fly(self.pending, fate)
        elif isinstance(self.pending, Deliver) and fate != "never":
            self.model.log.append(self.pending.value)

    def run(self) -> None:
        """To the end."""
        while self.step():
            pass

    def _advance(self, answer: Any) -> None:
        try:
            if isinstance(answer, BaseException):
                self.pending = self._steps.throw(answer)
            else:
                self.pending = self._steps.send(answer)
        except StopIteration:
            self.ended = "finished"
        except FencedError:
            self.ended = "fenced"
        except RetryableError as error:  # out of `begin`: the runtime would call again
            self.ended = f"refused: {error}"
