"""Facts of one source partition to absolute partials: the pure core of `meter`.

`fold` takes facts in source order and counts each call under its keys, in the minute of its event time. `flush` hands
out what has changed. Everything that decides what is kept is a function of the facts alone (positions and event time,
never wall time), so a fold that is repeated after a crash gives the same cells.

Life of a cell: a minute is open for MINUTES_KEPT after it ended; then its last value goes out, it is added to its hour,
and it is dropped. A later event for it begins a new cell of the same minute with another `since`; the judge adds
both up, so nothing is lost by dropping early. Events more than DIRECT_MINUTES late go straight into their hour; events
more than EXPIRED_HOURS late are only counted.

Memory: at most `max_keys` keys and `max_users` user keys. A key holds one cell for each of its last MINUTES_KEPT active
minutes and HOURS_KEPT hours, about 0.7 kB each: 13 kB for a key that is active all the time, 1 to 2 kB for a usual
one; 10,000 usual keys are about 20 MB. The least recently used keys beyond the bound are closed (their last values go
out) and counted as `evicted_keys` and `evicted_users`; nothing is lost by that either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from pipeline.audit.positions import Mark
from pipeline.windows import bucket as buckets
from pipeline.windows.keys import ORDER, keys_of
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.fact import Fact
from schemas.partial import Bucket, Cell, Key

MINUTES_KEPT: Final = 15
DIRECT_MINUTES: Final = 120
HOURS_KEPT: Final = 4
EXPIRED_HOURS: Final = 26
ROUTES: Final = 16_384


class Series(msgspec.Struct, gc=False):
    """The open cells of one key.

    Attributes:
        key: The key.
        minutes: Open minutes.
        hours: Hours with what has been added to them so far.
        touched: Source offset of the last fact of this key.
        shown: Cost of the newest minute when it was last published, to publish first what has changed most.
    """

    key: Key
    minutes: dict[int, Cell] = {}
    hours: dict[int, Cell] = {}
    touched: int = 0
    shown: int = 0


class FoldState(msgspec.Struct):
    """A fold as it is kept in a snapshot; nothing in it is waiting to be published."""

    epoch: int
    next_offset: int
    watermark: int | None
    series: list[Series]
    counts: dict[str, int]


class PartialFold:
    """The fold of one source partition.

    Args:
        mark: Next source position to apply.
        allowed_lateness_ms: How far behind the watermark an event may be before it is counted as late.
        max_keys: Most keys that are not users.
        max_users: Most tenant x user keys.
    """

    def __init__(
        self, mark: Mark, *, allowed_lateness_ms: int = 120_000, max_keys: int = 20_000, max_users: int = 20_000
    ) -> None:
        self.mark = mark
        self.watermark: int | None = None
        self.counts: dict[str, int] = {}
        self._lateness_ms = allowed_lateness_ms
        self._bound = {False: max_keys, True: max_users}
        self._series: dict[bool, dict[Key, Series]] = {False: {}, True: {}}
        self._routes: dict[tuple[str, str | None, str | None, str | None], tuple[Series, ...]] = {}
        self._minutes: dict[int, dict[Key, Series]] = {}
        self._hours: dict[int, dict[Key, Series]] = {}
        self._minute = -1
        self._dirty: dict[tuple[Key, int], Cell] = {}
        self._dirty_hours: dict[tuple[Key, int], Cell] = {}
        self._last_values: list[tuple[int, Cell]] = []
        # Offset of the fact being folded: what a change is dated with.
        self._at = -1

    # -- facts in

    def fold(self, fact: Fact) -> bool:
        """Apply one fact; False when it was a duplicate or stands behind a hole and was skipped."""
        epoch = self.mark.epoch
        if self.mark.offer(fact.position, fact.next_offset) != "apply":
            return False
        if self.mark.epoch != epoch:
            self._close_epoch(epoch)
        self._at = self.mark.next_offset - 1
        if fact.type == "call":
            if fact.backfill:
                self._count("backfill")
                return True
            self._call(fact)
        elif fact.type == "tick":
            self._advance(fact.event_ms)
        return True

    def _call(self, fact: Fact) -> None:
        event_ms = fact.event_ms
        self._advance(event_ms)
        minute = event_ms // MINUTE_MS
        assert self.watermark is not None
        if event_ms < self.watermark - self._lateness_ms:
            self._count("late")
            if minute < self._minute - EXPIRED_HOURS * HOUR_MINUTES:
                self._count("expired")
                return
        series = self._route(fact)
        if fact.user:
            series = (*series, self._find(True, ("user", fact.tenant, fact.user)))
        direct = minute < self._minute - DIRECT_MINUTES
        found: list[Bucket] = []
        for one in series:
            one.touched = self._at
            if direct:
                cell = self._hour(one, minute // HOUR_MINUTES, self._at)
            else:
                known = one.minutes.get(minute)
                cell = self._open(one, minute) if known is None else known
                self._dirty[one.key, minute] = cell
            cell.upto = self._at
            found.append(cell.bucket)
        buckets.add_all(found, fact)

    def _route(self, fact: Fact) -> tuple[Series, ...]:
        name = (fact.tenant, fact.feature, fact.provider, fact.model)
        route = self._routes.get(name)
        if route is None:
            keys = keys_of(
                fact.tenant, fact.feature or "", fact.provider or "", fact.model or fact.response_model or ""
            )
            route = tuple(self._find(False, key) for key in keys)
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            self._routes[name] = route
        return route

    def _find(self, user: bool, key: Key) -> Series:
        known = self._series[user]
        series = known.get(key)
        if series is None:
            if len(known) >= self._bound[user]:
                self._evict_least_recent(user)
            series = known[key] = Series(key)
        # At once, so that finding the next key of the same call cannot evict this one.
        series.touched = self._at
        return series

    def _open(self, series: Series, minute: int) -> Cell:
        cell = series.minutes[minute] = Cell(series.key, False, minute, self._at, self._at, Bucket())
        self._minutes.setdefault(minute, {})[series.key] = series
        return cell

    def _hour(self, series: Series, hour: int, since: int) -> Cell:
        cell = series.hours.get(hour)
        if cell is None:
            cell = series.hours[hour] = Cell(series.key, True, hour, since, since, Bucket())
            self._hours.setdefault(hour, {})[series.key] = series
        cell.upto = self._at
        self._dirty_hours[series.key, hour] = cell
        return cell

    # -- time

    def _advance(self, event_ms: int) -> None:
        if self.watermark is not None and event_ms <= self.watermark:
            return
        self.watermark = event_ms
        minute = event_ms // MINUTE_MS
        if minute == self._minute:
            return
        self._minute = minute
        # In order of time, also after a restore: the first minute added to an hour names the hour's cell.
        for old in sorted(m for m in self._minutes if m < minute - MINUTES_KEPT):
            for series in self._minutes.pop(old).values():
                self._drop_minute(series, old)
        for old in [h for h in self._hours if h < minute // HOUR_MINUTES - HOURS_KEPT]:
            for series in self._hours.pop(old).values():
                self._drop_hour(series, old)
                if not series.hours and not series.minutes:
                    self._forget(series)

    def _drop_minute(self, series: Series, minute: int) -> None:
        cell = series.minutes.pop(minute)
        if self._dirty.pop((series.key, minute), None) is not None:
            self._last_values.append((self.mark.epoch, cell))
        buckets.merge(self._hour(series, minute // HOUR_MINUTES, cell.since).bucket, cell.bucket)

    def _drop_hour(self, series: Series, hour: int) -> None:
        cell = series.hours.pop(hour)
        if self._dirty_hours.pop((series.key, hour), None) is not None:
            self._last_values.append((self.mark.epoch, cell))

    def _forget(self, series: Series) -> None:
        user = series.key[0] == "user"
        self._series[user].pop(series.key, None)
        if not user:
            self._routes.clear()

    def _close(self, series: Series) -> None:
        """Give out the last values of a key and forget it."""
        for minute in sorted(series.minutes):
            self._minutes[minute].pop(series.key)
            self._drop_minute(series, minute)
        for hour in list(series.hours):
            self._hours[hour].pop(series.key)
            self._drop_hour(series, hour)
        self._forget(series)

    def _evict_least_recent(self, user: bool) -> None:
        # A twentieth at a time, so that the sort costs next to nothing a fact.
        series = sorted(self._series[user].values(), key=lambda one: one.touched)
        for one in series[: max(1, len(series) // 20)]:
            self._close(one)
            self._count("evicted_users" if user else "evicted_keys")

    def _close_epoch(self, epoch: int) -> None:
        """Offsets of a new epoch begin at 0 again: close all cells, which then belong to the old epoch."""
        self._at += 1
        for known in self._series.values():
            for series in list(known.values()):
                self._close(series)
        self._last_values = [(epoch, cell) for _, cell in self._last_values]

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    # -- partials out

    def flush(self, most: int | None = None) -> list[tuple[int, list[Cell]]]:
        """Take what has changed, by epoch: last values, all closed minutes and hours, and up to `most` open minutes.

        Of the open ones those come first that have changed most since they were last given out; None takes all. The
        cells are live: encode them before the next `fold`.
        """
        out: dict[int, list[Cell]] = {}
        for epoch, cell in self._last_values:
            out.setdefault(epoch, []).append(cell)
        self._last_values = []
        mine: list[Cell] = []
        opened: list[tuple[int, int, tuple[Key, int]]] = []
        for name, cell in self._dirty.items():
            if cell.start < self._minute:
                mine.append(cell)
            else:
                change = cell.bucket.cost_nano_usd - self._shown(cell.key)
                opened.append((-change, ORDER[cell.key[0]], name))
        if most is not None and len(opened) > most:
            opened.sort()
            del opened[most:]
        mine += [self._show(self._dirty[name]) for _, _, name in opened]
        for cell in mine:
            del self._dirty[cell.key, cell.start]
        # An hour is given out when none of its minutes is regularly open any more, or when it is older still.
        for (key, hour), cell in list(self._dirty_hours.items()):
            if most is None or (hour + 1) * HOUR_MINUTES <= self._minute - MINUTES_KEPT:
                mine.append(cell)
                del self._dirty_hours[key, hour]
        if mine:
            out.setdefault(self.mark.epoch, []).extend(mine)
        return list(out.items())

    def _shown(self, key: Key) -> int:
        series = self._series[key[0] == "user"].get(key)
        return series.shown if series is not None else 0

    def _show(self, cell: Cell) -> Cell:
        series = self._series[cell.key[0] == "user"].get(cell.key)
        if series is not None:
            series.shown = cell.bucket.cost_nano_usd
        return cell

    # -- snapshots

    def state(self) -> FoldState:
        """The state for a snapshot.

        Raises:
            ValueError: Something has not been published yet; `flush(None)` and deliver first.
        """
        if self._dirty or self._dirty_hours or self._last_values:
            raise ValueError("a snapshot of partials must not leave unpublished cells behind: flush first")
        series = [one for known in self._series.values() for one in known.values()]
        return FoldState(self.mark.epoch, self.mark.next_offset, self.watermark, series, dict(self.counts))

    def restore(self, state: FoldState) -> None:
        """Continue from a state; the fold must be new."""
        self.mark = Mark(state.epoch, state.next_offset)
        self.watermark = state.watermark
        self._minute = -1 if state.watermark is None else state.watermark // MINUTE_MS
        self._at = state.next_offset - 1
        self.counts = dict(state.counts)
        for series in state.series:
            self._series[series.key[0] == "user"][series.key] = series
            for minute in series.minutes:
                self._minutes.setdefault(minute, {})[series.key] = series
            for hour in series.hours:
                self._hours.setdefault(hour, {})[series.key] = series

    def keys_held(self) -> dict[str, int]:
        """How many keys are in memory, by dimension group, for metrics."""
        return {"key": len(self._series[False]), "user": len(self._series[True])}


def by_tenant(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Cells grouped by their tenant, parents before children."""
    groups: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: ORDER[c.key[0]]):
        groups.setdefault("" if cell.key[0] == "provider" else cell.key[1], []).append(cell)
    return groups
