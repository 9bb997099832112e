"""What a day and a month will have cost: spent so far and what past days say of the hours and days to come. Pure.

Hours of the day and days of the week count where they are known: the rest of today is what the same time of the same
weekday has brought lately (else of working days or weekends, else of any day), at today's level; a day to come is the
median of its weekday, at the level of the last seven days. The interval is meant to hold four times of five: for today
it is the spread of past days; for days to come a part that each day has for itself, and a part that all of them share,
which is larger the less is known.

Days are UTC. Money is nano-dollars.
"""

from __future__ import annotations

import calendar
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
# 1970-01-01 was a Thursday.
_FIRST_WEEKDAY: Final = 3
# Days that are looked back on.
LOOK_BACK: Final = 35
# Of that many past days of a kind one speaks rather than of a wider kind.
FEW: Final = 3
# Standard normal quantile: a tenth lies beyond on either side.
_TENTH: Final = 1.2816

Hours = tuple[float, ...]
# A share of what is still to be spent: when it will have been, milliseconds since 1970.
Crossing = Callable[[float], int]


@dataclass(frozen=True, slots=True)
class Day:
    """One day's cost.

    Attributes:
        number: Days since 1970.
        total: Nano-dollars.
        hours: Of each of its 24 hours, as shares or in any unit; None where only the sum is known.
    """

    number: int
    total: int
    hours: Hours | None = None

    def until(self, part: float) -> float:
        """Cost until a part of the day, 0 to 1, has passed; evenly where hours are not known."""
        if self.hours is None or not sum(self.hours):
            return self.total * part
        whole, rest = divmod(part * 24, 1)
        place = int(whole)
        before = sum(self.hours[:place]) + (self.hours[place] * rest if place < 24 else 0.0)
        return self.total * before / sum(self.hours)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a period will have cost when it is over, in nano-dollars.

    Attributes:
        spent: So far.
        expected: In the middle.
        low: Four times of five it is at least this,
        high: and at most this.
        basis: What it stands on, in words.
        crossing_ms: When the middle crosses the limit that was asked about; None where it does not in this period.
    """

    spent: int
    expected: int
    low: int
    high: int
    basis: str
    crossing_ms: int | None = None


def today(past: Sequence[Day], spent: int, now_ms: int, limit: int | None = None) -> Outlook:
    """The day that `now_ms` is in.

    Args:
        past: Days before it, in any order; days without cost may be left out where `past` has later ones.
        spent: Its cost so far.
        now_ms: Event time.
        limit: For `crossing_ms`.
    """
    day, part = now_ms // DAY_MS, (now_ms % DAY_MS) / DAY_MS
    known, basis = _alike(_recent(past, day), day)
    if not known:
        rest = spent * (1 - part) / part if part else 0.0
        said = "today's pace alone, nothing is known of earlier days"
        return _outlook(spent, rest, -rest, 9 * rest, said, limit, lambda share: _even(now_ms, share))
    before = statistics.median(one.until(part) for one in known)
    usual = statistics.median(one.total for one in known)
    level = min(5.0, max(0.2, (spent + usual / 4) / (before + usual / 4))) if usual else 1.0
    rests = sorted((one.total - one.until(part)) * level for one in known)
    # Few days show less than all that can happen.
    wider = 1 / len(rests)
    middle = statistics.median(rests)
    low, high = _quantile(rests, 0.1) * (1 - wider), _quantile(rests, 0.9) * (1 + wider)
    profile = _profile(known)
    return _outlook(
        spent, middle, low - middle, high - middle, f"the rest of {basis}", limit,
        lambda share: _through(profile, now_ms, share),
    )  # fmt: skip


def month(past: Sequence[Day], spent: int, today_spent: int, now_ms: int, limit: int | None = None) -> Outlook:
    """The calendar month that `now_ms` is in.

    Args:
        past: As for `today`; days of this month are among them.
        spent: Cost of the month so far, today's included.
        today_spent: Cost of today so far.
        now_ms: Event time.
        limit: For `crossing_ms`.
    """
    day = now_ms // DAY_MS
    last = month_end(now_ms) // DAY_MS - 1
    rest_of_today = today(past, today_spent, now_ms)
    recent = _recent(past, day)
    coming = range(day + 1, last + 1)
    level, shared, basis = _level(recent, day)
    expected = [statistics.median(one.total for one in _alike(recent, one_day)[0]) * level if recent else
                float(rest_of_today.expected) for one_day in coming]  # fmt: skip
    own = _own_noise(recent)
    total = sum(expected)
    noise = math.hypot(shared * total, own * math.hypot(*expected)) if expected else 0.0
    # Unequal on both sides, as money is.
    up = total * (math.exp(_TENTH * noise / total) - 1) if total else 0.0
    down = total * (1 - math.exp(-_TENTH * noise / total)) if total else 0.0
    rest = rest_of_today.expected - today_spent
    low = -math.hypot(down, rest_of_today.expected - rest_of_today.low)
    high = math.hypot(up, rest_of_today.high - rest_of_today.expected)
    path = [(now_ms, (day + 1) * DAY_MS, float(rest))]
    path += [(one * DAY_MS, (one + 1) * DAY_MS, cost) for one, cost in zip(coming, expected, strict=True)]
    return _outlook(spent, rest + total, low, high, basis, limit, lambda share: _along(path, share * (rest + total)))


def month_end(now_ms: int) -> int:
    """When the month of a time is over, milliseconds since 1970."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    days = calendar.monthrange(at.year, at.month)[1]
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp() * 1000) + days * DAY_MS


