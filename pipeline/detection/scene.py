"""What a rule of `judge` sees: one key at one minute, its past, and its neighbours. Reads the store, changes nothing.

Sums that several rules ask for are made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeline.windows.keys import subject, tenant_of
from pipeline.windows.ring import LENGTHS
from pipeline.windows.rolling import Store
from pipeline.windows.timeline import BLOCK_MINUTES, Timeline
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.partial import Bucket, Key

PLACE: Final = {length: place for place, length in enumerate(LENGTHS)}


class Scene:
    """One key at one minute.

    Args:
        store: Everything that is known.
        timeline: The key; its rolling sums are moved to the minute.
        minute: Last minute under test.
        thorough: Whether to look at what is dear to look at, too.
    """

    __slots__ = ("_hours", "_names", "_recent", "key", "minute", "store", "tenant", "thorough", "timeline")

    def __init__(self, store: Store, timeline: Timeline, minute: int, *, thorough: bool = True) -> None:
        timeline.seek(minute)
        self.store = store
        self.timeline = timeline
        self.minute = minute
        self.thorough = thorough
        self.key: Key = timeline.key
        self.tenant = tenant_of(timeline.key)
        self._names: dict[str, str] | None = None
        self._recent: dict[int, Bucket] = {}
        self._hours: dict[int, Bucket] = {}

    @property
    def end_ms(self) -> int:
        """End of the minute under test, exclusive."""
        return (self.minute + 1) * MINUTE_MS

    @property
    def names(self) -> dict[str, str]:
        """The key as the subject of a finding."""
        if self._names is None:
            self._names = subject(self.key)
        return self._names

    @property
    def who(self) -> str:
        """The key in words."""
        return " ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.names.items())

    def calls(self, length: int) -> int:
        """Calls of the last `length` minutes, one of LENGTHS."""
        return self.timeline.calls[PLACE[length]]

    def cost(self, length: int) -> int:
        """Nano-dollars of the last `length` minutes, one of LENGTHS."""
        return self.timeline.cost[PLACE[length]]

    def failed(self, length: int) -> int:
        """Calls of the last `length` minutes, one of LENGTHS, that did not work."""
        return self.timeline.failed[PLACE[length]]

    def blocks(self, length: int) -> Bucket:
        """The sum of the blocks that the last `length` minutes touch; at most about an hour."""
        found = self._recent.get(length)
        if found is None:
            first = (self.minute - length + 1) // BLOCK_MINUTES
            count = self.minute // BLOCK_MINUTES - first + 1
            found = self._recent[length] = self.timeline.blocks_total(first, count)
        return found

    def memo(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once a minute for this key unless its past has changed meanwhile.

        It must hang on nothing but the key's past: what is remembered is not in a snapshot, and must come out the same.
        """
        stamp = (self.minute, self.timeline.revised)
        known = self.store.memos.get(self.key)
        if known is None or known[0] != stamp:
            known = self.store.memos[self.key] = (stamp, {})
        found = known[1]
        if name not in found:
            found[name] = make()
        return found[name]

    def parts(self, dimension: str) -> list[Timeline]:
        """Timelines of a dimension below this key: of the tenant, and of the feature where the key is one."""
        found = self.store.below(self.tenant, dimension)
        return found if self.key[0] == "tenant" else [one for one in found if one.key[2] == self.key[2]]

    def age_hours(self) -> float:
        """Hours since the key was first seen."""
        first = self.timeline.book.first()
        now = self.minute // HOUR_MINUTES
        return 0.0 if first is None else float(now - first)
