"""Signed heads: what a ledger amounted to at one of its offsets, signed with Ed25519 (RFC 8032). Pure.

The private key is derived from the key root, so that there is one secret to keep; whoever has the public key can
check. Must not decide when to sign.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.keys import Keys
from schemas.ledger import Signed

KEY_ID_DIGITS: Final = 16
_LABEL: Final = b"tokentrail.head.v1\0"
_encode = msgspec.msgpack.Encoder().encode


def private_key(keys: Keys) -> Ed25519PrivateKey:
    """The installation's signing key."""
    return Ed25519PrivateKey.from_private_bytes(keys.derive("sign"))


def public_key(keys: Keys) -> bytes:
    """The public key (32 bytes) that belongs to it."""
    return private_key(keys).public_key().public_bytes_raw()


def key_id(public: bytes) -> str:
    """Id of a public key: 16 hexadecimal digits of its SHA-256."""
    return sha256(public).hexdigest()[:KEY_ID_DIGITS]


def statement(partition: int, signed: Signed) -> bytes:
    """The bytes that are signed: a label, and the fields as one MessagePack array, hashes in hexadecimal."""
    fields = (partition, signed.end, signed.head, signed.accepted, signed.at_ms, signed.previous, signed.key)
    return _LABEL + _encode(fields)


def digest(partition: int, signed: Signed) -> str:
    """What the next statement names as its `previous`."""
    return sha256(statement(partition, signed)).hexdigest()


def sign(key: Ed25519PrivateKey, partition: int, unsigned: Signed) -> Signed:
    """The statement with its key's id and signature; whatever stood there is replaced."""
    named = msgspec.structs.replace(unsigned, key=key_id(key.public_key().public_bytes_raw()))
    return msgspec.structs.replace(named, signature=key.sign(statement(partition, named)).hex())


def is_signed(public: bytes, partition: int, signed: Signed) -> bool:
    """Whether this key signed the statement."""
    return signed.key == key_id(public) and verify_bytes(public, signed.signature, statement(partition, signed))


def verify_bytes(public: bytes, signature: str, data: bytes) -> bool:
    """Whether a signature in lower-case hexadecimal is this key's over these bytes."""
    try:
        raw = bytes.fromhex(signature)
        Ed25519PublicKey.from_public_bytes(public).verify(raw, data)
    except (ValueError, InvalidSignature):
        return False
    return raw.hex() == signature
