"""Anchors: the latest signed heads of all partitions as one signed document, to be put where no administrator reaches.

Pure. An anchor says nothing about anybody: partitions, offsets, hashes, times, keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipeline.audit import heads
from pipeline.audit.sources import Anchored
from schemas.ledger import Signed

_LABEL: Final = b"tokentrail.anchor.v1\0"
_PREFIX: Final = "anchor-"
_pack = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The latest signed head of one partition."""

    partition: int
    signed: Signed


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag="tokentrail.anchor.v1"):
    """One document.

    Attributes:
        installation: Kafka's cluster id and the prefix of the topics.
        made_at_ms: When, milliseconds since 1970.
        public_key: Hexadecimal.
        heads: Of every partition that has one, in the order of their numbers.
        signature: Ed25519 over all of the above, hexadecimal.
    """

    installation: str
    made_at_ms: int
    public_key: str
    heads: tuple[Head, ...]
    signature: str = ""


def make(key: Ed25519PrivateKey, installation: str, made_at_ms: int, latest: Mapping[int, Signed]) -> Anchor:
    """Sign an anchor over the latest heads by partition."""
    public = key.public_key().public_bytes_raw().hex()
    found = tuple(Head(partition, signed) for partition, signed in sorted(latest.items()))
    unsigned = Anchor(installation, made_at_ms, public, found)
    return msgspec.structs.replace(unsigned, signature=key.sign(_payload(unsigned)).hex())


def is_signed(public: bytes, anchor: Anchor) -> bool:
    """Whether this key signed the anchor and every head in it."""
    return (
        anchor.public_key == public.hex()
        and heads.verify_bytes(public, anchor.signature, _payload(anchor))
        and all(heads.is_signed(public, head.partition, head.signed) for head in anchor.heads)
    )


def anchored(name: str, anchor: Anchor) -> list[Anchored]:
    """The heads of an anchor, each with the anchor's name."""
    return [Anchored(name, head.partition, head.signed) for head in anchor.heads]


def write(anchor: Anchor) -> bytes:
    """The document as JSON."""
    return msgspec.json.format(msgspec.json.encode(anchor), indent=1) + b"\n"


def read(data: bytes) -> Anchor:
    """The anchor that a document holds.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.json.decode(data, type=Anchor)
    except msgspec.MsgspecError as error:
        raise ValueError("not an anchor") from error


def name(anchor: Anchor) -> str:
    """A file name: its time, and part of its hash so that no two are called the same."""
    at = datetime.fromtimestamp(anchor.made_at_ms / 1000, UTC)
    return f"{_PREFIX}{at:%Y-%m-%dT%H%M%SZ}-{sha256(_payload(anchor)).hexdigest()[:8]}.json"


def is_name(name: str) -> bool:
    """Whether a file is called as anchors are."""
    return name.startswith(_PREFIX) and name.endswith(".json")


def is_of_day(names: Iterable[str], at_ms: int) -> bool:
    """Whether one of these names is of an anchor of the same day (UTC)."""
    day = datetime.fromtimestamp(at_ms / 1000, UTC)
    return any(name.startswith(f"{_PREFIX}{day:%Y-%m-%d}T") for name in names)


def _payload(anchor: Anchor) -> bytes:
    found = [(head.partition, msgspec.structs.astuple(head.signed)) for head in anchor.heads]
    return _LABEL + _pack((anchor.installation, anchor.made_at_ms, anchor.public_key, found))
