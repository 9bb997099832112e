"""`zombie`: a sink is stopped between INTENT and DONE until another has taken its partition over, then it wakes.

It is a true zombie if it then writes: its rejected record stands behind the claim in the ledger (`proofs` looks).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, Missed, await_open, hit, worker_of
from tests.chaos.house import House

TAKEOVER_S = 40.0
WRITES_S = 3.0


@dataclass(frozen=True)
class Zombie:
    """SIGSTOP, takeover, SIGCONT."""

    kind: str = "zombie"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        if len(house.workers.of("sink")) < 2:
            raise Missed("there is nobody to take over")
        opened = await_open(house)
        name = worker_of(house, opened)
        return hit(house, f"SIGSTOP {name}", opened, (house.workers.sleep(name),))

    def heal(self, house: House, hit: Hit) -> None:
        assert hit.open is not None
        deadline = time.monotonic() + TAKEOVER_S
        while house.watch.owners()[hit.open.partition] == hit.open.owner and time.monotonic() < deadline:
            time.sleep(0.02)
        house.workers.wake(hit.pids[0])
        time.sleep(WRITES_S)
