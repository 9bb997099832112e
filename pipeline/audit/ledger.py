"""The ledger's fold: one pure function that sink, retention and `verify` share. The log's order decides, no clock.

Must not read or write anything. Rejected records stay in the log and are skipped by everyone alike.

A record's steps are taken in this order; if one is not allowed, the whole record is rejected:

| step     | allowed when                                                       | then                        |
|----------|--------------------------------------------------------------------|-----------------------------|
| claim    | `after` is the owner now                                           | the writer is the owner     |
| done     | by the owner; names the open range and its attempt                 | the range is finished       |
| intent   | by the owner; nothing open; the next range, attempt 1, at the mark | it is open                  |
|  retry   | by the owner; the open range, next attempt, the same content       | open, with the new deadline |
|  cut     | by the owner; the open range, next attempt, same start, shorter    | open, shorter               |
|  refuse  | by the owner; the open range, next attempt, more rows refused      | open, with dead letters     |
|  (all)   | counts add up; no cell twice; none that is expiring                | without parts: finished     |
| expiring | by anybody who saw all before it; not begun; not in the open range | closed for parts            |
| expired  | by anybody; the cell is expiring                                   | open for parts again        |
| held     | by anybody; the cell is expiring                                   | rows that outlive it        |
| released | by anybody                                                         | such rows may go            |
| erasing  | by anybody; a new batch; only rows of finished ranges              | their change is lawful      |
| erased   | by anybody; the batch is under way                                 | the change is made          |
| repriced | by anybody; names the open repricing                               | its rows stand, or none     |
| repricing| by anybody; none open; the next number; only finished positions    | it is open                  |
| signed   | by anybody                                                         | chained, nothing else       |

A mark may move to offset 0 of a later epoch. `head` is SHA-256 over the head before and the accepted record's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

import msgspec

from schemas.ledger import Cell, Entry, Intent, Repricing, State

Reason = Literal[
    "accepted",
    "unreadable",
    "wrong_partition",
    "empty",
    "owner_changed",
    "not_owner",
    "not_open",
    "not_next",
    "content_differs",
    "unbalanced",
    "cell_twice",
    "cell_expiring",
    "cell_in_use",
    "state_moved",
    "not_expiring",
    "batch_twice",
    "not_finished",
    "not_erasing",
    "repricing_open",
    "not_repricing",
]

_GENESIS: Final = b"tokentrail.ledger.v1\0"

_decode = msgspec.json.Decoder(Entry).decode
encode = msgspec.json.Encoder(order="deterministic").encode


class _RejectedError(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a record; `entry` is None when it could not be read."""

    reason: Reason
    entry: Entry | None

    @property
    def accepted(self) -> bool:
        """Whether it counts."""
        return self.reason == "accepted"


def genesis(partition: int) -> State:
    """The state before the first record of a partition's ledger."""
    return State(head=sha256(_GENESIS + str(partition).encode()).hexdigest())


def accept(state: State, partition: int, value: bytes) -> tuple[State, Verdict]:
    """Fold one record, given as its bytes in the log, into the state of its partition."""
    try:
        entry = _decode(value)
    except msgspec.MsgspecError:
        return state, Verdict("unreadable", None)
    if entry.partition != partition:
        return state, Verdict("wrong_partition", entry)
    try:
        folded = _steps(state, entry)
    except _RejectedError as rejection:
        return state, Verdict(rejection.reason, entry)
    head = sha256(bytes.fromhex(state.head) + value).hexdigest()
    return _with(folded, head=head, accepted=state.accepted + 1), Verdict("accepted", entry)


def _steps(state: State, entry: Entry) -> State:
    before = state
    if entry.claim is not None:
        _require(entry.claim.after == state.owner, "owner_changed")
        state = _with(state, owner=entry.owner)
    if entry.done is not None or entry.intent is not None:
        _require(entry.owner == state.owner, "not_owner")
    if entry.done is not None:
        intent = state.open
        _require(intent is not None and (entry.done.range, entry.done.attempt) == _attempt(intent), "not_open")
        assert intent is not None
        state = _finished(state, intent)
    if entry.intent is not None:
        state = _intent(state, entry.intent)
    if entry.expiring is not None:
        cell = entry.expiring.cell
        _require(entry.state.accepted == before.accepted, "state_moved")
        _require(cell not in state.expiring, "cell_expiring")
        _require(state.open is None or cell not in _cells(state.open), "cell_in_use")
        _require(state.repricing is None or cell != state.repricing.part.cell, "cell_in_use")
        state = _with(state, expiring=(*state.expiring, cell))
    if entry.expired is not None:
        _require(entry.expired.cell in state.expiring, "not_expiring")
        state = _with(state, expiring=tuple(cell for cell in state.expiring if cell != entry.expired.cell))
    if entry.held is not None:
        _require(entry.held.cell in before.expiring, "not_expiring")
    if entry.erasing is not None:
        batch = (entry.erasing.request, entry.erasing.batch)
        _require(batch not in state.erasing, "batch_twice")
        finished = (state.epoch, state.next)
        _require(all((change.epoch, change.offset) < finished for change in entry.erasing.changes), "not_finished")
        state = _with(state, erasing=(*state.erasing, batch))
    if entry.erased is not None:
        batch = (entry.erased.request, entry.erased.batch)
        _require(batch in state.erasing, "not_erasing")
        state = _with(state, erasing=tuple(each for each in state.erasing if each != batch))
    if entry.repriced is not None:
        repricing = state.repricing
        _require(repricing is not None and entry.repriced.number == repricing.number, "not_repricing")
        state = _with(state, repricing=None)
    if entry.repricing is not None:
        state = _repricing(state, entry.repricing)
    chained = (entry.held, entry.released, entry.signed)
    _require(state is not before or any(step is not None for step in chained), "empty")
    return state


