"""Values that whoever holds the key can read again: AES-256-GCM, bound to their tenant and type. Pure.

A token is base64url of nonce, ciphertext and tag. Tenant, type and the key's reference are authenticated with it, so
that a token moved to another tenant, or said to be of another type, does not open. Sealing a value twice gives two
tokens.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
TOKEN: Final = re.compile(r"<(?P<type>[A-Z][A-Z0-9_]{1,40}):!(?P<token>[A-Za-z0-9_-]{38,})>")
"""An encrypted value as it stands in text."""


class Seal:
    """Seals and opens values under one key.

    Args:
        key: 32 bytes.
        reference: what the policy calls the key.
    """

    def __init__(self, key: bytes, reference: str) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes; it must have {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._reference = reference

    def token(self, tenant: str) -> Callable[[str, str], str]:
        """(type, value) to a token, for one tenant."""

        def seal(entity: str, value: str) -> str:
            nonce = os.urandom(_NONCE_BYTES)
            sealed = self._cipher.encrypt(nonce, value.encode("utf-8", "surrogatepass"), self._bound(tenant, entity))
            return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

        return seal

    def open(self, tenant: str, entity: str, token: str) -> str:
        """The value of a token.

        Raises:
            ValueError: It was not sealed with this key, for this tenant and type.
        """
        try:
            data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            value = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], self._bound(tenant, entity))
        except (binascii.Error, InvalidTag, ValueError) as error:
            raise ValueError("not sealed with this key, for this tenant and type") from error
        return value.decode("utf-8", "surrogatepass")

    def open_all(self, tenant: str, text: str) -> tuple[str, int, int]:
        """(text with every token opened that this key opens, how many, how many stay)."""
        opened = left = 0

        def one(match: re.Match[str]) -> str:
            nonlocal opened, left
            try:
                value = self.open(tenant, match["type"], match["token"])
            except ValueError:
                left += 1
                return match.group()
            opened += 1
            return value

        return TOKEN.sub(one, text), opened, left

    def _bound(self, tenant: str, entity: str) -> bytes:
        return "\x1f".join(("tokentrail", tenant, entity, self._reference)).encode("utf-8", "surrogatepass")
