"""`rebalance`: a stage has other numbers of workers, from 1 to 4, and in the end what it had."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, hit
from tests.chaos.house import House


@dataclass(frozen=True)
class Rebalance:
    """So many workers of a stage, one number after the other."""

    stage: str
    counts: tuple[int, ...]
    pause_s: float
    kind: str = "rebalance"

    @property
    def side(self) -> str:
        return "store" if self.stage == "sink" else "stream"

    def inject(self, house: House) -> Hit:
        found = hit(house, f"{self.stage} with {' then '.join(map(str, self.counts))} workers")
        for count in self.counts:
            house.workers.scale(self.stage, count)
            time.sleep(self.pause_s)
        return found

    def heal(self, house: House, hit: Hit) -> None:
        house.workers.scale(self.stage, 2 if self.stage == "sink" else 1)