def _repricing(state: State, repricing: Repricing) -> State:
    _require(state.repricing is None, "repricing_open")
    _require(repricing.number == state.repricings + 1, "not_next")
    _require((repricing.epoch, repricing.next) <= (state.epoch, state.next), "not_finished")
    _require(repricing.part.cell not in state.expiring, "cell_expiring")
    return _with(state, repricings=repricing.number, repricing=repricing)


def _intent(state: State, intent: Intent) -> State:
    if state.open is None:
        _require((intent.range, intent.attempt) == (state.range + 1, 1), "not_next")
        _require(
            (intent.epoch, intent.first) == (state.epoch, state.next)
            or (intent.epoch > state.epoch and intent.first == 0),
            "not_next",
        )
        _require((intent.input_epoch, intent.input_first) >= (state.input_epoch, state.input_next), "not_next")
    else:
        _require((intent.range, intent.attempt) == (state.open.range, state.open.attempt + 1), "not_next")
        _require(_continues(state.open, intent), "content_differs")
    _require(intent.next > intent.first and sum(intent.counts.values()) == intent.next - intent.first, "unbalanced")
    cells = _cells(intent)
    _require(len(set(cells)) == len(cells), "cell_twice")
    _require(not any(cell in state.expiring for cell in cells), "cell_expiring")
    reached = max(state.reached, intent.next) if intent.epoch == state.epoch or state.open else intent.next
    state = _with(state, reached=reached, open=intent)
    return state if intent.parts else _finished(state, intent)


def _continues(open_: Intent, intent: Intent) -> bool:
    """Whether an attempt is the same range again, a cut of it, or the same with more rows refused."""
    if _start(intent) != _start(open_):
        return False
    if (intent.next, intent.input_next) == (open_.next, open_.input_next):
        more_refused = set(intent.refused) > set(open_.refused)
        return more_refused or (intent.parts, intent.counts, intent.gaps, intent.refused) == (
            open_.parts,
            open_.counts,
            open_.gaps,
            open_.refused,
        )
    return intent.next < open_.next and intent.input_next <= open_.input_next


def _start(intent: Intent) -> tuple[int, ...]:
    """What every attempt at a range has in common, however it is cut."""
    return intent.epoch, intent.first, intent.input_epoch, intent.input_first, intent.leaf, intent.erasures


def _finished(state: State, intent: Intent) -> State:
    return _with(
        state,
        epoch=intent.epoch,
        next=intent.next,
        input_epoch=intent.input_epoch,
        input_next=intent.input_next,
        range=intent.range,
        open=None,
    )


def _attempt(intent: Intent) -> tuple[int, int]:
    return intent.range, intent.attempt


def _cells(intent: Intent) -> list[Cell]:
    return [part.cell for part in intent.parts]


def _require(is_so: bool, reason: Reason) -> None:
    if not is_so:
        raise _RejectedError(reason)


def _with(state: State, **changes: object) -> State:
    return msgspec.structs.replace(state, **changes)


class Follower:
    """Folds one partition's ledger record by record and knows its end.

    Attributes:
        state: The fold of everything below `end`.
        end: Ledger offset that comes next.
    """

    def __init__(self, partition: int, state: State | None = None, end: int = 0) -> None:
        self.partition = partition
        self.state = state or genesis(partition)
        self.end = end

    @classmethod
    def from_tail(cls, partition: int, value: bytes) -> Follower | None:
        """A follower at the state that a record carries; None when the record is unreadable or another partition's."""
        try:
            entry = _decode(value)
        except msgspec.MsgspecError:
            return None
        return cls(partition, entry.state, entry.seen) if entry.partition == partition else None

    def fold(self, offset: int, value: bytes) -> Verdict:
        """Fold the record at `offset`, which is the next one there is."""
        self.state, verdict = accept(self.state, self.partition, value)
        self.end = offset + 1
        return verdict
