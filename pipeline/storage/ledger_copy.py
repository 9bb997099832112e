"""ClickHouse's copy of the ledger: append to it, read it back. What a row of it is says `pipeline.audit.copies`.

Must not judge what it reads. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.audit.copies import LEDGER
from pipeline.storage import native
from pipeline.storage.client import Client

_READ: Final = ", ".join(
    {"appended_at": "toUnixTimestamp64Milli(appended_at)", "head": "toString(head)"}.get(name, f"`{name}`")
    for name in LEDGER.names
)


def append(client: Client, partition: int, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows of consecutive records of one partition; the same rows again are nothing new.

    Raises:
        ClickHouseError: They may have landed or not.
    """
    first, last = rows[0][1], rows[-1][1]
    columns = ", ".join(f"`{name}`" for name in LEDGER.names)
    client.send(
        f"INSERT INTO {client.database}.ledger ({columns}) FORMAT Native",
        native.block(LEDGER, rows),
        {"async_insert": 0, "insert_deduplication_token": f"ledger-{partition}-{first}-{last}", "wait_end_of_query": 1},
    )


def reached(client: Client, partition: int) -> int:
    """The ledger offset after the last one that the copy has."""
    ((count, last),) = client.rows(
        f"SELECT count(), max(ledger_offset) FROM {client.database}.ledger WHERE partition = {{partition:UInt32}}",
        {"partition": partition},
    )
    return int(last) + 1 if count else 0


def last_signed(client: Client, partition: int) -> int:
    """Ledger offset of the last signed head in the copy; 0 when there is none."""
    ((last,),) = client.rows(
        f"SELECT max(ledger_offset) FROM {client.database}.ledger WHERE partition = {{partition:UInt32}} "
        "AND has(splitByChar('+', toString(steps)), 'signed')",
        {"partition": partition},
    )
    return int(last)


def partitions(client: Client) -> int:
    """How many partitions the copy knows of."""
    ((count, last),) = client.rows(f"SELECT count(), max(partition) FROM {client.database}.ledger")
    return int(last) + 1 if count else 0


def rows(
    client: Client, partition: int, start: int = 0, end: int = (1 << 63) - 1, steps: Sequence[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """Rows of a partition in the order of their offsets, from `start` up to but without `end`; twice what is twice.

    Args:
        client: Where.
        partition: Which.
        start: First ledger offset.
        end: The one after the last.
        steps: Only records with one of these steps.
    """
    sql = (
        f"SELECT {_READ} FROM {client.database}.ledger WHERE partition = {{partition:UInt32}} "
        "AND ledger_offset >= {start:UInt64} AND ledger_offset < {end:UInt64} "
        "AND (empty({steps:Array(String)}) OR hasAny(splitByChar('+', toString(steps)), {steps:Array(String)})) "
        "ORDER BY ledger_offset"
    )
    for block in client.stream(sql, {"partition": partition, "start": start, "end": end, "steps": list(steps)}):
        yield from block
