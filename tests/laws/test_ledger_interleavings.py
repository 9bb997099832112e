"""Every interleaving of two owners, and of an owner with somebody who expires, erases or signs: all, not samples.

States that two interleavings reach alike are looked at once; a process has no state but its answers, so those and the
outside world are what tells states apart. A step that nobody else can see (building a batch, looking at the clock) is
taken together with the one before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ledger_model import Model, Process, call, gap, slots, tick

from pipeline.audit.effects import Build, Finished, Insert, ServerTime, Sleep
from pipeline.audit.ledger import Follower, encode
from schemas.clean import Clean
from schemas.ledger import Cell, Change, Entry, Erased, Erasing, Expiry, Signed

# Two tables, a row in one only, ticks, a gap.
SMALL = [call(0), call(1), tick(2)]
TWO_RANGES = [call(0), tick(1), call(2), gap(3, 4), call(5)]
WEEK = Cell("calls", 30, "2026-11-16")


@dataclass
class StillModel(Model):
    """The outside world without the millisecond that a step takes, so that orders of reading end in the same state."""

    dropped: list[tuple[Cell, tuple[int, int, bytes]]] = field(default_factory=list)

    def pass_time(self, milliseconds: int) -> None:
        super().pass_time(0 if milliseconds == 1 else milliseconds)

    def check(self) -> Follower:
        """What was lawfully dropped stood there once, too."""
        for cell, row in self.dropped:
            self.stored.setdefault(cell, []).append(row)
        return super().check()


class Recorded(Process):
    """A process that remembers its answers: with the outside world they are all of its state."""

    def __init__(self, model: Model, owner: str, chunk: int) -> None:
        self.answers: list[str] = []
        super().__init__(model, owner, chunk)

    def _advance(self, answer: Any) -> None:
        self.answers.append(repr(answer) if not isinstance(answer, tuple) else "built")
        super()._advance(answer)

        while isinstance(self.pending, Build | Finished | ServerTime) and self.ended is None:
            self.step()

    @property
    def state(self) -> tuple[str, ...]:
        return tuple(self.answers)


class Other:
    """Somebody else who writes into the ledger, step by step, always by all that stands there."""

    def __init__(self, model: StillModel, work: Callable[[Other], Generator[None, None, None]]) -> None:
        self.model = model
        self.ended: str | None = None
        self.taken = 0
        self._work = work(self)

    def step(self) -> bool:
        self.taken += 1
        try:
            next(self._work)
        except StopIteration:
            self.ended = "finished"
        return self.ended is None

    def write(self, seen: Follower | None = None, **steps: Any) -> str:
        """Append a record, by what it has `seen` (else all there is); the reason it is accepted or not."""
        follower = self.folded()
        seen = seen or follower
        self.model.log.append(encode(Entry(0, "other", seen.end, seen.state, **steps)))
        return follower.fold(follower.end, self.model.log[-1]).reason

    def folded(self) -> Follower:
        follower = Follower(0)
        for offset, value in enumerate(self.model.log):
            follower.fold(offset, value)
        return follower

    @property
    def state(self) -> tuple[str, ...]:
        return (str(self.taken), str(self.ended))


def expires(other: Other) -> Generator[None, None, None]:
    """Ends a cell: says so until it may, drops the rows, says that it is done; between any two the sink may go on."""
    yield
    while other.write(expiring=Expiry(WEEK, 0, "")) != "accepted":
        if other.taken > 2:
            return
        yield
    yield
    rows = other.model.stored.pop(WEEK, [])
    other.model.dropped += [(WEEK, row) for row in rows]
    yield
    assert other.write(expired=Expiry(WEEK, 0, "")) == "accepted"


def erases(other: Other) -> Generator[None, None, None]:
    """Changes a row of a finished range lawfully, in two records."""
    yield
    while other.write(erasing=Erasing("r1", 1, "policy", (Change(WEEK, 1, 0, "ab"),))) != "accepted":
        if other.taken > 2:
            return
        yield
    yield
    assert other.write(erased=Erased("r1", 1)) == "accepted"


def signs(other: Other) -> Generator[None, None, None]:
    """Signs a head that it saw some time ago."""
    seen = other.folded()
    yield
    assert other.write(seen, signed=Signed(seen.end, seen.state.head, 0, 1, "", "k", "s")) == "accepted"


def forgets(other: Other) -> Generator[None, None, None]:
    """The server's window of deduplication moves on: no token is known any more."""
    yield
    other.model.tokens.clear()


