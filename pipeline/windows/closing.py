"""Closed windows: when the watermark has passed a window's end it is published once, and again when a late event came.

Windows stand on the grid of their own length (UTC); weeks, the trailing seven days, begin at every midnight. Which
lengths are published depends on the dimension, because a user's minutes would be more rows than calls; rules see every
rolling length of every key all the same.

A window that late events change is published again after a pause that doubles with every revision, up to an hour: a
partition that comes back from hours behind changes the same windows with every flush, and whoever reads them wants the
result, not the way there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from pipeline.windows import bucket as buckets
from pipeline.windows.keys import ORDER, subject, tenant_of
from pipeline.windows.published import Published, Span
from pipeline.windows.rolling import HOURS_WHOLE, Store
from pipeline.windows.timeline import BLOCK_MINUTES, BLOCKS_AN_HOUR, Timeline
from pipeline.windows.watermark import DAY_MINUTES, HOUR_MINUTES, MINUTE_MS
from schemas.partial import Bucket, Key
from schemas.window import Standing, Window, Windows

WEEK_MINUTES: Final = 7 * DAY_MINUTES
# Minutes.
SIZES: Final[dict[str, tuple[int, ...]]] = {
    "tenant": (1, BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES),
    "provider": (1, BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES),
    "feature": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES),
    "model": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES),
    "prompt": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES),
    "variant": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES),
    "user": (HOUR_MINUTES, DAY_MINUTES),
    "canary": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES),
    "redaction": (BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES),
}
# Sizes whose windows carry the whole bucket.
WITH_BUCKET: Final = (BLOCK_MINUTES, HOUR_MINUTES)
# A jump of the watermark over more than this closes only windows that hold calls of the last HOURS_WHOLE hours.
_LONGEST: Final = HOURS_WHOLE * HOUR_MINUTES
LONGEST_PAUSE: Final = 60
# Windows below an hour that ended longer ago have no sums any more.
_LATE_BLOCKS: Final = 3 * BLOCKS_AN_HOUR * BLOCK_MINUTES
# Time that passes at once is gone through hour by hour, this far back at most.
_FURTHEST: Final = 40 * DAY_MINUTES


class ClosingState(msgspec.Struct):
    """What a snapshot keeps.

    Attributes:
        minute: Everything that ended at or before this minute has been closed; -1 before the first watermark.
        published: `Published.records`; in earlier snapshots (revision, facts) by window.
        changed: Windows that late events have changed, and the minute from which on they are published again.
        due: The same by that minute.
    """

    minute: int = -1
    published: dict[Key, bytes | dict[Span, tuple[int, int]]] = {}
    changed: dict[Key, dict[Span, int]] = {}
    due: dict[int, list[tuple[Key, Span]]] = {}


class Closing:
    """Decides which windows to publish.

    Args:
        store: The sums.
        standings: By key and hour, what is to go out with the window of that hour.

    Memory: 16 bytes for each published window whose sums are still held by the store.
    """

    def __init__(self, store: Store, standings: Mapping[tuple[Key, int], Standing] | None = None) -> None:
        # Everything that ended at or before it has been closed.
        self.minute = -1
        self.published = Published()
        self._changed: dict[Key, dict[Span, int]] = {}
        self._due: dict[int, list[tuple[Key, Span]]] = {}
        self._store = store
        self._standings = standings if standings is not None else {}

    def changed(self, key: Key, hour: bool, at: int) -> None:
        """Take note that a minute or an hour of a key has changed; windows that are closed must be looked at again."""
        first = at * HOUR_MINUTES if hour else at
        if first >= self.minute:
            return
        for size in SIZES[key[0]]:
            if hour and size < HOUR_MINUTES:
                continue
            step = DAY_MINUTES if size == WEEK_MINUTES else size
            newest = first - first % step
            for start in range(newest, newest - size, -step):
                if start + size <= self.minute and start + size >= self.minute - _LONGEST:
                    self._again(key, (size, start))

    def _again(self, key: Key, span: Span) -> None:
        changed = self._changed.setdefault(key, {})
        if span in changed:
            return
        revision, _ = self.published.get(key, span)
        # The first time at once: a window that was not there at all is missed.
        pause = min(1 << revision, LONGEST_PAUSE) if revision else 0
        changed[span] = due = self.minute + pause
        self._due.setdefault(due, []).append((key, span))

    def advance(self, minute: int, watermark: int) -> list[Windows]:
        """Move the store to `minute`, which the watermark is in, hour by hour; close what has ended meanwhile.

        Returns:
            Windows that have ended, and those that late events have changed.
        """
        found: list[Windows] = []
        before = self._store.minute
        if before >= 0:
            first = max(before - before % HOUR_MINUTES + HOUR_MINUTES, minute - _FURTHEST)
            for step in range(first - first % HOUR_MINUTES, minute, HOUR_MINUTES):
                found += self._step(step, watermark)
        return found + self._step(minute, watermark)

    def _step(self, minute: int, watermark: int) -> list[Windows]:
        found = list[Window]()
        tenants: list[str] = []
        self._before_blocks_go(minute, found, tenants)
        self._store.advance(minute)
        begin = self.minute if self.minute >= 0 else (self._store.first_hour or 0) * HOUR_MINUTES
        begin = max(begin, minute - _LONGEST)
        for size in (1, BLOCK_MINUTES, HOUR_MINUTES, DAY_MINUTES, WEEK_MINUTES):
            step = DAY_MINUTES if size == WEEK_MINUTES else size
            for end in range(begin - begin % step + step, minute + 1, step):
                self._close(end - size, size, found, tenants)
        for when in sorted(due for due in self._due if due <= minute):
            for key, (size, start) in sorted(self._due.pop(when), key=_order):
                changed, timeline = self._changed[key], self._store.timelines.get(key)
                del changed[size, start]
                if not changed:
                    del self._changed[key]
                if timeline is not None:
                    self._publish(timeline, start, size, found, tenants)
        self.minute = minute
        self._trim(minute)
        grouped: dict[str, list[Window]] = {}
        for tenant, window in zip(tenants, found, strict=True):
            grouped.setdefault(tenant, []).append(window)
        return [Windows(tenant, watermark, tuple(windows)) for tenant, windows in grouped.items()]

    def _before_blocks_go(self, minute: int, found: list[Window], tenants: list[str]) -> None:
        """Windows below an hour that wait for their pause to end, and could not be made after it."""
        rolled = self._store.rolled_at(minute)
        for key, changed in sorted(self._changed.items(), key=_order):
            timeline = self._store.timelines.get(key)
            for size, start in sorted(changed):
                if size < HOUR_MINUTES and start // HOUR_MINUTES < rolled and timeline is not None:
                    self._publish(timeline, start, size, found, tenants)

    def _close(self, start: int, size: int, found: list[Window], tenants: list[str]) -> None:
        if size == 1:
            keys = self._store.keys_in_minute(start)
        elif size == BLOCK_MINUTES:
            keys = self._store.keys_in_block(start // BLOCK_MINUTES)
        elif size < WEEK_MINUTES:
            keys = self._store.keys_in_hours(start // HOUR_MINUTES, size // HOUR_MINUTES)
        else:
            keys = self._store.timelines
        for _, timeline in sorted(keys.items(), key=_order):
            if size in SIZES[timeline.key[0]]:
                self._publish(timeline, start, size, found, tenants)

    def _publish(self, timeline: Timeline, start: int, size: int, found: list[Window], tenants: list[str]) -> None:
        total = self._total(timeline, start, size)
        if total is None or not total.facts:
            return
        revision, facts = self.published.get(timeline.key, (size, start))
        if total.facts == facts:
            # Whatever changes a window adds a fact to it.
            return
        self.published.put(timeline.key, (size, start), revision + 1, total.facts)
        standing = self._standings.get((timeline.key, start // HOUR_MINUTES)) if size == HOUR_MINUTES else None
        found.append(window_of(timeline.key, start, size, revision + 1, total, standing))
        tenants.append(tenant_of(timeline.key))

    def _total(self, timeline: Timeline, start: int, size: int) -> Bucket | None:
        """The sum of a window; None where its parts are not held any more."""
        if size == 1:
            return timeline.minute_total(start) if self._store.holds_blocks(start) else None
        if size == BLOCK_MINUTES:
            return timeline.block_total(start // BLOCK_MINUTES) if self._store.holds_blocks(start) else None
        if size == HOUR_MINUTES:
            return timeline.hour_total(start // HOUR_MINUTES)
        days = range(start // DAY_MINUTES, (start + size) // DAY_MINUTES)
        return buckets.merged(timeline.day_total(day) for day in days)

    def _trim(self, minute: int) -> None:
        if minute % HOUR_MINUTES:
            return
        self.published.trim(lambda size: minute - (_LONGEST if size >= HOUR_MINUTES else _LATE_BLOCKS))

    # -- snapshots

    def state(self) -> ClosingState:
        """What a snapshot keeps."""
        state = ClosingState(self.minute, changed=self._changed, due=self._due)
        state.published = {key: bytes(records) for key, records in self.published.records.items()}
        return state

    def restore(self, state: ClosingState) -> None:
        """Continue from a state."""
        self.minute, self.published = state.minute, Published(state.published)
        self._changed, self._due = state.changed, state.due


def _order(item: tuple[Key, object]) -> tuple[int, Key, int]:
    span = item[1]
    return ORDER[item[0][0]], item[0], span[1] if isinstance(span, tuple) else 0


def window_of(
    key: Key, start: int, size: int, revision: int, total: Bucket, standing: Standing | None = None
) -> Window:
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
        run_ms=buckets.latency_of(total.quality.runs if total.quality is not None else {}),
        bucket=_bare(total) if size in WITH_BUCKET else None,
        standing=standing,
    )


def _bare(total: Bucket) -> Bucket:
    """A bucket without what marks single calls."""
    quality = total.quality
    if quality is not None:
        quality = msgspec.structs.replace(quality, failures={}, samples={})
    return msgspec.structs.replace(total, max_cost_at=-1, slowest_at=-1, failed_at=-1, quality=quality)
