"""`clock`: the wall clocks of all workers jump, forward or back, and some time later they are right again."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, hit
from tests.chaos.house import House


@dataclass(frozen=True)
class Clock:
    """A jump by so many seconds."""

    seconds: float
    lasts_s: float
    kind: str = "clock"
    side: str = "stream"

    def inject(self, house: House) -> Hit:
        house.shift_clock(self.seconds)
        return hit(house, f"clocks {self.seconds:+.0f} s for {self.lasts_s:.1f} s")

    def heal(self, house: House, hit: Hit) -> None:
        time.sleep(self.lasts_s)
        house.shift_clock(0.0)
