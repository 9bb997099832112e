"""A digest as data: sections of rows and pictures, the same for every form. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.cli.formats import Unit

WEEK: Final = timedelta(days=7)


class Picture(msgspec.Struct, frozen=True):
    """Bars, stacked by series: `values[series][place]`.

    Attributes:
        title: What is seen.
        places: Names along the axis.
        series: Names of what is stacked.
        values: One list for each series.
        unit: Of the values.
    """

    title: str
    places: list[str]
    series: list[str]
    values: list[list[float]]
    unit: str = "money"


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question and its answer.

    Attributes:
        name: Short, for machines.
        title: The heading.
        says: What the rows mean, or why there are none.
        columns: Names of the columns.
        units: How each column is read.
        rows: Values.
        pictures: What can be seen at a glance.
    """

    name: str
    title: str
    says: str
    columns: list[str] = []
    units: list[str] = []
    rows: list[list[Any]] = []
    pictures: list[Picture] = []


class Digest(msgspec.Struct, frozen=True):
    """One week.

    Attributes:
        title: The week in words.
        since: Its first moment, ISO 8601.
        until: The first moment after it.
        made_at: When it was asked for.
        seen_as: The ClickHouse login, and what follows from it.
        tenant: Only this tenant; empty for all that the login sees.
        sections: In reading order.
    """

    title: str
    since: str
    until: str
    made_at: str
    seen_as: str
    tenant: str
    sections: list[Section]


def section(
    name: str, title: str, says: str, columns: dict[str, Unit], rows: list[list[Any]], *pictures: Picture
) -> Section:
    """A section out of columns with their units."""
    return Section(name, title, says, list(columns), list(columns.values()), rows, list(pictures))


def week(text: str | None, now: datetime) -> tuple[datetime, datetime, str]:
    """(first moment, first moment after, name) of an ISO week in UTC.

    Args:
        text: `2026-W47`, `this`, `last`; None is the last whole week.
        now: The present.

    Raises:
        UsageError: It is none of them.
    """
    monday = datetime(now.year, now.month, now.day, tzinfo=UTC) - timedelta(days=now.weekday())
    if text in (None, "", "last"):
        start = monday - WEEK
    elif text == "this":
        start = monday
    else:
        try:
            start = datetime.strptime(f"{text}-1", "%G-W%V-%u").replace(tzinfo=UTC)
        except ValueError:
            raise UsageError(f"{text!r} is no week. Say 2026-W47, this, or last.") from None
    if start > now:
        raise UsageError(f"The week {text} has not begun.")
    year, number, _ = start.isocalendar()
    return start, start + WEEK, f"{year}-W{number:02d}"
