"""What ClickHouse knows of dead letters and of what was replayed. Reads only; blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.audit.replay import Letter, Span
from pipeline.storage.client import Client
from schemas.position import Position

# Where a record has a row of its own when it is no dead letter.
_KINDS: Final = ("calls", "evaluations", "feedback", "heartbeats")
# Positions in one query's text, which ClickHouse limits.
_AT_ONCE: Final = 5_000


def letters(
    client: Client,
    epoch: int,
    spans: Sequence[Span] = (),
    reasons: Sequence[str] = (),
    since_ms: int = 0,
    until_ms: int = 2**53,
) -> list[Letter]:
    """Dead letters of one incarnation of the raw topic in the order of their positions.

    Args:
        client: Where to ask.
        epoch: Which incarnation.
        spans: Only positions in one of these; all by default.
        reasons: Only with one of these reasons; all by default.
        since_ms: Received then or later, milliseconds since 1970.
        until_ms: And before then.
    """
    parameters = {"epoch": epoch, "reasons": list(reasons), "since": since_ms, "until": until_ms}
    where = (
        f"epoch = {{epoch:UInt32}} AND {_within(spans)} AND (empty({{reasons:Array(String)}}) "
        "OR reason IN {reasons:Array(String)}) AND received_at >= fromUnixTimestamp64Milli({since:Int64}) "
        "AND received_at < fromUnixTimestamp64Milli({until:Int64})"
    )
    with_rows = set(
        client.rows(
            f"SELECT partition, offset FROM ({_union(client)}) WHERE (partition, offset) IN (SELECT partition, offset "
            f"FROM {client.database}.dead_letters WHERE {where} AND reason = 'row_refused')",
            parameters,
        )
    )
    found = client.rows(
        f"SELECT partition, offset, reason, hash FROM {client.database}.dead_letters WHERE {where} "
        "ORDER BY partition, offset",
        parameters,
    )
    return [
        Letter(Position(epoch, partition, offset), reason, (partition, offset) in with_rows, hash)
        for partition, offset, reason, hash in found
    ]


def replayed(client: Client, epoch: int) -> set[tuple[int, int]]:
    """(partition, offset) of everything in one incarnation that was replayed, as far as that is a row."""
    found = client.rows(
        f"SELECT of_partition, of_offset FROM {client.database}.replays WHERE of_epoch = {{epoch:UInt32}}",
        {"epoch": epoch},
    )
    return {(int(partition), int(offset)) for partition, offset in found}


def outcomes(client: Client, epoch: int, places: Sequence[tuple[int, int]]) -> dict[str, int]:
    """How many of these new positions (partition, offset) are rows (`healed`) and dead letters (`dead_again`)."""
    letters = f"SELECT epoch, partition, offset FROM {client.database}.dead_letters"
    found = {"healed": 0, "dead_again": 0}
    for at in range(0, len(places), _AT_ONCE):
        wanted = ", ".join(f"({partition}, {offset})" for partition, offset in places[at : at + _AT_ONCE])
        where = f"epoch = {{epoch:UInt32}} AND (partition, offset) IN ({wanted})"
        for name, source in (("healed", _union(client)), ("dead_again", letters)):
            count = f"SELECT uniqExact(partition, offset) FROM ({source}) WHERE {where}"
            found[name] += int(client.rows(count, {"epoch": epoch})[0][0])
    return found


def _union(client: Client) -> str:
    return " UNION ALL ".join(
        f"SELECT epoch, partition, offset FROM {client.database}.{name} WHERE epoch = {{epoch:UInt32}}"
        for name in _KINDS
    )


def _within(spans: Sequence[Span]) -> str:
    """Numbers only, so that they may stand in the text of the query."""
    if not spans:
        return "true"
    each = [f"(partition = {one.partition} AND offset BETWEEN {one.first} AND {one.last})" for one in spans]
    return f"({' OR '.join(each)})"
