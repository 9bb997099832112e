"""Native columns: every short cut gives the bytes that the long way gives, and takes nothing that does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.audit.tables import Column, Kind, Table
from pipeline.storage import native


def body(kind: Kind, values: list[Any], *, nullable: bool = False) -> bytes:
    """A column's data, without its name and type."""
    table = Table("t", (Column("x", kind, nullable),))
    block = native.block(table, [(value, bytes(16)) for value in values])
    head = native.type_of(table.columns[0])
    start = block.index(head.encode()) + len(head)
    return block[start : block.index(b"\x04seal")]


@pytest.mark.parametrize(
    "values",
    [
        ["", "", ""],
        ["", "ab", ""],
        ["abcd", "efgh"],
        ["abcd", "éfg"],
        ["x" * 127, "y" * 128],
        ["a" * 20_000, "b"],
        ["ü" * 100, "plain"],
    ],
)
def test_texts_are_lengths_and_bytes(values: list[str]) -> None:
    assert body("text", values) == b"".join(native.varint(len(v.encode())) + v.encode() for v in values)


@pytest.mark.parametrize(
    ("values", "nulls", "numbers"),
    [
        ([None, None], b"\1\1", bytes(16)),
        ([5, 6], b"\0\0", (5).to_bytes(8, "little") + (6).to_bytes(8, "little")),
        ([5, None], b"\0\1", (5).to_bytes(8, "little") + bytes(8)),
        ([None, 0], b"\1\0", bytes(16)),
    ],
)
def test_numbers_that_may_be_missing_are_marks_and_numbers(values: list[int], nulls: bytes, numbers: bytes) -> None:
    assert body("uint64", values, nullable=True) == nulls + numbers


@pytest.mark.parametrize(
    ("kind", "values", "nullable"),
    [
        ("uint64", [1, -1], False),
        ("uint64", [1, None], False),
        ("uint64", [1, -1], True),
        ("int64", [None, 2**63], True),
        ("uint16", [70_000], False),
        ("text", ["", None], False),
        ("text", [None, None], False),
        ("word", [None, None], False),
        ("word", ["", None], False),
        ("text", ["\ud800"], False),
        ("bytes16", [bytes(15), bytes(17)], False),
        ("float", ["1"], False),
        ("bool", [None], False),
    ],
)
def test_a_value_that_does_not_fit_raises(kind: Kind, values: list[Any], nullable: bool) -> None:
    with pytest.raises(native.MISFIT):
        body(kind, values, nullable=nullable)
