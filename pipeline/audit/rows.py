"""Clean records to rows: one in the table of their kind and, where text is kept, one in `call_content`.

Pure and the same at every repeat: an adopter of an unfinished range makes the same rows, byte for byte. Ticks and gaps
give no row. Must not know what stands in a row: `pipeline.audit.columns` does.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Final

import msgspec

from pipeline.audit.columns import WITH_TEXT, columns
from pipeline.audit.tables import CALL_CONTENT
from pipeline.keys import Keys
from schemas.clean import Clean, Dead

Row = tuple[Any, ...]

DAY_MS: Final = 86_400_000
MAX_DAYS: Final = 65_535
COMMITMENT: Final = CALL_CONTENT.names.index("commitment")
_TABLES: Final = {
    "call": "calls",
    "canary": "calls",
    "evaluation": "evaluations",
    "feedback": "feedback",
    "heartbeat": "heartbeats",
    "stub": "dead_letters",
}


def week(received_at_ms: int) -> str:
    """Monday (UTC) of the week of a time, as ClickHouse's `toMonday` says it: `2026-11-16`."""
    day = received_at_ms // DAY_MS
    return _date(max(0, day - (day + 3) % 7))


@lru_cache(maxsize=1024)
def _date(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def tables(clean: Clean) -> list[str]:
    """Which tables a record has a row in, in the order of the inserts."""
    table = _TABLES.get(clean.fact.type)
    found = []
    if table is not None:
        if clean.content is not None and clean.stamp.text_days > 0 and table in WITH_TEXT:
            found.append("call_content")
        found.append(table)
    if clean.replay is not None:
        found.append("replays")
    return found


def life(table: str, clean: Clean) -> int:
    """For how many days a table keeps the row of a record."""
    found = clean.stamp.text_days if table == "call_content" else clean.stamp.metadata_days
    return min(max(found, 1), MAX_DAYS)


def dead_letter(clean: Clean, dead: Dead) -> Clean:
    """A record whose row ClickHouse refuses for ever, with what its row in `dead_letters` says."""
    return msgspec.structs.replace(clean, dead=dead)


def rows(clean: Clean, keys: Keys) -> list[tuple[str, Row]]:
    """(table, row without its seal) for every row of one record."""
    found: list[tuple[str, Row]] = []
    bound: dict[int, bytes] = {}
    for table in tables(clean):
        (row,) = zip(*columns(table, life(table, clean), [clean], keys, bound), strict=True)
        if table == "call_content":
            bound[clean.fact.position.offset] = row[COMMITMENT]
        found.append((table, row))
    return found
