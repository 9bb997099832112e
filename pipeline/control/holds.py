"""Legal holds: whose rows stay although their life is over or their erasure was asked for. Pure.

A hold is two records on `llm.controls`, placed and later released, each with its own key, so that compaction keeps
both. It names a person, run or call by marks: keyed hashes of what rows show, so that the record, which stays for ever,
keeps nobody's pseudonym; one for every key version, so that a new version hides nobody. A hold binds every expiry that
begins after it was placed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from pipeline.audit.erasing import mark
from pipeline.intake.identify import Identifiers
from pipeline.keys import Keys
from schemas.control import Control, ControlKind

KIND: Final[ControlKind] = "hold"
# Key versions that a hold is good for. A version is a rotation: at one a year it lasts longer than any policy.
KEY_VERSIONS: Final = 32
_HASH: Final = re.compile(r"[0-9a-f]{32}")


class Scope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a hold covers: of one tenant what fits everything that is named. As rows show it, or as marks of that.

    Attributes:
        tenant: Its readable name or hash, never marked.
        users: Pseudonyms of one person, one a key version; None: everybody.
        runs: Hashes of one run, one a key version; None: every run.
        ids: Event ids of one call; None: every call.
        from_ms: Received at or after, milliseconds since 1970; None: from the beginning.
        to_ms: Received before; None: without end.
    """

    tenant: str
    users: tuple[str, ...] | None = None
    runs: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def names_calls(self) -> bool:
        """Whether it names a person, a run or a call, so that a row must say whose it is to be covered."""
        return any(named is not None for named in (self.users, self.runs, self.ids))

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether it covers a chained row, given by its columns' names and values as `pipeline.audit.tables` has them.

        A row of `call_content` does not say whose it is: ask with the row of its call, which has the same position.
        """
        if row["tenant"] != self.tenant:
            return False
        if not (self.from_ms or 0) <= row["received_at"] < (self.to_ms or 1 << 63):
            return False
        return (
            (self.users is None or row.get("user") in self.users)
            and (self.runs is None or row.get("run") in self.runs)
            and (self.ids is None or row.get("id") in self.ids or row.get("about") in self.ids)
        )

    def marked(self, keys: Keys) -> Scope:
        """The same with marks instead of what rows show: what may be kept."""

        def marks(kind: str, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(mark(keys, self.tenant, kind, value) for value in values)

        return msgspec.structs.replace(
            self, users=marks("user", self.users), runs=marks("run", self.runs), ids=marks("id", self.ids)
        )

    def resolved(self, keys: Keys, found: Mapping[str, Iterable[str]]) -> Scope:
        """Of a marked scope the one that rows can be compared with.

        Args:
            keys: The key store.
            found: By kind (`user`, `run`, `id`) the values that rows show; what is not among them is not covered.
        """

        def values(kind: str, marks: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if marks is None:
                return None
            known = frozenset(marks)
            return tuple(
                value for value in found.get(kind, ()) if value and mark(keys, self.tenant, kind, value) in known
            )

        return msgspec.structs.replace(
            self, users=values("user", self.users), runs=values("run", self.runs), ids=values("id", self.ids)
        )


class Placed(msgspec.Struct, frozen=True):
    """Body of version 1 of a `hold` control; the scope is marked."""

    scope: Scope
    reason: str
    by: str


class Released(msgspec.Struct, frozen=True):
    """Body of version 2 of a `hold` control."""

    reason: str
    by: str


class Hold(msgspec.Struct, frozen=True):
    """One hold and what became of it; times are append times at the broker, milliseconds since 1970."""

    id: str
    placed: Placed
    placed_at: int
    released: Released | None = None
    released_at: int | None = None

    @property
    def scope(self) -> Scope:
        """What it covers, marked."""
        return self.placed.scope

    @property
    def in_force(self) -> bool:
        """Whether it still holds."""
        return self.released is None


class Holds:
    """All holds, the released ones too.

    Args:
        keys: The key store.
        records: (append time in ms, control) of kind `hold`, in log order.
    """

    def __init__(self, keys: Keys, records: Iterable[tuple[int, Control]]) -> None:
        self._keys = keys
        found: dict[str, Hold] = {}
        releases: dict[str, tuple[Released, int]] = {}
        for at_ms, control in records:
            id = control.selector.get("hold", "")
            if control.version == 1:
                # The first record of an id counts: nobody narrows a hold by writing it again.
                found.setdefault(id, Hold(id, msgspec.convert(control.body, Placed), at_ms))
            else:
                releases.setdefault(id, (msgspec.convert(control.body, Released), at_ms))
        self.all: tuple[Hold, ...] = tuple(
            Hold(id, hold.placed, hold.placed_at, *releases.get(id, (None, None))) for id, hold in found.items()
        )

    @property
    def in_force(self) -> tuple[Hold, ...]:
        """Those that hold now."""
        return tuple(hold for hold in self.all if hold.in_force)

    def get(self, id: str) -> Hold | None:
        """A hold by its id."""
        return next((hold for hold in self.all if hold.id == id), None)

    def covers(self, row: Mapping[str, Any]) -> bool:
        """Whether any hold in force covers a chained row; see `Scope.covers`."""
        said = {"user": [row.get("user", "")], "run": [row.get("run", "")], "id": [row.get("id"), row.get("about")]}
        return any(hold.scope.resolved(self._keys, said).covers(row) for hold in self.in_force)


def scope_of(
    keys: Keys,
    tenant: str,
    *,
    user: str | None = None,
    run: str | None = None,
    id: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Scope:
    """A scope out of plain values, as rows show it, not marked; `tenant` is the name that rows show.

    Of user and run the keyed hash that rows show will do too.
    """
    whos = [Identifiers(keys, lambda _: True, version) for version in range(1, KEY_VERSIONS + 1)]
    tenant = whos[0].tenant(tenant)

    def each(plain: str | None, hashed: Iterable[str | None]) -> tuple[str, ...] | None:
        if plain is None:
            return None
        shown = [plain] if _HASH.fullmatch(plain) else []
        return tuple(dict.fromkeys([*shown, *(value for value in hashed if value)]))

    return Scope(
        tenant,
        users=each(user, (who.hashed(tenant, "user", user, "pseudonym") for who in whos)),
        runs=each(run, (who.hashed(tenant, "run", run) for who in whos)),
        ids=each(id, (who.event_id(tenant, id) for who in whos)),
        from_ms=from_ms,
        to_ms=to_ms,
    )


def placing(id: str, placed: Placed, set_at: int) -> Control:
    """The record that places a hold."""
    return Control(kind=KIND, selector={"hold": id}, version=1, body=msgspec.to_builtins(placed), set_at=set_at)


def releasing(id: str, released: Released, set_at: int) -> Control:
    """The record that releases a hold; never a tombstone."""
    return Control(kind=KIND, selector={"hold": id}, version=2, body=msgspec.to_builtins(released), set_at=set_at)
