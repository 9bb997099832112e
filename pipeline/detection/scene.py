"""What a rule of `judge` sees: one key at one minute, its past, and its neighbours. Reads the store, changes nothing.

Sums that several rules ask for are made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pipeline.detection.reference import Reference, reference
from pipeline.windows import bucket as buckets
from pipeline.windows.keys import subject, tenant_of
from pipeline.windows.ring import LENGTHS
from pipeline.windows.rolling import Store
from pipeline.windows.timeline import BLOCK_MINUTES, Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.partial import Bucket, Key

# References held at a time, some 20 kB each.
MOST_REFERENCES: Final = 500
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

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once an hour for this key unless its past has changed meanwhile; as `memo`."""
        stamp = (self.minute // HOUR_MINUTES, self.timeline.revised)
        known = self.store.hourly.get(self.key)
        if known is None or known[0] != stamp:
            known = self.store.hourly[self.key] = (stamp, {})
        found = known[1]
        if name not in found:
            found[name] = make()
        return found[name]

    def hours(self, count: int) -> Bucket:
        """The sum of the present hour and of the `count - 1` hours before it."""
        found = self._hours.get(count)
        if found is None:
            now = self.minute // HOUR_MINUTES
            held = (hour for hour in range(now - count + 1, now + 1) if self.timeline.has_hour(hour))
            found = self._hours[count] = buckets.merged(map(self.timeline.hour_total, held))
        return found

    def reference(self, window_hours: int, taint: int) -> Reference:
        """What the key usually does, before a window of so many hours; made once an hour."""
        hour = self.minute // HOUR_MINUTES
        name, stamp = (self.key, window_hours, taint), (hour, self.timeline.revised)
        known = self.store.references.pop(name, None)
        if known is None or known[0] != stamp:
            known = (stamp, reference(self.timeline, hour, window_hours, taint))
            if len(self.store.references) >= MOST_REFERENCES:
                del self.store.references[next(iter(self.store.references))]
        self.store.references[name] = known
        found: Reference = known[1]
        return found

    def parts(self, dimension: str) -> list[Timeline]:
        """Timelines of a dimension below this key: of the tenant, and of the feature where the key is one."""
        found = self.store.below(self.tenant, dimension)
        return found if self.key[0] == "tenant" else [one for one in found if one.key[2] == self.key[2]]

    def breakdown(self, of: Callable[[Bucket], tuple[float, float]], hours: int = 6) -> dict[str, Any]:
        """Rates of the feature's variants, and of the tenant's prompt versions, where there are several in use.

        Args:
            of: (hits, count) of a bucket.
            hours: Over how many hours.
        """
        found: dict[str, dict[str, float]] = {}
        for dimension, parts in (
            ("variants", self.parts("variant")),
            ("prompts", self.store.below(self.tenant, "prompt")),
        ):
            rates = {}
            for part in parts:
                hits, count = of(Scene(self.store, part, self.minute).hours(hours))
                if count >= 5:
                    rates[" ".join(part.key[2:])] = round(hits / count, 4)
            if len(rates) > 1:
                found[dimension] = dict(sorted(rates.items(), key=lambda item: -item[1])[:8])
        return found

    def age_hours(self) -> float:
        """Hours since the key was first seen."""
        first = self.timeline.book.first()
        now = self.minute // HOUR_MINUTES
        return 0.0 if first is None else float(now - first)

    def known_calls(self) -> float:
        """Calls of the days that are remembered, and of the last hours."""
        today = self.minute // DAY_MINUTES
        days = {*self.timeline.book.day_numbers(), today - 1, today}
        return sum(self.timeline.day(day).calls for day in days)
