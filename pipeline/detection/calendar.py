"""Which earlier days a day is like: the same weekday, else days of its kind, learned from the key's own weeks.

A Saturday is compared with Saturdays where some are known, else with Sundays, and with working days only where nothing
tells the two apart yet. Days are UTC. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# 1 January 1970 was a Thursday; Monday is 0.
_FIRST_WEEKDAY: Final = 3
WEEK: Final = 7
SATURDAY: Final = 5


def weekday(day: int) -> int:
    """0 for a Monday, of days since 1970."""
    return (day + _FIRST_WEEKDAY) % WEEK


def is_weekend(day: int) -> bool:
    """Whether a day since 1970 is a Saturday or a Sunday."""
    return weekday(day) >= SATURDAY


def is_working_everywhere(hour: int) -> bool:
    """Whether an hour since 1970 is of Monday to Friday in every time zone: from Monday noon to Friday ten o'clock."""
    of_week = 24 * weekday(hour // 24) + hour % 24
    return 12 <= of_week < 4 * 24 + 10


def same_weekday(day: int, known: Sequence[int], most: int = 4) -> list[int]:
    """The earlier days that have a day's weekday, newest first."""
    return [one for one in sorted(known, reverse=True) if one < day and weekday(one) == weekday(day)][:most]


def same_kind(day: int, known: Sequence[int], most: int = 7) -> list[int]:
    """The earlier days that are working days or not as a day is, newest first."""
    return [one for one in sorted(known, reverse=True) if one < day and is_weekend(one) == is_weekend(day)][:most]
