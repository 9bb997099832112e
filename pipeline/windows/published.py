"""What has been published of closed windows: of each the last revision, and how many facts were in it.

A busy key has some sixty windows that late events may still change, so they are records in a bytearray: 16 bytes a
window, where objects take 300. Pure; must not know what a window holds.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Final

from schemas.partial import Key

# Length and start in minutes.
Span = tuple[int, int]

# Start and length in minutes, then revision and facts.
_RECORD: Final = struct.Struct("<IHHQ")
_SPAN: Final = struct.Struct("<IH")
_MOST_REVISIONS: Final = 0xFFFF


class Published:
    """Revisions by key and window.

    Args:
        records: As `records` was, or (revision, facts) by window, as earlier snapshots hold them.
    """

    def __init__(self, records: Mapping[Key, bytes | Mapping[Span, tuple[int, int]]] | None = None) -> None:
        self.records: dict[Key, bytearray] = {}
        for key, known in (records or {}).items():
            if isinstance(known, bytes):
                self.records[key] = bytearray(known)
            else:
                for span, (revision, facts) in known.items():
                    self.put(key, span, revision, facts)

    def get(self, key: Key, span: Span) -> tuple[int, int]:
        """(revision, facts) of a window; zeros where it has not been published."""
        records = self.records.get(key)
        place = -1 if records is None else _find(records, span)
        if records is None or place < 0:
            return 0, 0
        _, _, revision, facts = _RECORD.unpack_from(records, place)
        return revision, facts

    def put(self, key: Key, span: Span, revision: int, facts: int) -> None:
        """Take note of a revision."""
        records = self.records.get(key)
        if records is None:
            records = self.records[key] = bytearray()
        size, start = span
        place = _find(records, span)
        end = len(records) if place < 0 else place + _RECORD.size
        place = len(records) if place < 0 else place
        records[place:end] = _RECORD.pack(start, size, min(revision, _MOST_REVISIONS), facts)

    def trim(self, oldest: Callable[[int], int]) -> None:
        """Forget windows that ended before `oldest(size)`, in minutes."""
        for key, records in list(self.records.items()):
            held = [one for one in _RECORD.iter_unpack(records) if one[0] + one[1] >= oldest(one[1])]
            if not held:
                del self.records[key]
            elif len(held) * _RECORD.size < len(records):
                self.records[key] = bytearray(b"".join([_RECORD.pack(*one) for one in held]))


def _find(records: bytearray, span: Span) -> int:
    """Where a window's record begins; -1 where there is none."""
    size, start = span
    name = _SPAN.pack(start, size)
    place = records.find(name)
    while place > 0 and place % _RECORD.size:
        place = records.find(name, place + 1)
    return place
