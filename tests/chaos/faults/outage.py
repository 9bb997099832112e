"""`outage`: ClickHouse is away, or Kafka stands still, for a long time; the workers' memory is looked at meanwhile."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from infra.embedded.servers import ServerName
from tests.chaos.faults.fault import Hit, hit
from tests.chaos.house import House

SAMPLES = 100


@dataclass(frozen=True)
class Outage:
    """SIGKILL and a late start for ClickHouse; SIGSTOP and SIGCONT for Kafka, whose clients then time out."""

    server: ServerName
    lasts_s: float
    kind: str = "outage"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        pid = house.servers.pids()[self.server]
        if self.server == "clickhouse":
            house.servers.kill(self.server)
        else:
            os.kill(pid, signal.SIGSTOP)
        return hit(house, f"{self.server} away for {self.lasts_s:.0f} s", pids=(pid,))

    def heal(self, house: House, hit: Hit) -> None:
        deadline = time.monotonic() + self.lasts_s
        while time.monotonic() < deadline:
            hit.rss_bytes.append(house.workers.rss_bytes())
            time.sleep(min(max(0.5, self.lasts_s / SAMPLES), max(0.0, deadline - time.monotonic())))
        if self.server == "clickhouse":
            house.servers.restart(self.server)
        else:
            os.kill(hit.pids[0], signal.SIGCONT)
