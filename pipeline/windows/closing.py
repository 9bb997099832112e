"""Closed windows: when the watermark has passed a window's end it is published once, and again when a late event came.

Windows stand on the grid of their own length (UTC). Which lengths are published depends on the dimension, because a
user's minutes would be more rows than calls; rules see every rolling length of every key all the same.
"""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.windows import bucket as buckets
from pipeline.windows.keys import subject, tenant_of
from pipeline.windows.rolling import HOURS_WHOLE, Store
from pipeline.windows.timeline import Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.partial import Bucket, Cell, Key
from schemas.window import Window, Windows

# Minutes.
SIZES: Final[dict[str, tuple[int, ...]]] = {
    "tenant": (1, 5, HOUR_MINUTES, DAY_MINUTES),
    "provider": (1, 5, HOUR_MINUTES, DAY_MINUTES),
    "feature": (5, HOUR_MINUTES, DAY_MINUTES),
    "model": (5, HOUR_MINUTES, DAY_MINUTES),
    "user": (HOUR_MINUTES, DAY_MINUTES),
}
# A jump of the watermark over more than this closes only windows that hold calls of the last HOURS_WHOLE hours.
_LONGEST: Final = HOURS_WHOLE * HOUR_MINUTES


# Length and start in minutes.
Span = tuple[int, int]


class ClosingState(msgspec.Struct):
    """What a snapshot keeps.

    Attributes:
        minute: Everything that ended at or before this minute has been closed; -1 before the first watermark.
        published: Last revision of a window, and the calls in it.
        late: Windows that a late event has changed.
    """

    minute: int = -1
    published: dict[Key, dict[Span, tuple[int, int]]] = {}
    late: dict[Key, dict[Span, bool]] = {}


class Closing:
    """Decides which windows to publish.

    Memory: a small entry for each published window whose minutes or hours are still held by the store.
    """

    def __init__(self, store: Store) -> None:
        self.state = ClosingState()
        self._store = store

    def changed(self, cell: Cell) -> None:
        """Take note of a cell that was applied; windows that are closed already must be looked at again."""
        first = cell.start * HOUR_MINUTES if cell.hour else cell.start
        if first >= self.state.minute:
            return
        for size in SIZES[cell.key[0]]:
            start = first - first % size
            if start + size <= self.state.minute and (not cell.hour or size >= HOUR_MINUTES):
                self.state.late.setdefault(cell.key, {})[size, start] = True

    def advance(self, minute: int, watermark: int) -> list[Windows]:
        """Close everything that ends at or before `minute`, and what late events have changed.

        `minute` is the minute the watermark is in.
        """
        state, found = self.state, list[Window]()
        tenants: list[str] = []
        begin = state.minute if state.minute >= 0 else (self._store.first_hour or 0) * HOUR_MINUTES
        begin = max(begin, minute - _LONGEST)
        for size in (1, 5, HOUR_MINUTES, DAY_MINUTES):
            for end in range(begin - begin % size + size, minute + 1, size):
                self._close(end - size, size, found, tenants)
        late, state.late = state.late, {}
        for key, windows in late.items():
            timeline = self._store.timelines.get(key)
            for size, start in windows:
                if timeline is not None:
                    self._publish(timeline, start, size, found, tenants)
        state.minute = minute
        self._trim(minute)
        grouped: dict[str, list[Window]] = {}
        for tenant, window in zip(tenants, found, strict=True):
            grouped.setdefault(tenant, []).append(window)
        return [Windows(tenant, watermark, tuple(windows)) for tenant, windows in grouped.items()]

    def _close(self, start: int, size: int, found: list[Window], tenants: list[str]) -> None:
        if size < HOUR_MINUTES:
            keys = self._store.keys_in(start, size)
        else:
            keys = self._store.keys_in_hours(start // HOUR_MINUTES, size // HOUR_MINUTES)
        for timeline in keys.values():
            if size in SIZES[timeline.key[0]]:
                self.state.late.get(timeline.key, {}).pop((size, start), None)
                self._publish(timeline, start, size, found, tenants)

    def _publish(self, timeline: Timeline, start: int, size: int, found: list[Window], tenants: list[str]) -> None:
        ring_start = self._store.ring_start
        if size < HOUR_MINUTES:
            if start < ring_start:
                return
            total = timeline.total(start, size)
        else:
            hours = range(start // HOUR_MINUTES, (start + size) // HOUR_MINUTES)
            total = buckets.merged(timeline.whole_hour(hour, ring_start) for hour in hours)
        if not total.calls:
            return
        published = self.state.published.setdefault(timeline.key, {})
        revision, calls = published.get((size, start), (0, 0))
        if total.calls == calls:
            # Whatever changes a window adds a call to it.
            return
        published[size, start] = (revision + 1, total.calls)
        found.append(window_of(timeline.key, start, size, revision + 1, total))
        tenants.append(tenant_of(timeline.key))

    def _trim(self, minute: int) -> None:
        if minute % HOUR_MINUTES:
            return
        for key, published in list(self.state.published.items()):
            for size, start in list(published):
                kept = _LONGEST if size >= HOUR_MINUTES else minute - self._store.ring_start
                if start + size < minute - kept:
                    del published[size, start]
            if not published:
                del self.state.published[key]


def window_of(key: Key, start: int, size: int, revision: int, total: Bucket) -> Window:
    """A bucket as the window that is published; `start` and `size` in minutes."""
    return Window(
        dimension=key[0],
        subject=subject(key),
        size_s=size * 60,
        start=start * MINUTE_MS,
        revision=revision,
        calls=total.calls,
        cost_nano_usd=total.cost_nano_usd,
        unpriced=total.unpriced,
        max_cost_nano_usd=total.max_cost_nano_usd,
        input_tokens=total.input_tokens,
        cached_tokens=total.cached_tokens,
        cache_write_tokens=total.cache_write_tokens,
        output_tokens=total.output_tokens,
        reasoning_tokens=total.reasoning_tokens,
        errors=total.errors,
        latency_ms=buckets.latency_of(total.latency),
        ttft_ms=buckets.latency_of(total.ttft),
    )
