"""The control (`tokentrail.control.v1`): switches, budgets, policies, holds, erasures, prices, keys, epochs.

The topic is compacted: a record's Kafka key names what it replaces. Versioned kinds carry the version in the key, so
that compaction keeps every version. A release is a record, never a tombstone.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ControlKind = Literal[
    "switch", "budget", "policy", "prices", "keys", "epoch", "release", "rules", "hold", "erasure", "installation"
]

# What a policy can do with a finding in text.
Action = Literal["replace", "mask", "drop", "pseudonym", "encrypt"]

# A version takes effect this long after its append time, so that every stage has read it by then.
EFFECT_DELAY_MS = 30_000


class Control(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.control.v1"):
    """One control record; the meaning of `body` belongs to `kind`.

    Attributes:
        kind: What is controlled.
        selector: To what it applies (`tenant`, `feature`, `model`, ...); empty is everything.
        owner: Who set it (a person or a policy).
        version: Of versioned kinds, from 1; 0 for the others.
        body: The content.
        cause: Id of the anomaly that led to it, where there is one.
        set_at: Milliseconds since 1970, by the writer's clock; the order is the log's.
    """

    kind: ControlKind
    selector: dict[str, str] = {}
    owner: str = ""
    version: int = 0
    body: dict[str, Any] = {}
    cause: str | None = None
    set_at: int = 0

    def key(self) -> str:
        """The Kafka key: kind, selector, owner and version, so that compaction keeps what must be kept."""
        selector = ",".join(f"{name}={self.selector[name]}" for name in sorted(self.selector))
        return f"{self.kind}|{selector}|{self.owner}|{self.version}"


class Epoch(msgspec.Struct, frozen=True):
    """Body of an `epoch` control: one incarnation of one topic."""

    topic: str
    ordinal: int
    topic_id: str
    closed_at: int | None = None


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Body of a `budget` control: how much what its selector names may cost in a day and in a month, both in UTC.

    A budget is let go by a record that says `removed`, never by a tombstone. Of several owners' budgets for the same
    selector the lowest limits hold.

    Attributes:
        day_usd: Limit of a day; None for none.
        month_usd: Limit of a calendar month; None for none.
        near: From this part of a limit on it is near.
        currency: The currency; only `USD`.
        removed: It is let go.
        note: Why it is there, in the words of who set it.
    """

    day_usd: Annotated[float, Meta(gt=0, le=10**9)] | None = None
    month_usd: Annotated[float, Meta(gt=0, le=10**9)] | None = None
    near: Annotated[float, Meta(gt=0, lt=1)] = 0.8
    currency: Literal["USD"] = "USD"
    removed: bool = False
    note: str = ""


class Erasure(msgspec.Struct, frozen=True):
    """Body of an `erasure` control: whose records are to be erased, from now on and backwards.

    The request's number is its place among all erasure controls in the order of the log, from 1; the selector names the
    request, so that compaction keeps every one. There is no value and no pseudonym in it, only keyed hashes of
    pseudonyms: what stands here for ever does not bring back what was erased.

    Attributes:
        request: Id of the request.
        tenant: As it stands in records.
        kind: What is selected.
        hashes: Keyed hash (purpose `erasure`) of the selected pseudonym under each version of the tenant's keys.
        reason: Why, in the words of who asked.
    """

    request: str
    tenant: str
    kind: Literal["user", "run", "id"]
    hashes: tuple[str, ...]
    reason: str = ""