def month_start(now_ms: int) -> int:
    """When the month of a time began, milliseconds since 1970."""
    at = datetime.fromtimestamp(now_ms / 1000, UTC)
    return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp() * 1000)


def date_of(day: int) -> date:
    """The date of a day's number."""
    return date(1970, 1, 1) + timedelta(days=day)


def days_of(hours: Mapping[int, int]) -> list[Day]:
    """Days out of the costs of hours (hours since 1970), with those between them that cost nothing."""
    if not hours:
        return []
    first, last = min(hours) // 24, max(hours) // 24
    found = []
    for number in range(first, last + 1):
        costs = tuple(float(hours.get(24 * number + hour, 0)) for hour in range(24))
        found.append(Day(number, sum(hours.get(24 * number + hour, 0) for hour in range(24)), costs))
    return found


# -- what is alike


def _recent(past: Sequence[Day], day: int) -> list[Day]:
    found = {one.number: one for one in past if day - LOOK_BACK <= one.number < day}
    if not found:
        return []
    # A day between others that nothing is known of cost nothing.
    return [found.get(number) or Day(number, 0) for number in range(min(found), day)]


def _alike(recent: Sequence[Day], day: int) -> tuple[Sequence[Day], str]:
    """Past days like a day, and what they are in words."""
    weekday = (day + _FIRST_WEEKDAY) % 7
    same = [one for one in recent if (one.number + _FIRST_WEEKDAY) % 7 == weekday]
    if len(same) >= FEW:
        return same, f"{calendar.day_name[weekday]}s ({len(same)})"
    free = weekday >= 5
    kind = [one for one in recent if ((one.number + _FIRST_WEEKDAY) % 7 >= 5) == free]
    if len(kind) >= FEW:
        return kind, f"{'weekend days' if free else 'working days'} ({len(kind)})"
    return recent, f"earlier days ({len(recent)})"


def _level(recent: Sequence[Day], day: int) -> tuple[float, float, str]:
    """(last week against the weeks before, error that all days to come share, basis in words)."""
    if len(recent) < 7:
        return (
            1.0,
            {0: 1.4, 1: 1.4, 2: 1.3, 3: 1.2, 4: 1.0}.get(len(recent), 0.7),
            f"{len(recent)} earlier days, no whole week",
        )
    last_week = [one for one in recent if one.number >= day - 7]
    before = [one for one in recent if one.number < day - 7]
    if len(before) < 7:
        return 1.0, 0.3, f"weekdays of {len(recent)} earlier days"
    usual = sum(statistics.median(other.total for other in _alike(before, one.number)[0]) for one in last_week)
    now = sum(one.total for one in last_week)
    # Half of a change stays, as a rule: weeks differ by chance, too.
    level = math.sqrt(min(4.0, max(0.25, now / usual))) if usual and now else 1.0
    # Applied to medians that hold the last week already.
    return (
        level,
        0.15 if len(recent) >= 21 else 0.22,
        f"weekdays of {len(recent)} earlier days at the last week's level",
    )


def _own_noise(recent: Sequence[Day]) -> float:
    """How far a day is from what its weekday says, as a share."""
    errors = []
    for one in recent:
        others = [other for other in recent if other is not one]
        usual = statistics.median(other.total for other in _alike(others, one.number)[0]) if others else 0
        if usual and one.total:
            errors.append(abs(math.log(one.total / usual)))
    return max(0.15, min(1.5, 1.4826 * statistics.median(errors))) if len(errors) >= FEW else 0.5


def _profile(known: Sequence[Day]) -> Hours:
    """Share of each hour in a day like these."""
    sums = [0.0] * 24
    for one in known:
        hours = one.hours or (1.0,) * 24
        total = sum(hours)
        for place, cost in enumerate(hours):
            sums[place] += cost / total if total else 1 / 24
    return tuple(sums)


# -- when a limit is crossed


def _outlook(
    spent: int, rest: float, low: float, high: float, basis: str, limit: int | None, when: Crossing
) -> Outlook:
    crossing = None
    if limit is not None and spent < limit and rest > 0 and spent + rest >= limit:
        crossing = when((limit - spent) / rest)
    low_total = max(spent, round(spent + rest + low))
    return Outlook(spent, round(spent + rest), low_total, round(spent + rest + high), basis, crossing)


def _even(now_ms: int, share: float) -> int:
    end = (now_ms // DAY_MS + 1) * DAY_MS
    return round(now_ms + share * (end - now_ms))


def _through(profile: Hours, now_ms: int, share: float) -> int:
    """When a share of the rest of the day has been spent, hour by hour."""
    day = now_ms // DAY_MS * DAY_MS
    path = []
    for hour in range((now_ms - day) // HOUR_MS, 24):
        begin, end = max(now_ms, day + hour * HOUR_MS), day + (hour + 1) * HOUR_MS
        path.append((begin, end, profile[hour] * (end - begin) / HOUR_MS))
    return _along(path, share * sum(cost for _, _, cost in path))


def _along(path: Sequence[tuple[int, int, float]], wanted: float) -> int:
    """When so much has been spent on a path of (begin, end, cost)."""
    for begin, end, cost in path:
        if cost and wanted <= cost:
            return round(begin + (end - begin) * wanted / cost)
        wanted -= cost
    return path[-1][1] if path else 0


def _quantile(ordered: Sequence[float], at: float) -> float:
    place = at * (len(ordered) - 1)
    low = math.floor(place)
    high = min(len(ordered) - 1, low + 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
