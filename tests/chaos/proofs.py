"""What each fault hit, by the ledger afterwards: whether it came between INTENT and DONE, whether a zombie wrote."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.audit.ledger import Follower, Verdict
from tests.chaos.faults.fault import Hit
from tests.chaos.faults.zombie import Zombie
from tests.chaos.house import House
from tests.chaos.player import Outcome
from tests.chaos.watch import Open


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
    found = {}
    used: set[tuple[int, int]] = set()
    # The latest first: a process that was stopped twice wrote because of the second time.
    for one in sorted(outcomes, key=lambda one: -one.number):
        if one.hit is None or one.hit.open is None:
            continue
        between, place = _between(logs[one.hit.open.partition], one.hit.open)
        wrote = _wrote(logs, one.hit, used) if isinstance(one.fault, Zombie) else ""
        found[one.number] = Proof(between, bool(wrote), place + wrote)
    return found


def _folded(house: House, partition: int, end: int) -> list[tuple[int, Verdict]]:
    follower = Follower(partition)
    return [
        (message.offset(), follower.fold(message.offset(), message.value() or b""))
        for message in house.read("ledger", partition, 0, end)
    ]


def _between(log: list[tuple[int, Verdict]], opened: Open) -> tuple[bool, str]:
    """Whether the step after the INTENT that was open is not its DONE; and the offsets of both."""
    place = f"{opened.partition}/{opened.offset}"
    for offset, verdict in log:
        entry = verdict.entry
        if offset <= opened.offset or not verdict.accepted or entry is None:
            continue
        if entry.claim or entry.done or entry.intent:
            what = "claim" if entry.claim else "DONE" if entry.done else "attempt"
            return entry.done is None, f"{place}, then {what} {offset}"
    return False, place


def _wrote(logs: dict[int, list[tuple[int, Verdict]]], hit: Hit, used: set[tuple[int, int]]) -> str:
    """Where a zombie's rejected record stands behind another's claim, in any partition that it had; else nothing."""
    assert hit.open is not None
    for partition, log in logs.items():
        claimed = None
        for offset, verdict in log:
            entry = verdict.entry
            if entry is None or offset < hit.ledger[partition]:
                continue
            if verdict.accepted and entry.claim is not None and entry.claim.after == hit.open.owner:
                claimed = offset
            is_new = claimed is not None and (partition, offset) not in used
            if is_new and not verdict.accepted and entry.owner == hit.open.owner:
                used.add((partition, offset))
                return f"; claim {partition}/{claimed}, rejected {partition}/{offset} ({verdict.reason})"
    return ""
