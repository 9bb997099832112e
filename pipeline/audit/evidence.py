"""One record's whole proof as a document that anybody can check without a database: rows, hashes, signed head, anchor.

Every field is held to something, so that a change of any one shows. A row is bound by its leaf to a root, the root by
its ledger record to a chain, the chain to a signed head, that by the heads after it to an anchor. Pure.

It proves what was stored and that the ledger has said so since; it does not prove that nothing was said about the
record after its last head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from pipeline.audit import anchors, heads, spans
from pipeline.audit.anchors import Anchor
from pipeline.audit.lawful import GONE, Lawful
from pipeline.audit.leaves import CHUNK, chunks, commitment, leaf, root_of_chunks
from pipeline.audit.tables import TABLES, Table
from schemas.ledger import Entry, Intent, Part, Signed

_entry = msgspec.json.Decoder(Entry).decode


class RowProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row and its way to the root of its part.

    Attributes:
        table: Where it stands.
        values: Every column of its leaf by name, bytes in hexadecimal; None where the row is lawfully gone.
        text: The columns of its text, which the commitment among `values` binds; None where it is not shown.
        chunk: The leaves of its chunk, hexadecimal.
        chunks: The hashes of all chunks of its part.
    """

    table: str
    values: dict[str, Any] | None
    text: dict[str, Any] | None
    chunk: tuple[str, ...]
    chunks: tuple[str, ...]


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of the ledger's chain up to a signed head.

    Attributes:
        before: Head of the chain before the first record.
        records: The accepted records, as they stand in Kafka.
        heads: The signed head that they lead to, and the ones after it up to an anchored one.
    """

    before: str
    records: tuple[str, ...]
    heads: tuple[Signed, ...]


class Evidence(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag="tokentrail.evidence.v1"
):
    """The document.

    Attributes:
        position: Epoch, partition and offset of the record.
        shows: Which of `text` and `anchor` it has, so that nobody takes them out unseen.
        rows: Every row that the record has, but for those whose cell was dropped since.
        links: First from the announcement of its range, then from each lawful change of a row or end of its cell.
        public_key: Of the installation, hexadecimal.
        anchor: One that has the last head of the first link.
    """

    position: tuple[int, int, int]
    shows: tuple[str, ...]
    rows: tuple[RowProof, ...]
    links: tuple[Link, ...]
    public_key: str
    anchor: Anchor | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: what does not hold, and when the proof's last head was signed, milliseconds since 1970."""

    failures: tuple[str, ...]
    evidence: Evidence | None

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.failures


class _FalseError(Exception):
    """One thing does not hold; the message is the sentence."""


def write(evidence: Evidence) -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(evidence), indent=1) + b"\n"


def plain(table: Table, row: Sequence[Any]) -> dict[str, Any]:
    """The columns of a row's leaf as they stand in the document."""
    return {
        column.name: value.hex() if isinstance(value, bytes) else value
        for column, value in zip(table.columns[: table.leaf_width], row, strict=False)
    }


def prove(table: Table, offset: int, leaves: Mapping[int, bytes], row: Sequence[Any] | None) -> RowProof:
    """The proof of one row.

    Args:
        table: Where it stands.
        offset: Its source offset.
        leaves: The original leaves of its part by source offset, rising.
        row: What stands: the leaf's columns, then those of its text where that is shown; None where nothing does.
    """
    place = list(leaves).index(offset) // CHUNK * CHUNK
    text = None
    if row is not None and len(row) > table.leaf_width:
        shown = zip(table.columns[table.leaf_width : -1], row[table.leaf_width :], strict=False)
        text = {column.name: value.hex() if isinstance(value, bytes) else value for column, value in shown}
    every = list(leaves.values())
    return RowProof(
        table.name,
        None if row is None else plain(table, row),
        text,
        tuple(each.hex() for each in every[place : place + CHUNK]),
        tuple(each.hex() for each in chunks(every)),
    )


def check(data: bytes, public_key: bytes | None = None) -> Checked:
    """Check a document by itself, and against a public key that the reader has from elsewhere."""
    try:
        evidence = msgspec.json.decode(data, type=Evidence)
    except msgspec.MsgspecError as error:
        return Checked((f"it is no evidence: {error}",), None)
    if msgspec.json.encode(msgspec.json.decode(data)) != msgspec.json.encode(evidence):
        return Checked(("it is not written as evidence is: a field is missing, or a number has another form",), None)
    failures = []
    for part in (_check_key, _check_links, _check_rows, _check_anchor):
        try:
            part(evidence, public_key)
        except _FalseError as error:
            failures.append(str(error))
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
            failures.append(f"a field is not what it must be ({type(error).__name__})")
    return Checked(tuple(failures), evidence)


def _check_key(evidence: Evidence, public_key: bytes | None) -> None:
    own = _hex(evidence.public_key)
    _require(public_key is None or own == public_key, "it is signed with another key than the one that was given")


def _check_links(evidence: Evidence, _: bytes | None) -> None:
    public, partition = _hex(evidence.public_key), evidence.position[1]
    _require(bool(evidence.links), "there is no ledger record")
    ends = [head.end for link in evidence.links for head in link.heads[:1]]
    _require(ends == sorted(set(ends)), "a stretch of the ledger stands twice")
    for number, link in enumerate(evidence.links):
        _require(bool(link.records and link.heads), "a stretch of the ledger is empty")
        reached = _hex(link.before)
        for record in link.records:
            reached = sha256(reached + record.encode()).digest()
            _require(_entry(record).partition == partition, "a ledger record is another partition's")
        _require(reached.hex() == link.heads[0].head, "the ledger records do not lead to the signed head")
        for signed in link.heads:
            _require(heads.is_signed(public, partition, signed), "a head is not signed by the key")
        for before, after in zip(link.heads, link.heads[1:], strict=False):
            _require(
                after.previous == heads.digest(partition, before), "a signed head does not follow on the one before"
            )
        is_anchored = number == 0 and evidence.anchor is not None
        _require(is_anchored or len(link.heads) == 1, "there are signed heads that nothing asks for")


