"""Which records are processed again, and why the others are not. Pure: judges one dead letter and its raw record.

A replay is a new record at a new position that names the one it stands for; the dead letter stays. What was replayed
once is not replayed again: when the replay is a dead letter too, that one can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from pipeline.errors import PoisonError, UsageError
from pipeline.intake.decode import decode
from schemas.position import Position

Judgement = Literal[
    "replay",
    "already",  # it was replayed before
    "gone",  # its raw text is deleted
    "unusable",  # this version cannot use it either
    "has_rows",  # only some of its rows were refused; the others would come twice
    "silent",  # a tick or a heartbeat: nothing is healed by it
    "other",  # another record than the one that the dead letter is about
]
SILENT = ("tick", "heartbeat")


@dataclass(frozen=True, slots=True)
class Letter:
    """One position that may be replayed.

    Attributes:
        position: Where it stands.
        reason: Why it is a dead letter; empty where it is none.
        has_rows: It has rows besides the dead letter.
        hash: Keyed hash of the record's value; empty where the letter has none.
    """

    position: Position
    reason: str
    has_rows: bool = False
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Offsets `first` to `last` of one partition of one incarnation of the raw topic."""

    epoch: int
    partition: int
    first: int
    last: int


class _Kind(msgspec.Struct):
    kind: str = "call"


_kind = msgspec.json.Decoder(_Kind)


def span(text: str) -> Span:
    """A span out of `1/0/123` or `1/0/100-250`.

    Raises:
        UsageError: It is neither.
    """
    parts = text.split("/")
    bounds = parts[2].split("-") if len(parts) == 3 else []
    numbers = [*parts[:2], *bounds]
    if len(bounds) not in (1, 2) or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in numbers):
        raise UsageError(f"{text!r} is no position. Say epoch/partition/offset, as 1/0/123, or 1/0/100-250 for many.")
    first, last = int(bounds[0]), int(bounds[-1])
    if last < first:
        raise UsageError(f"{text!r} ends before it begins.")
    return Span(int(parts[0]), int(parts[1]), first, last)


def unread(letter: Letter, log_start: int, replayed: bool, *, second_rows: bool) -> Judgement | None:
    """What can be said without the raw record; None: it must be read.

    Args:
        letter: The position.
        log_start: Lowest offset that the raw partition still holds.
        replayed: It was replayed before, whether that is a row yet or not.
        second_rows: Rows that stand may come a second time, under the new position.
    """
    if replayed:
        return "already"
    if letter.has_rows and not second_rows:
        return "has_rows"
    return "gone" if letter.position.offset < log_start else None


def judged(letter: Letter, value: bytes | None, now_ms: int, hash: str) -> Judgement:
    """What becomes of a position whose raw record was read.

    Args:
        letter: The position.
        value: The record's value.
        now_ms: When it would be appended again, milliseconds since 1970.
        hash: Keyed hash of the value, as dead letters have it.
    """
    if letter.hash and hash != letter.hash:
        return "other"
    try:
        decode(value, now_ms)
    except PoisonError:
        return "unusable"
    return "silent" if _kind.decode(value or b"").kind in SILENT else "replay"
