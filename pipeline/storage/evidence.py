"""Gather one record's proof out of ClickHouse: its rows, their siblings' leaves, and the copy of the ledger.

Believes nothing: what is gathered is checked before it is handed out. Blocking.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from pipeline.audit import copies, evidence, heads, spans
from pipeline.audit.anchors import Anchor
from pipeline.audit.evidence import Evidence, Link, RowProof
from pipeline.audit.lawful import GONE, Lawful
from pipeline.audit.leaves import leaf
from pipeline.audit.ledger import genesis
from pipeline.audit.rows import week
from pipeline.audit.tables import OFFSET, RECEIVED_AT, RETENTION_DAYS, TABLES, Table
from pipeline.errors import RetryableError, UsageError
from pipeline.storage import ledger_copy, reading
from pipeline.storage.client import Client
from schemas.ledger import Cell, Entry, Intent, Part

# Tables with an id, in the order in which they are asked.
_WITH_ID: Final = tuple(name for name, table in TABLES.items() if "id" in table.names and not table.has_text)
_entry = msgspec.json.Decoder(Entry).decode

Position = tuple[int, int, int]  # epoch, partition, offset


def find(client: Client, id: str) -> list[Position]:
    """Positions of the records with an event id; a producer may send the same one twice."""
    union = " UNION DISTINCT ".join(
        f"SELECT epoch, partition, offset FROM {client.database}.{name} WHERE id = {{id:String}}" for name in _WITH_ID
    )
    found = client.rows(f"SELECT * FROM ({union}) ORDER BY 1, 2, 3", {"id": id})
    return [(int(epoch), int(partition), int(offset)) for epoch, partition, offset in found]


def gather(
    client: Client, public_key: bytes, position: Position, *, with_text: bool, known: Sequence[Anchor] = ()
) -> Evidence:
    """One record's proof.

    Args:
        client: A connection that may read the rows, and their text if that is asked for.
        public_key: Of the installation.
        position: Which record.
        with_text: Show its text; without, the commitment stands for it.
        known: Anchors, of which the oldest that has a head behind the record is taken.

    Raises:
        UsageError: There is no such record, or its rows have had their life.
        RetryableError: No head behind it is signed yet, or what stands in ClickHouse does not prove anything.
    """
    epoch, partition, offset = position
    found = _announced(client, position)
    if found is None:
        raise UsageError(f"ClickHouse's copy of the ledger has no finished range with {epoch}/{partition}/{offset}.")
    at, done_at, intent = found
    link, end = _link(client, partition, at, done_at)
    link, anchor = _anchor(client, partition, link, end, known)
    parts = [part for part in intent.parts if offset in spans.read(intent.first, part.offsets)]
    if not parts:
        raise UsageError(f"{epoch}/{partition}/{offset} has no row: it is a tick or a gap.")
    lawful, changes = _changes(client, position, parts, done_at, link.heads[0].end)
    standing = [part for part in parts if not lawful.is_dropped(part.cell, done_at)]
    if not standing:
        raise UsageError(
            f"The rows of {epoch}/{partition}/{offset} have had their life, and with them what proves them."
        )
    rows = [_row(client, partition, intent, part, offset, lawful, with_text) for part in standing]
    shows = (*(("text",) if any(row.text for row in rows) else ()), *(("anchor",) if anchor else ()))
    made = Evidence(position, shows, tuple(rows), (link, *changes), public_key.hex(), anchor)
    checked = evidence.check(evidence.write(made), public_key)
    if not checked.ok:
        raise RetryableError(
            f"What stands in ClickHouse does not prove {epoch}/{partition}/{offset} ({checked.failures[0]}). Run "
            "`tokentrail verify --chain`."
        )
    return made


def _announced(client: Client, position: Position) -> tuple[int, int, Intent] | None:
    """(ledger offset of the announcement, and of its end, the range) of the range with a position."""
    epoch, partition, offset = position
    found = client.rows(
        f"SELECT max(ledger_offset), count() FROM {client.database}.ledger WHERE partition = {{partition:UInt32}} AND "
        "epoch = {epoch:UInt32} AND first <= {offset:UInt64} AND next > {offset:UInt64} AND verdict = 'accepted'",
        {"partition": partition, "epoch": epoch, "offset": offset},
    )
    if not found[0][1]:
        return None
    at = int(found[0][0])
    intent: Intent | None = None
    for row in _accepted(client, partition, at):
        entry = _entry(row[copies.VALUE])
        if row[copies.OFFSET] == at:
            intent = entry.intent
        elif intent and entry.done and (entry.done.range, entry.done.attempt) == (intent.range, intent.attempt):
            return at, row[copies.OFFSET], intent
    return None


def _link(client: Client, partition: int, at: int, behind: int) -> tuple[Link, int]:
    """The chain from the record at `at` to the first signed head behind `behind`; and where that head is signed."""
    before = genesis(partition).head
    for row in ledger_copy.rows(client, partition, at - 1, at) if at else ():
        before = row[copies.HEAD]
    rows = []
    for row in _accepted(client, partition, at):
        rows.append(row)
        signed = _entry(row[copies.VALUE]).signed
        if signed is not None and signed.end > behind:
            records = tuple(row[copies.VALUE] for row in rows if row[copies.OFFSET] < signed.end)
            return Link(before, records, (signed,)), row[copies.OFFSET]
    raise RetryableError(
        "No head behind the record is signed yet. `tokentrail anchor` signs one now; the process `keep` does so every "
        "ten minutes"
    )


def _anchor(
    client: Client, partition: int, link: Link, end: int, known: Sequence[Anchor]
) -> tuple[Link, Anchor | None]:
    """The link with the heads up to an anchored one, and the anchor; as it was when there is none."""
    every = [head.signed for anchor in known for head in anchor.heads if head.partition == partition]
    after = [signed for signed in every if signed.end >= link.heads[0].end]
    if not after:
        return link, None
    wanted = min(after, key=lambda signed: signed.end)
    path = [link.heads[0]]
    for row in _with_step(client, partition, ("signed",), end + 1):
        if path[-1] == wanted:
            break
        signed = _entry(row[copies.VALUE]).signed
        if signed is not None and signed.previous == heads.digest(partition, path[-1]):
            path.append(signed)
    if path[-1] != wanted:
        return link, None
    anchor = next(each for each in known if any(head.signed == wanted for head in each.heads))
    return Link(link.before, link.records, tuple(path)), anchor


def _changes(
    client: Client, position: Position, parts: Sequence[Part], done_at: int, begin: int
) -> tuple[Lawful, list[Link]]:
    """What became of rows of the partition, and the stretches from `begin` on that say so of this record."""
    epoch, partition, offset = position
    cells = {part.cell for part in parts}
    lawful = Lawful()
    links = []
    for row in _with_step(client, partition, ("erasing", "erased", "expiring", "expired"), 0):
        at, entry = row[copies.OFFSET], _entry(row[copies.VALUE])
        lawful.fold(at, entry)
        is_change = entry.erasing is not None and any(
            (each.epoch, each.offset) == (epoch, offset) for each in entry.erasing.changes
        )
        is_end = at > done_at and entry.expiring is not None and entry.expiring.cell in cells
        if at >= begin and (is_change or is_end):
            link, _ = _link(client, partition, at, _ended(client, partition, at, entry))
            links.append(link)
            begin = link.heads[0].end
    return lawful, links


def _ended(client: Client, partition: int, at: int, begun: Entry) -> int:
    """Ledger offset at which what a record begins was said to be done; its own while it is under way."""
    for row in _with_step(client, partition, ("erased", "expired"), at):
        entry = _entry(row[copies.VALUE])
        if begun.erasing is not None and entry.erased is not None:
            is_end = (entry.erased.request, entry.erased.batch) == (begun.erasing.request, begun.erasing.batch)
        else:
            is_end = bool(begun.expiring and entry.expired and begun.expiring.cell == entry.expired.cell)
        if is_end:
            return int(row[copies.OFFSET])
    return at


def _row(
    client: Client, partition: int, intent: Intent, part: Part, offset: int, lawful: Lawful, with_text: bool
) -> RowProof:
    """The proof of the row in one part; leaves of rows that changed lawfully are those that the ledger keeps."""
    table = TABLES[part.cell.table]
    bare = Table(table.name, table.columns[: table.leaf_width])
    standing: dict[int, tuple[Any, ...]] = {}
    for row in reading.rows(client, bare, reading.Span(intent.epoch, partition, intent.first, intent.next)):
        if Cell(table.name, row[RETENTION_DAYS], week(row[RECEIVED_AT])) == part.cell:
            standing[row[OFFSET]] = row[:-1]
    leaves: dict[int, bytes] = {}
    for each in spans.read(intent.first, part.offsets):
        fate = lawful.fate(part.cell, intent.epoch, each)
        held = standing.get(each)
        leaves[each] = fate.was if fate is not None else GONE if held is None else leaf(table, held)
    found: tuple[Any, ...] | None = standing.get(offset)
    if found is not None and with_text and table.has_text:
        span = reading.Span(intent.epoch, partition, offset, offset + 1)
        found = next(iter(reading.rows(client, table, span)))[:-1]
    return evidence.prove(table, offset, leaves, found)


def _accepted(client: Client, partition: int, start: int) -> Iterator[tuple[Any, ...]]:
    """Accepted records from a ledger offset on, once each."""
    end = start
    for row in ledger_copy.rows(client, partition, start):
        if row[copies.OFFSET] >= end:
            end = row[copies.OFFSET] + 1
            if row[copies.VERDICT] == "accepted":
                yield row


def _with_step(client: Client, partition: int, steps: Sequence[str], start: int) -> Iterator[tuple[Any, ...]]:
    """Accepted records with one of these steps, from a ledger offset on, once each."""
    end = start
    for row in ledger_copy.rows(client, partition, start, steps=steps):
        if row[copies.OFFSET] >= end and row[copies.VERDICT] == "accepted":
            end = row[copies.OFFSET] + 1
            yield row
