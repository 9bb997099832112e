"""The clean record (`tokentrail.clean.v1`): what `redact` makes of one raw record, ready to be rows.

Built from an allow-list: each field is a number, an enumeration, an identifier (safe characters or a keyed hash) or
text that went through redaction. Retention and the columns that tables are partitioned by are stamped here, once, by
the policy in force at `received_at`, so that a later policy can never split a range that is half inserted.
"""

from __future__ import annotations

import msgspec

from schemas.fact import Fact
from schemas.position import Position


class Producer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Which producer instance sent the event, for loss accounting."""

    instance: str | None = None
    sequence: int | None = None
    library: str | None = None


class HeartbeatCounts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a producer instance says it has done."""

    emitted: int = 0
    delivered: int = 0
    refused: int = 0
    dropped: int = 0
    last_sequence: int | None = None
    closing: bool = False


class Content(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Redacted text, field by field. JSON strings where the field was structured.

    `other` holds small texts by path (error message, comment, free identifiers that may not be read elsewhere).
    """

    input: str = ""
    output: str = ""
    tool_calls: str = ""
    other: dict[str, str] = {}


class Stamp(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Versions and lives decided at `received_at`.

    Attributes:
        metadata_days: Retention of the metadata row, in days.
        text_days: Retention of the text row, in days; 0 keeps no text at all.
        policy: Version of the retention and content policy.
        redaction: Digest of the redaction engine (recognisers, patterns, model).
        keys: Version of the tenant's pseudonym keys.
    """

    metadata_days: int = 0
    text_days: int = 0
    policy: int = 0
    redaction: str = ""
    keys: int = 1


class Dead(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why a record could not be used: no text, no value of the record."""

    reason: str
    path: str = ""
    size_bytes: int = 0
    hash: str = ""


class Replay(msgspec.Struct, frozen=True, gc=False):
    """The position that a record was made of again, and when the broker took that one (milliseconds since 1970)."""

    of: Position
    received_at: int


class Clean(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="schema", tag="tokentrail.clean.v1"):
    """One clean record; `fact` carries position, identifiers, numbers and money exactly as `measure` would say them."""

    fact: Fact
    stamp: Stamp = Stamp()
    content: Content | None = None
    producer: Producer | None = None
    heartbeat: HeartbeatCounts | None = None
    dead: Dead | None = None
    replay: Replay | None = None
    span: str | None = None
    sources: tuple[str, ...] = ()
    parent: str | None = None
    parameters: dict[str, float] = {}
    tool_names: tuple[str, ...] = ()
    tag_keys: tuple[str, ...] = ()
    redactions: dict[str, int] = {}
    redaction_failures: dict[str, int] = {}
    dropped_fields: int = 0
    content_mode: str = "full"
