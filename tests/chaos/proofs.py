"""What each fault hit, by the ledger afterwards: whether it came between INTENT and DONE, whether a zombie wrote."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.audit.ledger import Follower, Verdict
from tests.chaos.faults.zombie import Zombie
from tests.chaos.house import House
from tests.chaos.player import Outcome


@dataclass(frozen=True)
class Proof:
    """What the ledger says of one fault.

    Attributes:
        between: After the INTENT that was open, its owner's DONE does not come: another's claim or a further attempt.
        zombie: A rejected record of the old owner stands behind the claim.
        ledger: Ledger offsets: the INTENT, what followed it, and the zombie's rejected record.
    """

    between: bool = False
    zombie: bool = False
    ledger: str = ""


def prove(house: House, outcomes: list[Outcome]) -> dict[int, Proof]:
    """Proofs by number of the outcome."""
    ends = house.ends("ledger")
    logs = {number: _folded(house, number, end) for number, end in ends.items()}
    return {
        one.number: _prove(logs[one.hit.open.partition], one)
        for one in outcomes
        if one.hit is not None and one.hit.open is not None
    }


def _folded(house: House, partition: int, end: int) -> list[tuple[int, Verdict]]:
    follower = Follower(partition)
    return [
        (message.offset(), follower.fold(message.offset(), message.value() or b""))
        for message in house.read("ledger", partition, 0, end)
    ]


def _prove(log: list[tuple[int, Verdict]], outcome: Outcome) -> Proof:
    assert outcome.hit is not None and outcome.hit.open is not None
    opened = outcome.hit.open
    place = f"{opened.partition}/{opened.offset}"
    behind = [(offset, verdict) for offset, verdict in log if offset > opened.offset and verdict.entry is not None]
    between, zombie, is_settled, claimed = False, False, False, False
    for offset, verdict in behind:
        entry = verdict.entry
        assert entry is not None
        if verdict.accepted and not is_settled and (entry.claim or entry.done or entry.intent):
            is_settled, between = True, entry.done is None
            place += f", then {'claim' if entry.claim else 'DONE' if entry.done else 'attempt'} {offset}"
        claimed = claimed or (verdict.accepted and entry.claim is not None and entry.owner != opened.owner)
        if claimed and not verdict.accepted and entry.owner == opened.owner and isinstance(outcome.fault, Zombie):
            zombie = True
            place += f", rejected {offset} ({verdict.reason})"
            break
    return Proof(between, zombie, place)
