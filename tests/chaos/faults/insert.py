"""`insert`: the sink's next inserts fail: refused, cut in the middle, unanswered after they were done, or too late."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, Missed, hit
from tests.chaos.house import House
from tests.chaos.inserts import How


@dataclass(frozen=True)
class Insert:
    """What happens to the next inserts, in turn."""

    hows: tuple[How, ...]
    kind: str = "insert"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        proxy = house.clickhouse_proxy
        before = len(proxy.failed)
        proxy.script.extend(self.hows)
        deadline = time.monotonic() + 25
        while len(proxy.failed) == before:
            if time.monotonic() > deadline:
                proxy.script.clear()
                raise Missed("nothing was inserted")
            time.sleep(0.001)
        token = proxy.failed[before].token
        epoch, partition, first = token.split("-")[1:4]
        opened = None
        while opened is None and time.monotonic() < deadline:
            found = house.watch.open_in(int(partition))
            if found is not None and (found.intent.epoch, found.intent.first) == (int(epoch), int(first)):
                opened = found
            elif house.watch.marks()[int(partition)] > (int(epoch), int(first)):
                break
            time.sleep(0.001)
        where = token.rsplit("-", 1)[0]
        return hit(house, f"inserts: {', '.join(self.hows)}", opened, where="" if opened else where)

    def heal(self, house: House, hit: Hit) -> None:
        deadline = time.monotonic() + 20
        while house.clickhouse_proxy.script and time.monotonic() < deadline:
            time.sleep(0.01)
        house.clickhouse_proxy.script.clear()
