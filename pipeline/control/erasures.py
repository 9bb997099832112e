"""Requests to erase a person, a run or one call: how one is made out of plain values, and how they are read. Pure.

A request stands on `llm.controls` for ever and in order; its number is its place in that order. It holds keyed hashes
of pseudonyms only, under every key version there may ever be, so that a rotation of keys hides nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from pipeline.audit.erasing import mark
from pipeline.control.holds import scope_of
from pipeline.errors import UsageError
from pipeline.keys import Keys
from schemas.control import Control, Erasure

KIND: Final = "erasure"
Selected = Literal["user", "run", "id"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        number: Its place among all, from 1: what `Intent.erasures` counts.
        asked_at: Append time at the broker, milliseconds since 1970.
        by: Who asked.
        body: What is asked.
    """

    number: int
    asked_at: int
    by: str
    body: Erasure

    @property
    def id(self) -> str:
        """Its id."""
        return self.body.request


def read(records: Iterable[tuple[int, Control]]) -> tuple[Request, ...]:
    """All requests, out of (append time in ms, control) of kind `erasure` in log order.

    One that this version cannot read keeps its number and names nobody.
    """
    found = []
    for number, (at_ms, control) in enumerate(records, 1):
        try:
            body = msgspec.convert(control.body, Erasure)
        except msgspec.ValidationError:
            body = Erasure("", "", "id", ())
        found.append(Request(number, at_ms, control.owner, body))
    return tuple(found)


def ask(
    keys: Keys, request: str, tenant: str, kind: Selected, value: str, *, by: str, reason: str, set_at: int
) -> Control:
    """The record that asks for an erasure; `value` is hashed here and kept nowhere.

    Args:
        keys: The key store.
        request: Id of the request, never used before.
        tenant: The name that rows show.
        kind: What `value` is.
        value: As the application knows it; of user and run the keyed hash that rows show will do too.
        by: Who asks.
        reason: Why; it is kept for ever, so it must not name the person.
        set_at: Milliseconds since 1970.

    Raises:
        UsageError: The value is empty, or the reason or who asks says it.
    """
    if not value.strip():
        raise UsageError(f"Say whose records: --{kind} is empty.")
    if value.casefold() in f"{reason} {by}".casefold():
        raise UsageError(f"The reason is kept for ever, so it must not say the {kind} itself. Name a ticket instead.")
    if kind == "user":
        scope = scope_of(keys, tenant, user=value)
    elif kind == "run":
        scope = scope_of(keys, tenant, run=value)
    else:
        scope = scope_of(keys, tenant, id=value)
    pseudonyms = scope.users or scope.runs or scope.ids or ()
    body = Erasure(
        request=request,
        tenant=scope.tenant,
        kind=kind,
        hashes=tuple(mark(keys, scope.tenant, kind, pseudonym) for pseudonym in pseudonyms),
        reason=reason,
    )
    return Control(
        kind=KIND, selector={"request": request}, owner=by, version=1, body=msgspec.to_builtins(body), set_at=set_at
    )
