"""A record's proof holds by itself, and a change of any single field of it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest

from pipeline.audit import anchors, heads, spans
from pipeline.audit.batch import BatchPart, Slot, build
from pipeline.audit.evidence import Evidence, Link, check, plain, prove, write
from pipeline.audit.leaves import leaf
from pipeline.audit.ledger import Follower, encode
from pipeline.audit.tables import OFFSET, TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Stamp
from schemas.fact import Fact
from schemas.ledger import Change, Claim, Done, Entry, Erased, Erasing, Expiry, Signed
from schemas.position import Position

KEYS = Keys(bytes(range(32)))
KEY = heads.private_key(KEYS)
PUBLIC = heads.public_key(KEYS)
NOW = 1_795_000_000_000
PARTITION = 2
WHICH = 70  # in the second chunk


def record(offset: int) -> Clean:
    fact = Fact(
        "call", Position(1, PARTITION, offset), 0, NOW, NOW, tenant="acme", id=f"id-{offset}", latency_ms=12.0,
        user="u" * 32, cache_hit=False, cost_nano_usd=offset,
    )  # fmt: skip
    return Clean(fact, Stamp(30, 7), Content(input="hello", output=f"answer {offset}"), tool_names=("search",))


class History:
    """A ledger of one partition, written step by step."""

    def __init__(self) -> None:
        self.follower = Follower(PARTITION)
        self.befores: list[str] = []
        self.values: list[str] = []
        self.signed: list[Signed] = []

    def write(self, **steps: Any) -> int:
        entry = Entry(PARTITION, "w", self.follower.end, self.follower.state, **steps)
        value = encode(entry)
        self.befores.append(self.follower.state.head)
        verdict = self.follower.fold(self.follower.end, value)
        assert verdict.accepted, verdict.reason
        self.values.append(value.decode())
        return self.follower.end - 1

    def sign(self) -> Signed:
        previous = heads.digest(PARTITION, self.signed[-1]) if self.signed else ""
        state = self.follower.state
        said = Signed(self.follower.end, state.head, state.accepted, NOW, previous, "", "")
        self.signed.append(heads.sign(KEY, PARTITION, said))
        self.write(signed=self.signed[-1])
        return self.signed[-1]

    def link(self, begin: int, *signed: Signed) -> Link:
        return Link(self.befores[begin], tuple(self.values[begin : signed[0].end]), signed)


def stored() -> tuple[History, int, list[BatchPart], Signed]:
    """A range of 100 records, done and signed."""
    batch = build([Slot(offset, record(offset), 1) for offset in range(100)], 0, 100, KEYS)
    history = History()
    history.write(claim=Claim(""))
    begin = history.write(intent=batch.intent(1, 1, NOW, 1, 0))
    history.write(done=Done(1, 1))
    return history, begin, list(batch.parts), history.sign()


def proofs(parts: list[BatchPart], with_text: bool) -> tuple[Any, ...]:
    found = []
    for part in parts:
        table = TABLES[part.cell.table]
        leaves = {row[OFFSET]: leaf(table, row) for row in part.rows}
        (row,) = [row for row in part.rows if row[OFFSET] == WHICH]
        found.append(prove(table, WHICH, leaves, row[:-1] if with_text and table.has_text else row[: table.leaf_width]))
    return tuple(found)


@cache
def whole() -> bytes:
    """Text, an anchor two heads later, everything."""
    history, begin, parts, first = stored()
    history.write(claim=Claim("w"))
    second = history.sign()
    history.write(claim=Claim("w"))
    third = history.sign()
    anchor = anchors.make(KEY, "cluster/llm.", NOW, {0: first, PARTITION: third})
    # A head of partition 0, signed for it.
    other = heads.sign(KEY, 0, first)
    anchor = anchors.make(KEY, "cluster/llm.", NOW, {0: other, PARTITION: third})
    links = (history.link(begin, first, second, third),)
    return write(Evidence((1, PARTITION, WHICH), ("text", "anchor"), proofs(parts, True), links, PUBLIC.hex(), anchor))


@cache
def erased() -> bytes:
    """A call that was bared and a text that was removed, said so in the ledger."""
    history, begin, parts, first = stored()
    text, call = parts
    table = TABLES[call.cell.table]
    (before,) = [row for row in call.rows if row[OFFSET] == WHICH]
    after = tuple("" if name in ("id", "user") else value for name, value in zip(table.names, before, strict=True))
    (gone,) = [row for row in text.rows if row[OFFSET] == WHICH]
    changes = (
        Change(call.cell, 1, WHICH, leaf(table, before).hex(), leaf(table, after).hex()),
        Change(text.cell, 1, WHICH, leaf(TABLES[text.cell.table], gone).hex()),
    )
    again = history.write(erasing=Erasing("r", 1, "erasure", changes))
    history.write(erased=Erased("r", 1))
    second = history.sign()
    of_text, of_call = proofs(parts, False)
    rows = (
        msgspec.structs.replace(of_text, values=None),
        msgspec.structs.replace(of_call, values=plain(table, after)),
    )
    links = (history.link(begin, first), history.link(again, second))
    return write(Evidence((1, PARTITION, WHICH), (), rows, links, PUBLIC.hex(), None))


@cache
def expired() -> bytes:
    """A call whose text has had its life."""
    history, begin, parts, first = stored()
    text, _ = parts
    end = Expiry(text.cell, 100, "00" * 32)
    again = history.write(expiring=end)
    history.write(expired=end)
    second = history.sign()
    links = (history.link(begin, first), history.link(again, second))
    return write(Evidence((1, PARTITION, WHICH), (), proofs(parts, False)[1:], links, PUBLIC.hex(), None))


@pytest.mark.parametrize("document", [whole, erased, expired])
def test_a_proof_holds_by_itself_and_against_the_key(document: Any) -> None:
    assert check(document()).failures == ()
    assert check(document(), PUBLIC).ok
    other = heads.public_key(Keys(bytes(32)))
    assert check(document(), other).failures == ("it is signed with another key than the one that was given",)


@pytest.mark.parametrize("document", [whole, erased, expired])
def test_a_change_of_any_single_field_shows(document: Any) -> None:
    plain = json.loads(document())
    count = 0
    for where, changed in mutations(plain):
        count += 1
        data = json.dumps(changed).encode()
        # Without the reader's key: nothing in the file stands by itself.
        assert not check(data).ok, where
    assert count > 500


def test_what_is_no_proof_is_none() -> None:
    for data in (b"", b"{}", b"[]", b"\xff", b'{"schema":"tokentrail.evidence.v1"}'):
        assert not check(data).ok


def test_a_range_that_was_announced_but_not_done_proves_nothing() -> None:
    batch = build([Slot(offset, record(offset), 1) for offset in range(100)], 0, 100, KEYS)
    history = History()
    history.write(claim=Claim(""))
    begin = history.write(intent=batch.intent(1, 1, NOW, 1, 0))
    link = history.link(begin, history.sign())
    made = Evidence((1, PARTITION, WHICH), (), proofs(list(batch.parts), False), (link,), PUBLIC.hex(), None)
    assert check(write(made)).failures == ("the range was announced, but not done before the signed head",)


def test_offsets_name_the_rows_of_a_part() -> None:
    _, _, parts, _ = stored()
    assert all(spans.read(0, spans.write(0, part.offsets)) == list(range(100)) for part in parts)


def mutations(value: Any) -> Iterator[tuple[str, Any]]:
    """Every copy of a JSON value with one thing in it changed, and where."""
    if isinstance(value, dict):
        for name, held in value.items():
            rest = {other: each for other, each in value.items() if other != name}
            yield f".{name} removed", rest
            yield f".{name} renamed", {**rest, f"{name}x": held}
            for where, other in mutations(held):
                yield f".{name}{where}", {**value, name: other}
        yield " grew", {**value, "more": 1}
    elif isinstance(value, list):
        for index, held in enumerate(value):
            yield f"[{index}] removed", value[:index] + value[index + 1 :]
            for where, other in mutations(held):
                yield f"[{index}]{where}", [*value[:index], other, *value[index + 1 :]]
        yield " grew", [*value, value[-1] if value else "x"]
        if len(value) > 1 and value[0] != value[-1]:
            yield " turned", value[::-1]
    elif isinstance(value, str):
        yield "+", value + "0"
        if value:
            yield " first", ("1" if value[0] == "0" else "0") + value[1:]
            yield " last", value[:-1] + ("1" if value[-1] == "0" else "0")
            yield " empty", ""
        if value.upper() != value:
            yield " upper", value.upper()
    elif isinstance(value, bool):
        yield " other", not value
        yield " null", None
    elif isinstance(value, int | float):
        yield " more", value + 1
        yield " null", None
        yield " as text", str(value)
        yield " other kind", float(value) if isinstance(value, int) else int(value)
    else:
        yield " set", 1
        yield " text", "x"
