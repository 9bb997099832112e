"""`restart`: Kafka or ClickHouse ends, with SIGKILL or in good order, and comes again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from infra.embedded.errors import EmbeddedError
from infra.embedded.servers import ServerName
from tests.chaos.faults.fault import Hit, Missed, await_open, hit
from tests.chaos.house import House


@dataclass(frozen=True)
class Restart:
    """Restarts a server; ClickHouse when a range has just been announced."""

    server: ServerName
    by_kill: bool
    kind: str = "restart"
    side: str = "store"

    def inject(self, house: House) -> Hit:
        opened = None
        if self.server == "clickhouse":
            with suppress(Missed):
                opened = await_open(house, 10)
        found = hit(house, f"{self.server} {'kill -9' if self.by_kill else 'stopped'} and started", opened)
        if self.by_kill:
            house.servers.kill(self.server)
        try:
            house.servers.restart(self.server)
        except EmbeddedError:  # a busy machine
            house.servers.restart(self.server)
        return found

    def heal(self, house: House, hit: Hit) -> None:
        """The server answers again."""