def _check_rows(evidence: Evidence, _: bytes | None) -> None:
    epoch, _partition, offset = evidence.position
    intent, done = _announcement(evidence)
    lawful = Lawful()
    for number, record in enumerate(record for link in evidence.links for record in link.records):
        lawful.fold(number, _entry(record))
    parts = [part for part in intent.parts if offset in spans.read(intent.first, part.offsets)]
    cells = {part.cell for part in parts}
    for link in evidence.links[1:]:
        first = _entry(link.records[0])
        is_change = first.erasing is not None and any(
            (each.epoch, each.offset) == (epoch, offset) for each in first.erasing.changes
        )
        is_end = first.expiring is not None and first.expiring.cell in cells
        _require(is_change or is_end, "a stretch of the ledger is not about this record")
    expected = [part for part in parts if not lawful.is_dropped(part.cell, done)]
    _require(bool(expected), "no row of it stands any more")
    named = [part.cell.table for part in expected]
    _require([row.table for row in evidence.rows] == named, f"the rows must be those of {', '.join(named)}")
    for part, row in zip(expected, evidence.rows, strict=True):
        original = _original(intent, part, row, offset)
        table = TABLES[row.table]
        stands = GONE
        if row.values is not None:
            values = _values(table, row.values)
            _require(values[:3] == list(evidence.position), f"the row of {row.table} is another record's")
            stands = leaf(table, tuple(values))
        fate = lawful.fate(part.cell, epoch, offset)
        if fate is None:
            _require(stands == original, f"the row of {row.table} is not the one that was stored")
        else:
            _require(fate.was == original, f"the ledger changed another row of {row.table}")
            _require(stands in fate.may_be, f"the row of {row.table} is not what the ledger says it became")
        _check_text(table, row)


def _announcement(evidence: Evidence) -> tuple[Intent, int]:
    """The range that the record is in, announced by the first record; and the number of the record that says done."""
    epoch, _, offset = evidence.position
    first, *later = (_entry(record) for record in evidence.links[0].records)
    intent = first.intent
    if intent is None or intent.epoch != epoch or not intent.first <= offset < intent.next:
        raise _FalseError("the first ledger record does not announce a range with this position")
    for number, entry in enumerate(later, 1):
        if entry.done is not None and (entry.done.range, entry.done.attempt) == (intent.range, intent.attempt):
            return intent, number
    raise _FalseError("the range was announced, but not done before the signed head")


def _original(intent: Intent, part: Part, row: RowProof, offset: int) -> bytes:
    """The leaf that the part's root is over."""
    place = spans.read(intent.first, part.offsets).index(offset)
    hashes, own = [_hex(each) for each in row.chunks], [_hex(each) for each in row.chunk]
    number = place // CHUNK
    _require(len(hashes) == -(-part.rows // CHUNK), f"the part in {row.table} has another number of chunks")
    _require(len(own) == min(CHUNK, part.rows - number * CHUNK), f"the chunk in {row.table} has another size")
    _require(chunks(own) == [hashes[number]], f"the leaves of {row.table} do not give their chunk")
    _require(root_of_chunks(hashes).hex() == part.root, f"the chunks of {row.table} do not give the root in the ledger")
    return own[place % CHUNK]


def _values(table: Table, values: Mapping[str, Any]) -> list[Any]:
    columns = table.columns[: table.leaf_width]
    _require(values.keys() == {column.name for column in columns}, f"the columns are not those of {table.name}")
    return [
        _hex(values[column.name]) if column.kind in ("bytes16", "bytes32") else values[column.name]
        for column in columns
    ]


def _check_text(table: Table, row: RowProof) -> None:
    if row.text is None:
        return
    names = [column.name for column in table.columns[table.leaf_width : -1]]
    _require(row.values is not None and list(row.text) == names, f"{table.name} has no such text")
    assert row.values is not None
    salt, *texts = (row.text[name] for name in names)
    bound = commitment(_hex(salt), *texts).hex()
    _require(bound == row.values[table.columns[table.leaf_width - 1].name], "the text is not the one that was stored")


def _check_anchor(evidence: Evidence, _: bytes | None) -> None:
    has_text = any(row.text is not None for row in evidence.rows)
    shown = (*(("text",) if has_text else ()), *(("anchor",) if evidence.anchor is not None else ()))
    _require(evidence.shows == shown, "something was taken out of it or put into it")
    if evidence.anchor is None:
        return
    _require(anchors.is_signed(_hex(evidence.public_key), evidence.anchor), "the anchor is not signed by the key")
    last = evidence.links[0].heads[-1]
    found = [head.signed for head in evidence.anchor.heads if head.partition == evidence.position[1]]
    _require(found == [last], "the anchor has another head")


def _hex(text: str) -> bytes:
    """Bytes from hexadecimal digits, of which there is one way to write each."""
    data = bytes.fromhex(text)
    _require(data.hex() == text, "a hash is not written in lower-case hexadecimal digits")
    return data


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _FalseError(otherwise)
