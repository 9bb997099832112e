"""Identifiers: what may be read, what becomes a keyed hash. One rule for facts and clean records.

A readable identifier has safe characters only and shows no personal data by the patterns; anything else in its place is
a keyed hash (`h_` and 32 hexadecimal digits). Persons, sessions, runs and traces are always keyed hashes.
"""

from __future__ import annotations

import re
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pipeline.keys import Keys, Purpose

LONGEST: Final = 128
SAFE: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/+ -]{{0,{LONGEST - 1}}}")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
HELD: Final = 65_536


class Identifiers:
    """Turns values of identifier fields into what may be kept.

    Memory: the last 65,536 readable values with their verdicts, about 20 MB at the longest.

    Args:
        keys: The key store.
        is_clean: True when the patterns see no personal data in a value.
        version: Version of the pseudonym keys.
    """

    def __init__(self, keys: Keys, is_clean: Callable[[str], bool], version: int = 1) -> None:
        self.keys = keys
        self.version = version
        self._is_clean = is_clean
        self._verdicts: OrderedDict[str, bool] = OrderedDict()

    def readable(self, tenant: str, field: str, value: str | None) -> str | None:
        """The value itself where it may be read, else its keyed hash; None and empty stay None."""
        if not value:
            return None
        verdict = self._verdicts.get(value)
        if verdict is None:
            verdict = self._judge(value)
        return value if verdict else self.readable_hash(tenant, field, value)

    def readable_hash(self, tenant: str, field: str, value: str) -> str:
        """What stands where a value may not be read."""
        return "h_" + self.keys.hash("identifier", tenant, field, value, self.version)

    def tenant(self, value: str) -> str:
        """The tenant's name, or its keyed hash under the root (a tenant has no key before it has a name)."""
        return self.readable("", "tenant", value) or "h_"

    def hashed(self, tenant: str, kind: str, value: str | None, purpose: Purpose = "identifier") -> str | None:
        """Keyed hash of a value that is never read: run, session, trace, user (`purpose` pseudonym)."""
        return None if not value else self.keys.hash(purpose, tenant, kind, value, self.version)

    def event_id(self, tenant: str, value: str | None) -> str | None:
        """A UUID as UUIDs are written stays; anything else becomes a UUID (version 8) of its keyed hash.

        Thirty-two hexadecimal digits without hyphens are as likely a key as a UUID.
        """
        if not value:
            return None
        if UUID.fullmatch(value):
            return value.lower()
        return _uuid8(bytes.fromhex(self.keys.hash("identifier", tenant, "id", value, self.version)))

    def _judge(self, value: str) -> bool:
        if len(value) > LONGEST:
            return False  # and it is not remembered
        verdict = self._verdicts[value] = SAFE.fullmatch(value) is not None and self._is_clean(value)
        if len(self._verdicts) > HELD:
            self._verdicts.popitem(last=False)
        return verdict


def one_of(allowed: frozenset[str], value: str | None) -> str | None:
    """The value where the enumeration knows it, `other` where it does not."""
    return None if not value else value if value in allowed else "other"


def _uuid8(data: bytes) -> str:
    """Bytes to a version 8 UUID (RFC 9562): 122 bits of the hash, marked as made by us."""
    number = int.from_bytes(data, "big")
    number = number & ~(0xF << 76) | (8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=number))
