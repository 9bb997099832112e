"""What every fault is: a value that waits for its moment, does harm, tells what it hit, and undoes what it can."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

from tests.chaos.house import House
from tests.chaos.watch import Open


class Missed(Exception):
    """The moment that a fault waits for did not come."""


@dataclass
class Hit:
    """What a fault hit.

    Attributes:
        what: In a few words.
        where: The position in the log.
        at_ms: When, milliseconds since 1970.
        ledger: Where each partition's ledger ended.
        open: The range that was between INTENT and DONE, where the fault waited for one.
        pids: Processes concerned.
        again: Events that were sent once more.
        rss_bytes: Memory of each worker, sampled while it lasted.
    """

    what: str
    where: str
    at_ms: int
    ledger: dict[int, int]
    open: Open | None = None
    pids: tuple[int, ...] = ()
    again: list[int] = field(default_factory=list)
    rss_bytes: list[dict[str, int]] = field(default_factory=list)


class Fault(Protocol):
    """A fault; frozen.

    Attributes:
        kind: Name of the kind.
        side: `store`: it concerns the sink or ClickHouse; `stream`: the rest. One of each side at a time.
    """

    @property
    def kind(self) -> str: ...

    @property
    def side(self) -> str: ...

    def inject(self, house: House) -> Hit:
        """Do it.

        Raises:
            Missed: Its moment did not come.
        """
        ...

    def heal(self, house: House, hit: Hit) -> None:
        """Undo it, and wait until what it is about has come to pass."""
        ...


def hit(house: House, what: str, opened: Open | None = None, pids: tuple[int, ...] = (), where: str = "") -> Hit:
    """A hit now: at the open range, or at where the sink is."""
    if not where:
        places = " ".join(f"{epoch}/{number}/{offset}" for number, (epoch, offset) in house.watch.marks().items())
        where = str(opened) if opened is not None else places
    return Hit(what, where, int(time.time() * 1000), house.watch.places(), opened, pids)


def await_open(house: House, within_s: float = 25.0) -> Open:
    """The next range that is announced.

    Raises:
        Missed: None is.
    """
    begun = time.monotonic()
    while time.monotonic() - begun < within_s:
        found = house.watch.open(begun)
        if found is not None:
            return found
        time.sleep(0.001)
    raise Missed("no range was announced")


def worker_of(house: House, opened: Open) -> str:
    """Name of the worker that announced a range.

    Raises:
        Missed: It has ended.
    """
    for name in house.workers.of("sink"):
        if house.workers.pid(name) == opened.pid:
            return name
    raise Missed("the owner of the range has ended")


def alive(house: House, *stages: str, within_s: float = 20.0) -> None:
    """Wait until all workers of some stages run."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if all(house.workers.pid(name) for stage in stages for name in house.workers.of(stage)):
            return
        time.sleep(0.05)
