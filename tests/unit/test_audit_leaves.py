"""Leaves, roots and commitments: fixed for ever, and different whenever anything is."""

from __future__ import annotations

from hashlib import blake2b, sha256

import pytest

from pipeline.audit.leaves import NO_COMMITMENT, chunks, commitment, leaf, root, root_of_chunks, salt, seal, seal_key
from pipeline.audit.rows import Row, rows
from pipeline.audit.tables import CALL_CONTENT, CALLS, HEARTBEATS, TABLES
from pipeline.keys import Keys
from schemas.clean import Clean, Content, Producer, Stamp
from schemas.fact import Fact
from schemas.position import Position

KEYS = Keys(bytes(range(32)))
NOW = 1_795_000_000_000


def call(**content: str) -> dict[str, Row]:
    fact = Fact("call", Position(1, 2, 3), 0, NOW, NOW - 5, tenant="acme", id="x", latency_ms=12.0, cache_hit=True)
    clean = Clean(
        fact=fact,
        stamp=Stamp(30, 7),
        content=Content(**content) if content else None,  # type: ignore[arg-type]
        parameters={"temperature": 0.5, "max_tokens": 9.0},
        producer=Producer("p", 4),
    )
    return dict(rows(clean, KEYS))


def test_version_1_is_fixed_for_ever() -> None:
    found = call(input="hello")
    assert leaf(CALLS, found["calls"]).hex() == "2a19b872f9cdde149f1f97e8c9106ab7cd5aa96663a9983f9e4efeb8faab9595"
    assert (
        leaf(CALL_CONTENT, found["call_content"]).hex()
        == "74a9cca66f00f71de270739a6db80816df8ebb7fcd59ede81c15eb78998e491c"
    )


def test_a_leaf_is_a_labelled_hash_of_messagepack_in_declared_order() -> None:
    row = (1, 0, 300, "a", -1, 30, "id", 5, "", "", "p", None, "", 1, 2, 3, 4, -1, True)
    by_hand = bytes.fromhex(
        "dc0013" "01" "00" "cd012c" "a161" "ff" "1e" "a26964" "05" "a0" "a0" "a170" "c0" "a0" "01020304" "ff" "c3"
    )  # fmt: skip
    assert leaf(HEARTBEATS, row) == sha256(b"tokentrail.leaf.v1:heartbeats\0" + by_hand).digest()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_each_column_that_is_not_text_is_in_the_leaf(table: object) -> None:
    row = tuple(range(len(table.columns)))  # type: ignore[attr-defined]
    plain = leaf(table, row)  # type: ignore[arg-type]
    for index, column in enumerate(table.columns):  # type: ignore[attr-defined]
        changed = (*row[:index], -7, *row[index + 1 :])
        assert (leaf(table, changed) == plain) is column.covered, column.name  # type: ignore[arg-type]


def test_the_order_in_a_map_and_the_kind_of_sequence_do_not_matter() -> None:
    row = call()["calls"]
    other = tuple(
        dict(reversed(value.items())) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value
        for value in row
    )
    assert other != row
    assert leaf(CALLS, other) == leaf(CALLS, row)


def test_a_whole_number_in_a_column_of_fractions_is_not_an_integer() -> None:
    row = call()["calls"]
    index = CALLS.names.index("latency_ms")
    assert leaf(CALLS, (*row[:index], 12, *row[index + 1 :])) != leaf(CALLS, row)


def test_text_is_bound_by_the_commitment_in_both_rows() -> None:
    first, second = call(input="hello"), call(input="hello!")
    index = CALLS.names.index("content_commitment")
    assert first["calls"][index] == first["call_content"][7] != second["calls"][index]
    assert commitment(*first["call_content"][8:13]) == first["call_content"][7]
    assert call()["calls"][index] == NO_COMMITMENT


def test_the_same_text_at_two_positions_has_two_commitments_and_the_same_at_every_repeat() -> None:
    first, other = (salt(KEYS, "acme", 1, Position(1, 0, offset)) for offset in (1, 2))
    assert len(first) == 16 and first != other
    assert salt(KEYS, "acme", 1, Position(1, 0, 1)) == first
    assert salt(KEYS, "else", 1, Position(1, 0, 1)) != first
    assert salt(KEYS, "acme", 2, Position(1, 0, 1)) != first


def test_text_cannot_move_from_one_field_to_another() -> None:
    grain = bytes(16)
    found = {
        commitment(grain, "ab", "", "", {}),
        commitment(grain, "a", "b", "", {}),
        commitment(grain, "", "ab", "", {}),
        commitment(grain, "", "", "ab", {}),
        commitment(grain, "", "", "", {"ab": ""}),
        commitment(grain, "", "", "", {"a": "b"}),
    }
    assert len(found) == 6


def test_a_root_depends_on_every_leaf_and_on_the_order() -> None:
    one, two = sha256(b"1").digest(), sha256(b"2").digest()
    assert len({root([]), root([one]), root([one, two]), root([two, one]), root([one, one])}) == 5


def test_a_root_is_over_chunks_of_64_leaves_by_hand() -> None:
    leaves = [bytes([number]) * 32 for number in range(65)]
    first, last = (sha256(b"tokentrail.chunk.v1\0" + b"".join(each)).digest() for each in (leaves[:64], leaves[64:]))
    assert root(leaves) == sha256(b"tokentrail.root.v1\0" + first + last).digest() == root_of_chunks(chunks(leaves))


def test_a_seal_cannot_be_made_without_the_key() -> None:
    leaf_of_row = sha256(b"row").digest()
    assert seal(seal_key(KEYS), leaf_of_row) == blake2b(leaf_of_row, digest_size=16, key=KEYS.derive("seal")).digest()
    assert seal(seal_key(Keys(bytes(32))), leaf_of_row) != seal(seal_key(KEYS), leaf_of_row)
