"""`disk`: ClickHouse's disk is full for a while: a tmpfs filled up, or, where none may be mounted, such answers."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass

from infra.embedded.clickhouse import KEEP_FREE_BYTES
from tests.chaos.faults.fault import Hit, Missed, await_open, hit
from tests.chaos.house import House


@dataclass(frozen=True)
class Disk:
    """Fills the disk as far as the server may use it, and frees it."""

    lasts_s: float
    kind: str = "disk"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        opened = None
        with suppress(Missed):
            opened = await_open(house, 10)
        if house.disk is None:
            house.clickhouse_proxy.script.extend(["full"] * int(self.lasts_s * 10))
            return hit(house, f"answers of a full disk for {self.lasts_s:.1f} s", opened)
        filler = os.open(house.disk / "filler", os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            # What the server has begun still finds room in what it keeps free; nothing else does.
            free = os.statvfs(house.disk)
            os.posix_fallocate(filler, 0, free.f_bavail * free.f_frsize - KEEP_FREE_BYTES // 2)
        finally:
            os.close(filler)
        return hit(house, f"disk of ClickHouse full for {self.lasts_s:.1f} s", opened)

    def heal(self, house: House, hit: Hit) -> None:
        time.sleep(self.lasts_s)
        if house.disk is not None:
            (house.disk / "filler").unlink(missing_ok=True)
        house.clickhouse_proxy.script.clear()
