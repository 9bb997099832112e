"""`kill`: SIGKILL to a worker, or to redaction's helper process; its supervisor starts it again."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from tests.chaos.faults.fault import Hit, Missed, alive, await_open, hit, worker_of
from tests.chaos.house import House

OUTPUT = {"measure": "facts", "redact": "calls", "helper": "calls", "meter": "partials", "judge": "windows"}


@dataclass(frozen=True)
class Kill:
    """Kills a stage's worker (`target`), or `helper`; a sink when it has just announced a range."""

    target: str
    kind: str = "kill"

    @property
    def side(self) -> str:
        return "store" if self.target in ("sink", "act") else "stream"

    def inject(self, house: House) -> Hit:
        if self.target == "sink":
            opened = await_open(house)
            name = worker_of(house, opened)
            return hit(house, f"kill -9 {name}", opened, (house.workers.kill(name),))
        where = ""
        if self.target in OUTPUT:
            topic = OUTPUT[self.target]
            where = topic + " " + " ".join(f"{n}/{end}" for n, end in house.ends(topic).items())
        if self.target == "helper":
            deadline = time.monotonic() + 20
            while not (helpers := house.workers.children("redact-1")):
                if time.monotonic() > deadline:
                    raise Missed("redact has no helper now")
                time.sleep(0.05)
            with suppress(ProcessLookupError):
                os.kill(helpers[0], signal.SIGKILL)
            return hit(house, "kill -9 of redact-1's helper", pids=(helpers[0],), where=where)
        alive(house, self.target)
        name = house.workers.of(self.target)[0]
        return hit(house, f"kill -9 {name}", pids=(house.workers.kill(name),), where=where)

    def heal(self, house: House, hit: Hit) -> None:
        if self.target != "helper":
            alive(house, self.target)
