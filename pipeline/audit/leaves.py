"""Leaves and roots, version 1: what the hash chain says of rows.

A leaf is SHA-256 over a label and the row's values as one MessagePack array in declared order, shortest forms, map
keys sorted; anybody can compute it again from a row read back. Text enters through its salted commitment only, which
stays valid when the text is erased. A root is SHA-256 over the chunks of one part of a range, a chunk SHA-256 over
`CHUNK` leaves in position order, so that a proof that a row is in it is short. A seal is a keyed hash of the leaf that
stands in the row itself: who changes a row without the key names it by that.

Must not change: another way to hash is another version beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final

import msgspec

from pipeline.audit.tables import CHAINED, Table
from pipeline.keys import Keys
from schemas.position import Position

LEAF_VERSION: Final = 1
LEAF_BYTES: Final = 32
CHUNK: Final = 64  # leaves
NO_COMMITMENT: Final = bytes(32)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_LABELS: Final = {name: f"tokentrail.leaf.v1:{name}\0".encode() for name in (*CHAINED, "ledger")}
_TEXT_LABEL: Final = b"tokentrail.text.v1\0"
_CHUNK_LABEL: Final = b"tokentrail.chunk.v1\0"
_ROOT_LABEL: Final = b"tokentrail.root.v1\0"


def leaf(table: Table, row: tuple[Any, ...]) -> bytes:
    """The leaf (32 bytes) of one row, a tuple of `table.columns`' values."""
    return sha256(_LABELS[table.name] + _encode(row[: table.leaf_width])).digest()


def leaves(table: Table, rows: Iterable[tuple[Any, ...]]) -> list[bytes]:
    """The leaf of each row, given as tuples of the `table.leaf_width` values that enter it."""
    label, encode = _LABELS[table.name], _encode
    return [sha256(label + encode(row)).digest() for row in rows]


def root(leaves: Iterable[bytes]) -> bytes:
    """The root (32 bytes) of leaves in position order."""
    return root_of_chunks(chunks(leaves))


def chunks(leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes (32 bytes each) of every `CHUNK` leaves, the last of what is left."""
    joined = b"".join(leaves)
    return [
        sha256(_CHUNK_LABEL + joined[at : at + CHUNK * LEAF_BYTES]).digest()
        for at in range(0, len(joined), CHUNK * LEAF_BYTES)
    ]


def root_of_chunks(chunks: Iterable[bytes]) -> bytes:
    """The root (32 bytes) of chunks in their order."""
    return sha256(_ROOT_LABEL + b"".join(chunks)).digest()


def seal(key: bytes, leaf: bytes) -> bytes:
    """The seal (16 bytes) of a row: BLAKE2b with a key (RFC 7693) over its leaf."""
    return blake2b(leaf, digest_size=16, key=key).digest()


def seals(key: bytes, leaves: Iterable[bytes]) -> list[bytes]:
    """The seal of each leaf: the key is taken in once."""
    keyed, found = blake2b(digest_size=16, key=key), []
    for leaf in leaves:
        hasher = keyed.copy()
        hasher.update(leaf)
        found.append(hasher.digest())
    return found


def seal_key(keys: Keys) -> bytes:
    """The key of seals (32 bytes)."""
    return keys.derive("seal")


def commitment(salt: bytes, input: str, output: str, tool_calls: str, other: Mapping[str, str]) -> bytes:
    """What the chain holds of a record's text (32 bytes): without salt and text it says nothing about the text."""
    return sha256(_TEXT_LABEL + _encode((salt, input, output, tool_calls, other))).digest()


def commitments(texts: Iterable[tuple[bytes, str, str, str, Mapping[str, str]]]) -> list[bytes]:
    """The commitment to each record's text: to salt, input, output, tool calls and other texts."""
    label, encode = _TEXT_LABEL, _encode
    return [sha256(label + encode(text)).digest() for text in texts]


def salt(keys: Keys, tenant: str, key_version: int, position: Position) -> bytes:
    """The salt (16 bytes) of one record's text; see `salts`."""
    return salts(keys, ((tenant, key_version, position),))[0]


def salts(keys: Keys, records: Iterable[tuple[str, int, Position]]) -> list[bytes]:
    """The salt (16 bytes) of each record's text, by tenant, key version and position.

    The same at every repeat, and not to be guessed without the key root. BLAKE2b with a key (RFC 7693), which costs a
    third of HMAC here, and a half of that with a key taken in once.
    """
    keyed: dict[tuple[str, int], blake2b] = {}
    found = []
    for tenant, version, position in records:
        if (base := keyed.get((tenant, version))) is None:
            base = keyed[tenant, version] = blake2b(digest_size=16, key=keys.derive("salt", tenant, version))
        hasher = base.copy()
        hasher.update(b"%d/%d/%d" % (position.epoch, position.partition, position.offset))
        found.append(hasher.digest())
    return found
