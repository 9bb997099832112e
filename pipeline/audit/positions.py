"""The mark: which source position a consumer waits for. Only that one is applied; it makes repeats harmless.

Lower positions are duplicates. Higher ones are skipped without moving the mark, because the repair of a hole lies
behind it in the log. Must not guess: a hole is closed by a record or by a gap record, never by time.
"""

from __future__ import annotations

from typing import Literal

from schemas.position import Position

Offer = Literal["apply", "duplicate", "ahead"]


class Mark:
    """Next source position of one partition.

    Attributes:
        epoch: Incarnation of the raw topic that the mark is in; 0 before the first record ever.
        next_offset: Offset in it that is applied next.
    """

    __slots__ = ("epoch", "next_offset")

    def __init__(self, epoch: int, next_offset: int) -> None:
        self.epoch = epoch
        self.next_offset = next_offset

    def offer(self, position: Position, next_offset: int) -> Offer:
        """Say what to do with a record that covers `position.offset` to `next_offset - 1`; 'apply' moves the mark.

        A later epoch begins at offset 0. A gap record that begins below the mark and ends beyond it is applied: the
        same hole, seen again after it had grown.
        """
        if position.epoch != self.epoch:
            if position.epoch < self.epoch:
                return "duplicate"
            if position.offset > 0:
                return "ahead"
            self.epoch = position.epoch
            self.next_offset = next_offset
            return "apply"
        if next_offset <= self.next_offset:
            return "duplicate"
        if position.offset > self.next_offset:
            return "ahead"
        self.next_offset = next_offset
        return "apply"

    def __repr__(self) -> str:
        return f"Mark({self.epoch}, {self.next_offset})"
