"""`zombie`: a sink is stopped between INTENT and DONE until another has taken its partition over, then it wakes.

It is a true zombie if it then writes: its rejected record stands behind the claim in the ledger (`proofs` looks). One
that is stopped when its rows stand and only the answer is missing (`landed`) has something to say when it wakes; one
that is stopped as soon as it has announced the range may find that it is too late to insert, and write nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, Missed, await_open, hit, worker_of
from tests.chaos.house import House
from tests.chaos.watch import Open

TAKEOVER_S = 40.0
WRITES_S = 3.0
ANSWERED_S = 0.3


@dataclass(frozen=True)
class Zombie:
    """SIGSTOP, takeover, SIGCONT."""

    landed: bool
    kind: str = "zombie"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        if len(house.workers.of("sink")) < 2:
            raise Missed("there is nobody to take over")
        try:
            opened = self._inserting(house) if self.landed else await_open(house)
            name = worker_of(house, opened)
            pid = house.workers.sleep(name)
        finally:
            house.clickhouse_proxy.script.clear()
            house.clickhouse_proxy.release()
        return hit(house, f"SIGSTOP {name}{', its rows stand' if self.landed else ''}", opened, (pid,))

    def heal(self, house: House, hit: Hit) -> None:
        assert hit.open is not None
        deadline = time.monotonic() + TAKEOVER_S
        while house.watch.owners()[hit.open.partition] == hit.open.owner and time.monotonic() < deadline:
            time.sleep(0.02)
        house.workers.wake(hit.pids[0])
        time.sleep(WRITES_S)

    def _inserting(self, house: House) -> Open:
        """The range of an insert that the server has done, and whose answer is held."""
        proxy, deadline = house.clickhouse_proxy, time.monotonic() + 25
        before = len(proxy.failed)
        proxy.script.append("held")
        while len(proxy.failed) == before:
            if time.monotonic() > deadline:
                raise Missed("nothing was inserted")
            time.sleep(0.001)
        epoch, partition, first = map(int, proxy.failed[before].token.split("-")[1:4])
        time.sleep(ANSWERED_S)
        found = house.watch.open_in(partition)
        if found is None or (found.intent.epoch, found.intent.first) != (epoch, first):
            raise Missed("the range of the insert is not open")
        return found
