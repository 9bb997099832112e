"""How long runs take, from the beginning of the first call to the end of the last one.

Nobody says when a run is over, so it counts as over when it has been quiet for QUIET_MS of event time, and is counted
in the minute in which that was known: a distribution of durations, a little late, and never guessed. Runs of a single
call are calls. A run belongs to one source partition, because its key is what the partition is chosen by.

Memory: at most `most` runs of about 0.25 kB; beyond that the run that has been quiet for longest counts as over. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from schemas.partial import Source

QUIET_MS: Final = 600_000


class Span(msgspec.Struct, array_like=True, gc=False):
    """A run so far: as what it counts, when it began and ended, how many calls it has."""

    source: Source
    first_ms: int
    last_ms: int
    calls: int


class Spans:
    """Runs that may go on, the quietest first.

    Args:
        most: Most runs held.
    """

    def __init__(self, most: int = 25_000) -> None:
        self.open: dict[str, Span] = {}
        self._most = most

    def observe(self, run: str, end_ms: int, latency_ms: float | None, source: Source) -> Span | None:
        """Take one call of a run; another run that had to be closed for it, if any.

        Args:
            run: Keyed hash of the run, which is its tenant's own.
            end_ms: Event time of the call, which is its end.
            latency_ms: How long it took.
            source: As what it counts.
        """
        begin_ms = end_ms if latency_ms is None else end_ms - int(latency_ms)
        closed, span = None, self.open.pop(run, None)
        if span is None:
            if len(self.open) >= self._most:
                closed = self.open.pop(next(iter(self.open)))
            span = Span(source, begin_ms, end_ms, 1)
        else:
            span.calls += 1
            if begin_ms < span.first_ms:
                span.first_ms = begin_ms
            if end_ms > span.last_ms:
                span.last_ms = end_ms
        self.open[run] = span
        return closed

    def quiet(self, watermark_ms: int) -> Iterator[Span]:
        """Runs that are over by now.

        The order is that of their newest calls' arrival, so the search ends at the first run that may go on; one behind
        it that is older is found when that one is over.
        """
        while self.open:
            name = next(iter(self.open))
            if watermark_ms - self.open[name].last_ms < QUIET_MS:
                return
            yield self.open.pop(name)
