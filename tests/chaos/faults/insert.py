"""`insert`: the sink's next inserts fail: refused, cut in the middle, unanswered after they were done, or too late."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, Missed, await_open, hit
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
        opened = house.watch._open.get(int(partition))
        if opened is not None and (str(opened.intent.epoch), str(opened.intent.first)) != (epoch, first):
            opened = None
        where = token.rsplit("-", 1)[0]
        return hit(house, f"inserts: {', '.join(self.hows)}", opened, where="" if opened else where)

    def heal(self, house: House, hit: Hit) -> None:
        deadline = time.monotonic() + 20
        while house.clickhouse_proxy.script and time.monotonic() < deadline:
            time.sleep(0.01)
        house.clickhouse_proxy.script.clear()


__all__ = ["Insert", "await_open"]
