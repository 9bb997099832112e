"""How far the cells of one source partition are final: what the judge may add up for good and forget the parts of.

A meter keeps a minute open for a while, gives out its last value when it drops it, and counts a later event for that
minute in a new cell. So once its clock has passed a minute by `kept` minutes, every cell of that minute which was
changed before a position F has been published as it will stay, and whatever comes for it again is a repeat: of a crash,
or of a zombie. F is the position of the last flush before the clock reached its present minute.

A flush counts only when two further ones lie behind it in the log: a producer may lose records in the middle and
deliver the last one of a flush, and it sends them again before it flushes anew.

Memory: a few numbers a partition. Pure; must not know keys.
"""

from __future__ import annotations

from typing import Final

import msgspec

# How long a meter keeps a minute open after it ended, and an hour for what came too late for its minute.
MINUTES_KEPT: Final = 5
HOURS_KEPT: Final = 4
_CONFIRMED_BY: Final = 2


class Flush(msgspec.Struct, array_like=True, gc=False):
    """The end of one flush: the minute that the partition's clock was in, and the position that was reached."""

    epoch: int
    minute: int
    next_offset: int


class Progress(msgspec.Struct, gc=False):
    """What is final in one source partition's cells, of one maker.

    Attributes:
        waiting: Flushes that are not confirmed yet, oldest first.
        last: The newest confirmed flush.
        final: Cells of `last.epoch` that were changed before this position are final, if their minute is.
        kept_minutes: How long the meter says that it keeps a minute open.
    """

    waiting: list[Flush] = []
    last: Flush = msgspec.field(default_factory=lambda: Flush(-1, -1, 0))
    final: int = 0
    kept_minutes: int = MINUTES_KEPT

    def note(self, epoch: int, minute: int, next_offset: int) -> bool:
        """Take the end of a flush; True when something has become final by it.

        One that reached no further than an earlier one is of a zombie, or of a new owner that repeats.
        """
        newest = self.waiting[-1] if self.waiting else self.last
        if (epoch, next_offset) <= (newest.epoch, newest.next_offset):
            return False
        # A clock never goes back, but for a new epoch.
        minute = max(minute, newest.minute) if epoch == newest.epoch else minute
        self.waiting.append(Flush(epoch, minute, next_offset))
        if len(self.waiting) <= _CONFIRMED_BY:
            return False
        confirmed = self.waiting.pop(0)
        before, self.last = self.last, confirmed
        if confirmed.epoch != before.epoch:
            self.final = 0
            return before.epoch >= 0
        if confirmed.minute == before.minute:
            return False
        self.final = before.next_offset
        return True

    def settles(self, epoch: int, hour: bool, start: int, upto: int) -> bool:
        """Whether a cell of a minute or hour, changed last at `upto`, will change no more and has been published."""
        if epoch != self.last.epoch:
            return epoch < self.last.epoch
        return self.is_over(hour, start) and upto < self.final

    def is_over(self, hour: bool, start: int) -> bool:
        """Whether the meter has dropped the cells of a minute or hour, but for those it has begun again since."""
        if hour:
            return start < self.last.minute // 60 - HOURS_KEPT
        return start < self.last.minute - max(self.kept_minutes, MINUTES_KEPT)
