"""The runs of a watch, the least recently seen first: the newest ones as they are, the others packed. Pure.

A run has its calls close together, so most facts find their run at the end of the order, where it needs neither be
taken apart nor put together again (an eighth of what `guard` does for a fact).

Memory: at most 0.9 kB and 0.2 kB around it for a packed run; MOST_AWAKE runs take 1.5 kB more each.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from pipeline.detection.run import Run, pack, seen_ms, unpack

MOST_AWAKE: Final = 512

# 64 bits of a hash of tenant and run (or session).
RunKey = int


class Runs:
    """Runs by key.

    Args:
        packed: Runs as `items` gives them.
    """

    def __init__(self, packed: Iterable[tuple[RunKey, bytes]] = ()) -> None:
        # All of these were seen before any that is awake.
        self._asleep: OrderedDict[RunKey, bytes] = OrderedDict(packed)
        self._awake: OrderedDict[RunKey, Run] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asleep) + len(self._awake)

    def wake(self, key: RunKey) -> Run | None:
        """A run, to be changed in place: it is the last one in the order now. None where it is not known."""
        run = self._awake.get(key)
        if run is not None:
            self._awake.move_to_end(key)
            return run
        data = self._asleep.pop(key, None)
        if data is None:
            return None
        run = unpack(data)
        self.add(key, run)
        return run

    def add(self, key: RunKey, run: Run) -> None:
        """Take a run that is not known, as the last one."""
        self._awake[key] = run
        if len(self._awake) > MOST_AWAKE:
            oldest, known = self._awake.popitem(last=False)
            self._asleep[oldest] = pack(known)

    def oldest(self) -> RunKey | None:
        """The run that was seen least recently."""
        return next(iter(self._asleep or self._awake), None)

    def seen_ms(self, key: RunKey) -> int | None:
        """`Run.seen_ms` of a run; None where it is not known."""
        run = self._awake.get(key)
        if run is not None:
            return run.seen_ms
        data = self._asleep.get(key)
        return None if data is None else seen_ms(data)

    def drop(self, key: RunKey) -> None:
        """Forget a run."""
        if self._awake.pop(key, None) is None:
            del self._asleep[key]

    def items(self) -> list[tuple[RunKey, bytes]]:
        """All runs packed, in their order."""
        return [*self._asleep.items(), *((key, pack(run)) for key, run in self._awake.items())]
