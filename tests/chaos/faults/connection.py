"""`connection`: links between stages and a server are cut, refused, delayed or stalled for a while."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from infra.embedded.servers import ServerName
from tests.chaos.faults.fault import Hit, Missed, await_open, hit
from tests.chaos.house import House
from tests.chaos.proxy import Proxy


@dataclass(frozen=True)
class Connection:
    """What happens to the links; `only` (part of a client's name) leaves the other clients of Kafka alone."""

    server: ServerName
    how: Literal["cut", "refused", "delayed", "stalled"]
    lasts_s: float
    only: str = ""
    kind: str = "connection"

    @property
    def side(self) -> str:
        return "store" if self.server == "clickhouse" else "stream"

    def inject(self, house: House) -> Hit:
        opened = None
        if self.server == "clickhouse":
            with suppress(Missed):
                opened = await_open(house, 10)
        proxy = self._proxy(house)
        whose = f" of {self.only}" if self.only else ""
        if self.how == "delayed":
            proxy.only, proxy.delay_s = self.only, 0.15
        elif self.how == "stalled":
            proxy.only, proxy.stalled = self.only, True
        else:
            proxy.refusing = self.how == "refused"
            proxy.cut(self.only)
        return hit(house, f"links{whose} to {self.server} {self.how} for {self.lasts_s:.1f} s", opened)

    def heal(self, house: House, hit: Hit) -> None:
        time.sleep(self.lasts_s)
        proxy = self._proxy(house)
        proxy.refusing, proxy.stalled, proxy.delay_s, proxy.only = False, False, 0.0, ""

    def _proxy(self, house: House) -> Proxy:
        return house.clickhouse_proxy if self.server == "clickhouse" else house.kafka_proxy