Actor = Recorded | Other


@dataclass
class World:
    """One state, reached again from the beginning by its schedule."""

    model: StillModel
    actors: list[Actor]

    def fingerprint(self) -> tuple[Any, ...]:
        stored = tuple(sorted((str(cell), tuple(rows)) for cell, rows in self.model.stored.items() if rows))
        flying = tuple(sorted(self.model.flying))
        tokens = tuple(sorted(token for _, token in self.model.tokens))
        actors = tuple(actor.state for actor in self.actors)
        return tuple(self.model.log), stored, flying, tokens, self.model.now_ms, len(self.model.dropped), actors


def every_end(make: Callable[[], World], crash: bool = False) -> tuple[int, Counter[str]]:
    """Play every interleaving to its end and hold each end to the law; how many states there were, and the outcomes.

    With `crash`, the first actor may also end at each of its steps, its insert landed, or not.
    """
    seen: set[tuple[Any, ...]] = set()
    outcomes: Counter[str] = Counter()
    todo: list[tuple[int, ...]] = [()]
    at: tuple[int, ...]
    world, at = make(), ()
    while todo:
        schedule = todo.pop()
        if schedule[:-1] != at or not schedule:
            world = make()
            for choice in schedule[:-1]:
                _take(world, choice)
        if schedule:
            _take(world, schedule[-1])
        at = schedule
        mark = world.fingerprint()
        if mark in seen:
            continue
        seen.add(mark)
        choices = [
            number for number, actor in enumerate(world.actors) if actor.ended is None and not _rests(world, actor)
        ]
        first = world.actors[0]
        if crash and first.ended is None and not any(choice < 0 for choice in schedule):
            choices += [-1, -2] if isinstance(first, Recorded) and isinstance(first.pending, Insert) else [-1]
        todo += [(*schedule, choice) for choice in choices]
        if all(actor.ended is not None for actor in world.actors):
            outcomes["+".join(str(actor.ended).partition(":")[0] for actor in world.actors)] += 1
            last = Recorded(world.model, "last", 3)
            last.run()
            assert last.ended == "finished"
            world.model.check()
            at = (-9,)  # this world has ended
    return len(seen), outcomes


def _rests(world: World, actor: Actor) -> bool:
    """Whether a process waits before it tries again; then somebody else, if there is one, does something first."""
    others = any(isinstance(other, Other) and other.ended is None for other in world.actors)
    return others and isinstance(actor, Recorded) and actor.pending == Sleep(0.5)


def _take(world: World, choice: int) -> None:
    if choice >= 0:
        world.actors[choice].step()
    else:
        first = world.actors[0]
        assert isinstance(first, Recorded)
        first.crash("never" if choice == -1 else "lands last")


def owners(records: Sequence[Clean], *chunks: int) -> Callable[[], World]:
    def make() -> World:
        model = StillModel(slots(records))
        return World(model, [Recorded(model, f"o{number}", chunk) for number, chunk in enumerate(chunks)])

    return make


def with_other(records: Sequence[Clean], work: Callable[[Other], Generator[None, None, None]]) -> Callable[[], World]:
    def make() -> World:
        model = StillModel(slots(records))
        return World(model, [Recorded(model, "sink", 2), Other(model, work)])

    return make


@pytest.mark.timeout(300)
def test_every_interleaving_of_two_owners_stores_every_row_once() -> None:
    states, outcomes = every_end(owners(SMALL, 3, 3))
    assert states > 5_000
    assert outcomes["fenced+finished"] and outcomes["finished+fenced"] and outcomes["finished+finished"]


@pytest.mark.parametrize("work", [expires, erases, signs, forgets])
def test_whatever_else_is_written_in_between_every_row_is_stored_once(
    work: Callable[[Other], Generator[None, None, None]],
) -> None:
    states, outcomes = every_end(with_other(TWO_RANGES, work), crash=True)
    assert states > 50 and outcomes["finished+finished"] and outcomes["crashed+finished"]
