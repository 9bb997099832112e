"""What erasure leaves of a record: a bare one, which can be tied to nobody. And which records that is to happen to.

Pure, and the same at every repeat: a range is built with the requests that its INTENT names, whoever builds it. Must
not know a plain value: a request names pseudonyms by keyed hashes of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from pipeline.audit.rows import Row
from pipeline.audit.tables import Table
from pipeline.keys import Keys
from schemas.clean import Clean
from schemas.control import Erasure
from schemas.fact import Fact

# What ties a row to a person, or to another row of the same person. Numbers, times and enumerations stay.
BARED: Final = ("id", "run", "user", "session", "trace", "span", "parent", "about")
# Verdicts remembered, about 15 MB at the most.
REMEMBERED: Final = 65_536


class Subjects:
    """Whom erasure requests name.

    One dictionary look-up for a record of a tenant without requests; one keyed hash for a value not seen lately.

    Args:
        keys: The key store.
        requests: In the order of the log.
    """

    def __init__(self, keys: Keys, requests: Sequence[Erasure]) -> None:
        self.count = len(requests)
        self._keys = keys
        self._named: dict[str, dict[str, set[str]]] = {}
        for request in requests:
            self._named.setdefault(request.tenant, {}).setdefault(request.kind, set()).update(request.hashes)
        self._verdicts: dict[tuple[str, str, str], bool] = {}

    def names(self, fact: Fact) -> bool:
        """Whether a record is of somebody, or of something, that is to be erased."""
        if fact.tenant not in self._named:
            return False
        values = {"user": fact.user, "run": fact.run, "id": fact.id}
        return self.names_any(fact.tenant, values) or self.names_any(fact.tenant, {"id": fact.about})

    def names_any(self, tenant: str, values: Mapping[str, str | None]) -> bool:
        """Whether a tenant's `user`, `run` or `id` is to be erased."""
        named = self._named.get(tenant)
        return named is not None and any(self._is_named(named, tenant, kind, values.get(kind)) for kind in named)

    def _is_named(self, named: dict[str, set[str]], tenant: str, kind: str, value: str | None) -> bool:
        if not value:
            return False
        key = (tenant, kind, value)
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[key] = mark(self._keys, tenant, kind, value) in named[kind]
        return verdict


def mark(keys: Keys, tenant: str, kind: str, value: str) -> str:
    """What a request, or a receipt, keeps of a pseudonym: a keyed hash of it."""
    return keys.hash("erasure", tenant, kind, value)


def bare(clean: Clean) -> Clean:
    """A record without text and without anything that ties it to a person or to another record."""
    fact = msgspec.structs.replace(clean.fact, id=None, run=None, user=None, session=None, trace=None, about=None)
    return msgspec.structs.replace(clean, fact=fact, content=None, span=None, parent=None)


def bared(table: Table) -> tuple[str, ...]:
    """The columns of a table that are emptied; of a table of text the whole row goes instead."""
    return () if table.has_text else tuple(name for name in table.names if name in BARED)


def bare_row(table: Table, row: Row) -> Row | None:
    """What is left of a stored row (with or without its seal at the end); None when nothing is."""
    if table.has_text:
        return None
    emptied = set(bared(table))
    return tuple("" if name in emptied else value for name, value in zip(table.names, row, strict=False))
