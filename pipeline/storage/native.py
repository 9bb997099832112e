"""Rows of the chained tables as one ClickHouse Native block: columnar, cheapest for client and server together.

A row that does not fit its columns raises here, before anything is written anywhere. Must not know what a row means.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any, Final

from pipeline.audit.tables import Column, Kind, Table

assert sys.byteorder == "little", "the Native format is little-endian, and so must the machine be"

Encoder = Callable[[Sequence[Any]], bytes]

# What `block` raises for a value that does not fit its column (UnicodeEncodeError is a ValueError).
MISFIT: Final = (ValueError, TypeError, OverflowError, struct.error)

# Serialization version of LowCardinality, which stands before the column, and the flags of a block that brings its
# whole dictionary with it.
_WORDS_VERSION: Final = (1).to_bytes(8, "little")
_WORDS_FLAGS: Final = (1 << 9) | (1 << 10)
_KEY_TYPES: Final = ((1 << 8, "B"), (1 << 16, "H"), (1 << 32, "I"))


def block(table: Table, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """All rows as one block.

    Raises:
        MISFIT: A value does not fit its column.
    """
    return block_of_columns(table, list(zip(*rows, strict=True)))


def block_of_columns(table: Table, columns: Sequence[Sequence[Any]]) -> bytes:
    """All rows as one block, given as one sequence of values for each column.

    Raises:
        MISFIT: A value does not fit its column.
    """
    parts = [varint(len(table.columns)), varint(len(columns[0]))]
    for column, values in zip(table.columns, columns, strict=True):
        head, encode = _CODECS[column.kind, column.nullable]
        parts += (_name(column.name), head, encode(values))
    return b"".join(parts)


def misfits(table: Table, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    """Indexes of the rows that `block` cannot encode."""
    found = []
    for index, row in enumerate(rows):
        try:
            block(table, [row])
        except MISFIT:
            found.append(index)
    return found


def type_of(column: Column) -> str:
    """The ClickHouse type of a column."""
    name = _TYPES[column.kind]
    return f"Nullable({name})" if column.nullable else name


def varint(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value > 0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_VARINTS: Final = [varint(value) for value in range(1 << 14)]
# The same as characters of Latin-1, which is the encoding that leaves every byte as it is.
_MARKS: Final = [data.decode("latin-1") for data in _VARINTS]


def _name(text: str) -> bytes:
    return varint(len(text)) + text.encode()


def _numbers(typecode: str) -> Encoder:
    def encode(values: Sequence[Any]) -> bytes:
        return struct.pack(f"<{len(values)}{typecode}", *values)

    return encode


def _nullable(encode: Encoder, empty: Any) -> Encoder:
    """For columns whose values all have one width."""

    def encode_nullable(values: Sequence[Any]) -> bytes:
        if values[0] is not None:
            try:
                return bytes(len(values)) + encode(values)
            except (TypeError, struct.error):
                pass  # there is a None, or a misfit, which shows again below
        elif values.count(None) == len(values):
            return b"\1" * len(values) + encode([empty]) * len(values)
        nulls = bytes([value is None for value in values])
        return nulls + encode([empty if value is None else value for value in values])

    return encode_nullable


def _fixed(width: int) -> Encoder:
    def encode(values: Sequence[bytes]) -> bytes:
        data = b"".join(values)
        if set(map(len, values)) != {width}:
            raise ValueError(f"a value is not {width} bytes long")
        return data

    return encode


def _all_empty(values: Sequence[str]) -> bool:
    return values[0] == "" and values.count("") == len(values)


def _texts(values: Sequence[str]) -> bytes:
    if _all_empty(values):
        return bytes(len(values))
    lengths = list(map(len, values))
    longest = max(lengths)
    if longest < 0x80 and lengths.count(longest) == len(lengths):
        mark = chr(longest)
        data = (mark + mark.join(values)).encode()
        if len(data) == len(values) * (longest + 1):  # all ASCII, so characters are bytes
            return data
    if longest < len(_MARKS) and all(map(str.isascii, values)):
        pairs = [""] * (2 * len(values))
        pairs[::2] = map(_MARKS.__getitem__, lengths)
        pairs[1::2] = values
        return "".join(pairs).encode("latin-1")
    parts = []
    for value in values:
        data = value.encode()
        size = len(data)
        parts.append(_VARINTS[size] if size < len(_VARINTS) else varint(size))
        parts.append(data)
    return b"".join(parts)


def _words(values: Sequence[str]) -> bytes:
    """LowCardinality without the version that stands before the column (and before the offsets of an array)."""
    if not values:
        return b""
    index = {value: number for number, value in enumerate(("",) if _all_empty(values) else dict.fromkeys(values))}
    kind = next(number for number, (limit, _) in enumerate(_KEY_TYPES) if len(index) <= limit)
    if len(index) == 1:
        keys = bytes(len(values))
    elif kind == 0:
        keys = bytes(map(index.__getitem__, values))
    else:
        keys = _numbers(_KEY_TYPES[kind][1])(list(map(index.__getitem__, values)))
    head = array("Q", (_WORDS_FLAGS | kind, len(index))).tobytes()
    return b"".join((head, _texts(list(index)), len(values).to_bytes(8, "little"), keys))


def _offsets(values: Sequence[Any]) -> bytes:
    return array("Q", accumulate(map(len, values))).tobytes()


def _array(encode: Encoder, prefix: bytes = b"") -> Encoder:
    def encode_array(values: Sequence[Any]) -> bytes:
        if not any(values):
            return prefix + bytes(8 * len(values))
        return b"".join((prefix, _offsets(values), encode(list(chain.from_iterable(values)))))

    return encode_array


def _map(keys: Encoder, items: Encoder, prefix: bytes = b"") -> Encoder:
    def encode(values: Sequence[dict[str, Any]]) -> bytes:
        if not any(values):
            return prefix + bytes(8 * len(values))
        names = list(chain.from_iterable(values))
        data = list(chain.from_iterable(value.values() for value in values))
        return b"".join((prefix, _offsets(values), keys(names), items(data)))

    return encode


_TYPES: Final[dict[Kind, str]] = {
    "uint16": "UInt16",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float": "Float64",
    "bool": "Bool",
    "text": "String",
    "word": "LowCardinality(String)",
    "ms": "DateTime64(3, 'UTC')",
    "money": "Decimal(18, 9)",
    "bytes16": "FixedString(16)",
    "bytes32": "FixedString(32)",
    "words": "Array(LowCardinality(String))",
    "texts": "Array(String)",
    "counts": "Map(LowCardinality(String), UInt64)",
    "numbers": "Map(LowCardinality(String), Float64)",
    "texts_by_path": "Map(String, String)",
}

_ENCODERS: Final[dict[Kind, tuple[Encoder, Any]]] = {
    "uint16": (_numbers("H"), 0),
    "uint32": (_numbers("I"), 0),
    "uint64": (_numbers("Q"), 0),
    "int64": (_numbers("q"), 0),
    "float": (_numbers("d"), 0.0),
    "bool": (bytes, False),
    "text": (_texts, ""),
    "word": (lambda values: _WORDS_VERSION + _words(values), ""),
    "ms": (_numbers("q"), 0),
    "money": (_numbers("q"), 0),
    "bytes16": (_fixed(16), bytes(16)),
    "bytes32": (_fixed(32), bytes(32)),
    "words": (_array(_words, _WORDS_VERSION), ()),
    "texts": (_array(_texts), ()),
    "counts": (_map(_words, _numbers("Q"), _WORDS_VERSION), {}),
    "numbers": (_map(_words, _numbers("d"), _WORDS_VERSION), {}),
    "texts_by_path": (_map(_texts, _texts), {}),
}

# (kind, nullable) -> the type as it stands in the block's header, and the encoder.
_CODECS: Final[dict[tuple[Kind, bool], tuple[bytes, Encoder]]] = {
    (kind, nullable): (
        _name(type_of(Column("", kind, nullable))),
        _nullable(encode, empty) if nullable else encode,
    )
    for kind, (encode, empty) in _ENCODERS.items()
    for nullable in (False, True)
}
