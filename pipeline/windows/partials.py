"""Facts of one source partition to absolute partials: the pure core of `meter`.

`fold` takes facts in source order and counts each under its keys, in the minute of its event time. `flush` hands
out what has changed. Everything that decides what is kept is a function of the facts alone (positions and event time,
never wall time), so a fold that is repeated after a crash gives the same cells.

Life of a cell: a minute is open for MINUTES_KEPT after it ended; then its last value goes out and it is dropped. A
later event for it begins a new cell of the same minute with another `since`; the judge adds both up, so nothing is
lost by dropping early. Events more than DIRECT_MINUTES late go into a cell of their hour; events more than
EXPIRED_HOURS late are only counted.

Memory: at most `max_keys` keys and `max_users` user keys. A key holds one cell for each of its last MINUTES_KEPT active
minutes, 0.7 kB each, 2 kB where quality and shape are counted. The least recently used keys beyond the bound are closed
(their last values go out) and counted as `evicted_keys` and `evicted_users`; nothing is lost by that either. Beside
them `Glimpses`, `Spans` and `Patience` with bounds of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from pipeline.audit.positions import Mark
from pipeline.windows import bucket as buckets
from pipeline.windows import sketch
from pipeline.windows.glimpses import Glimpses
from pipeline.windows.keys import bucket_for, source_of
from pipeline.windows.patience import Patience, Refused, Unit
from pipeline.windows.progress import HOURS_KEPT, MINUTES_KEPT
from pipeline.windows.spans import Span, Spans
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.fact import Fact
from schemas.partial import Cell, Glimpse, Partials, Source

DIRECT_MINUTES: Final = 120
EXPIRED_HOURS: Final = 26
# A plain cell weighs 1, about 0.4 kB; a record must stay far below the message limit.
RECORD_WEIGHT: Final = 400


class Series(msgspec.Struct, gc=False):
    """The open cells of one source.

    Attributes:
        source: The source.
        minutes: Open minutes.
        hours: Hours with what came too late for its minute.
        touched: Source offset of the last fact of it.
    """

    source: Source
    minutes: dict[int, Cell] = {}
    hours: dict[int, Cell] = {}
    touched: int = 0


class FoldState(msgspec.Struct):
    """A fold as it is kept in a snapshot; nothing in it is waiting to be published."""

    epoch: int
    next_offset: int
    watermark: int | None
    series: list[Series]
    counts: dict[str, int]
    runs: list[tuple[str, Span]] = []
    refused: list[tuple[Unit, Refused]] = []


class PartialFold:
    """The fold of one source partition.

    Args:
        mark: Next source position to apply.
        allowed_lateness_ms: How far behind the watermark an event may be before it is counted as late.
        max_keys: Most sources that are not users.
        max_users: Most tenant x user sources.
        max_runs: Most runs whose duration is measured at a time.
    """

    def __init__(
        self,
        mark: Mark,
        *,
        allowed_lateness_ms: int = 120_000,
        max_keys: int = 20_000,
        max_users: int = 20_000,
        max_runs: int = 25_000,
    ) -> None:
        self.mark = mark
        self.watermark: int | None = None
        self.counts: dict[str, int] = {}
        self._lateness_ms = allowed_lateness_ms
        self._bound = {False: max_keys, True: max_users}
        self._series: dict[bool, dict[Source, Series]] = {False: {}, True: {}}
        self._minutes: dict[int, dict[Source, Series]] = {}
        self._hours: dict[int, dict[Source, Series]] = {}
        self._minute = -1
        self._dirty: dict[int, dict[Source, Cell]] = {}
        self._dirty_hours: dict[tuple[Source, int], Cell] = {}
        # Position up to which the cells of the present minute have gone out.
        self._gone_out = -1
        self._glimpses = Glimpses()
        self._last_values: list[tuple[int, Cell]] = []
        self._spans = Spans(max_runs)
        self._patience = Patience()
        # Offset of the fact being folded: what a change is dated with.
        self._at = -1

    # -- facts in

    def fold(self, fact: Fact) -> bool:
        """Apply one fact; False when it was a duplicate or stands behind a hole and was skipped."""
        mark = self.mark
        epoch = mark.epoch
        if mark.offer(fact.position, fact.next_offset) != "apply":
            return False
        if mark.epoch != epoch:
            self._close_epoch(epoch)
        self._at = mark.next_offset - 1
        kind = fact.type
        if kind == "tick":
            self._advance(fact.event_ms)
        elif kind in ("call", "feedback", "evaluation", "canary"):
            if fact.backfill:
                self._count("backfill")
                return True
            self._count_in(fact)
        return True

    def _count_in(self, fact: Fact) -> None:
        event_ms = fact.event_ms
        watermark = self.watermark
        if watermark is None or event_ms > watermark:
            self._advance(event_ms)
        minute = event_ms // MINUTE_MS
        if watermark is not None and event_ms < watermark - self._lateness_ms:
            self._count("late")
            if minute < self._minute - EXPIRED_HOURS * HOUR_MINUTES:
                self._count("expired")
                return
        source, at = source_of(fact), self._at
        cell = self._cell(False, source, minute)
        kind = fact.type
        if kind not in ("call", "canary"):
            buckets.add_judgement(cell.bucket, fact)
            return
        latency = None if fact.latency_ms is None else sketch.index(fact.latency_ms)
        ttft = None if fact.ttft_ms is None else sketch.index(fact.ttft_ms)
        if kind == "canary":
            buckets.add_call(cell.bucket, fact, at, latency, ttft)
            return
        buckets.add_call(cell.bucket, fact, at, latency, ttft, self._patience.observe(fact))
        if minute == self._minute:
            self._glimpses.change(cell)
        if fact.user:
            user = self._cell(True, ("user", fact.tenant, fact.user), minute)
            buckets.add_call(user.bucket, fact, at, latency, ttft)
        if fact.run is not None:
            span = self._spans.observe(fact.run, event_ms, fact.latency_ms, source)
            if span is not None:
                self._run(span)

    def _cell(self, user: bool, source: Source, minute: int) -> Cell:
        """The cell of a source's minute, changed by the fact at work."""
        series = self._series[user].get(source)
        if series is None:
            series = self._begin(user, source)
        at = series.touched = self._at
        if minute < self._minute - DIRECT_MINUTES:
            cell = self._hour(series, minute // HOUR_MINUTES)
        else:
            known = series.minutes.get(minute)
            cell = self._open(series, minute) if known is None else known
            # Of the present minute a cell that has changed since all was given out last is known to wait.
            if known is None or minute != self._minute or cell.upto <= self._gone_out:
                dirty = self._dirty.get(minute)
                if dirty is None:
                    dirty = self._dirty[minute] = {}
                dirty[series.source] = cell
        cell.upto = at
        return cell

    def _begin(self, user: bool, source: Source) -> Series:
        known = self._series[user]
        if len(known) >= self._bound[user]:
            self._evict_least_recent(user)
        series = known[source] = Series(source)
        return series

    def _open(self, series: Series, minute: int) -> Cell:
        source = series.source
        cell = series.minutes[minute] = Cell(source, False, minute, self._at, self._at, bucket_for(source))
        self._minutes.setdefault(minute, {})[source] = series
        return cell

    def _hour(self, series: Series, hour: int) -> Cell:
        cell = series.hours.get(hour)
        if cell is None:
            source = series.source
            cell = series.hours[hour] = Cell(source, True, hour, self._at, self._at, bucket_for(source))
            self._hours.setdefault(hour, {})[source] = series
        self._dirty_hours[series.source, hour] = cell
        return cell

    def _run(self, span: Span) -> None:
        """Count the duration of a run that is over, in the present minute."""
        if span.calls < 2:
            return
        bucket = self._cell(False, ("judged", *span.source[1:]), self._minute).bucket
        bucket.facts += 1
        if bucket.quality is not None:
            sketch.add(bucket.quality.runs, float(span.last_ms - span.first_ms))

    # -- time

    def _advance(self, event_ms: int) -> None:
        if self.watermark is not None and event_ms <= self.watermark:
            return
        self.watermark = event_ms
        minute = event_ms // MINUTE_MS
        if minute == self._minute:
            return
        before, self._minute = self._minute, minute
        self._glimpses.forget()
        for old in sorted(m for m in self._minutes if m < minute - MINUTES_KEPT):
            for series in self._minutes.pop(old).values():
                self._drop_minute(series, old)
        for old in [h for h in self._hours if h < minute // HOUR_MINUTES - HOURS_KEPT]:
            for series in self._hours.pop(old).values():
                self._drop_hour(series, old)
        if minute // HOUR_MINUTES != before // HOUR_MINUTES:
            self._forget_idle()
        for span in list(self._spans.quiet(event_ms)):
            self._run(span)

    def _forget_idle(self) -> None:
        """Once an hour: a source without open cells is nothing but memory."""
        for series in [one for one in self._series[False].values() if not (one.minutes or one.hours)]:
            self._forget(series)

    def _drop_minute(self, series: Series, minute: int) -> None:
        cell = series.minutes.pop(minute)
        if self._dirty.get(minute, {}).pop(series.source, None) is not None:
            self._last_values.append((self.mark.epoch, cell))
        self._forget_user(series)

    def _drop_hour(self, series: Series, hour: int) -> None:
        cell = series.hours.pop(hour)
        if self._dirty_hours.pop((series.source, hour), None) is not None:
            self._last_values.append((self.mark.epoch, cell))
        self._forget_user(series)

    def _forget_user(self, series: Series) -> None:
        if series.source[0] == "user" and not (series.minutes or series.hours):
            self._forget(series)

    def _forget(self, series: Series) -> None:
        self._series[series.source[0] == "user"].pop(series.source, None)

    def _close(self, series: Series) -> None:
        """Give out the last values of a source and forget it."""
        for minute in sorted(series.minutes):
            self._minutes[minute].pop(series.source)
            self._drop_minute(series, minute)
        for hour in list(series.hours):
            self._hours[hour].pop(series.source)
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
        self._gone_out = -1
        for known in self._series.values():
            for series in list(known.values()):
                self._close(series)
        self._last_values = [(epoch, cell) for _, cell in self._last_values]

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    # -- partials out

    def flush(self, most: int | None = None) -> tuple[list[tuple[int, list[Cell]]], list[Glimpse]]:
        """Take what has changed.

        Returns:
            Cells by epoch: last values, all minutes that are over, and hours. And `most` glimpses of calls in minutes
            that go on, those first whose cost has changed most since they were last shown; None takes the cells of
            these minutes instead. The cells are live: encode them before the next `fold`.
        """
        out: dict[int, list[Cell]] = {}
        for epoch, cell in self._last_values:
            out.setdefault(epoch, []).append(cell)
        self._last_values = []
        mine: list[Cell] = []
        for minute in sorted(self._dirty):
            if most is None or minute < self._minute:
                mine += self._dirty.pop(minute).values()
        mine += self._dirty_hours.values()
        self._dirty_hours = {}
        if mine:
            out.setdefault(self.mark.epoch, []).extend(mine)
        if most is None:
            self._gone_out = self._at
            self._glimpses.settle()
        waiting = self._dirty.get(self._minute, {}) if most else {}
        return list(out.items()), self._glimpses.take(most, waiting) if most else []

    # -- snapshots

    def state(self) -> FoldState:
        """The state for a snapshot.

        Raises:
            ValueError: Something has not been published yet; `flush(None)` and deliver first.
        """
        if any(self._dirty.values()) or self._dirty_hours or self._last_values:
            raise ValueError("a snapshot of partials must not leave unpublished cells behind: flush first")
        return FoldState(
            self.mark.epoch,
            self.mark.next_offset,
            self.watermark,
            [one for known in self._series.values() for one in known.values()],
            dict(self.counts),
            list(self._spans.open.items()),
            list(self._patience.refused.items()),
        )

    def restore(self, state: FoldState) -> None:
        """Continue from a state; the fold must be new."""
        self.mark = Mark(state.epoch, state.next_offset)
        self.watermark = state.watermark
        self._minute = -1 if state.watermark is None else state.watermark // MINUTE_MS
        self._at = self._gone_out = state.next_offset - 1
        self.counts = dict(state.counts)
        for series in state.series:
            self._series[series.source[0] == "user"][series.source] = series
            for minute in series.minutes:
                self._minutes.setdefault(minute, {})[series.source] = series
            for hour in series.hours:
                self._hours.setdefault(hour, {})[series.source] = series
        self._spans.open = dict(state.runs)
        self._patience.refused = dict(state.refused)

    def keys_held(self) -> dict[str, int]:
        """How many sources and runs are in memory, for metrics."""
        return {"key": len(self._series[False]), "user": len(self._series[True]), "run": len(self._spans.open)}


def records(fold: PartialFold, partition: int, most: int | None = None) -> list[Partials]:
    """What is published of a fold's changes (see `PartialFold.flush`), the watermark on the last record.

    The cells are live: encode the records before the next `fold`.
    """
    position = fold.mark.next_offset
    found: list[Partials] = []
    changed, glimpses = fold.flush(most)
    for epoch, cells in changed:
        for tenant, theirs in by_tenant(cells).items():
            found += [
                Partials(partition, epoch, position, tenant, part, kept_minutes=MINUTES_KEPT)
                for part in _batched(theirs)
            ]
    last = Partials(partition, fold.mark.epoch, position, kept_minutes=MINUTES_KEPT)
    if found and found[-1].epoch == fold.mark.epoch:
        last = found.pop()
    counts = dict(fold.counts)
    found.append(msgspec.structs.replace(last, glimpses=tuple(glimpses), watermark=fold.watermark, counts=counts))
    return found


def _batched(cells: list[Cell]) -> Iterator[tuple[Cell, ...]]:
    """Cells in tuples that make a record of a few hundred kilobytes at most."""
    part: list[Cell] = []
    weight = 0
    for cell in cells:
        quality = cell.bucket.quality
        weighs = 1 if quality is None else 3 + 2 * len(quality.failures)
        if part and weight + weighs > RECORD_WEIGHT:
            yield tuple(part)
            part, weight = [], 0
        part.append(cell)
        weight += weighs
    if part:
        yield tuple(part)


def by_tenant(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Cells grouped by their tenant."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.source[1], []).append(cell)
    return groups
