"""The ledger's copy in ClickHouse: what a row of it is, made from a record and from what the fold says of it. Pure.

Every row is sealed like those of the chained tables, so that a change of any of its columns shows without Kafka.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.audit.leaves import leaf, seal
from pipeline.audit.ledger import Verdict
from pipeline.audit.tables import Column, Table
from schemas.ledger import Entry, State

LEDGER: Final = Table(
    "ledger",
    (
        Column("partition", "uint32"),
        Column("ledger_offset", "uint64"),
        Column("appended_at", "ms"),
        Column("writer", "text"),
        Column("steps", "word"),
        Column("verdict", "word"),
        Column("range", "uint64", nullable=True),
        Column("epoch", "uint32", nullable=True),
        Column("first", "uint64", nullable=True),
        Column("next", "uint64", nullable=True),
        Column("rows", "uint64"),
        Column("head", "text"),
        Column("value", "text"),
    ),
)
OFFSET: Final = LEDGER.names.index("ledger_offset")
HEAD: Final = LEDGER.names.index("head")
VALUE: Final = LEDGER.names.index("value")
VERDICT: Final = LEDGER.names.index("verdict")
_NO_STEPS: Final = ("partition", "owner", "seen", "state")
_STEPS: Final = tuple(name for name in Entry.__struct_fields__ if name not in _NO_STEPS)


def row(
    key: bytes, partition: int, offset: int, appended_at: int, value: bytes, verdict: Verdict, state: State
) -> tuple[Any, ...]:
    """The row of one ledger record.

    Args:
        key: Of the seals.
        partition: The ledger's.
        offset: Where the record stands there.
        appended_at: When Kafka took it, milliseconds since 1970.
        value: Its bytes.
        verdict: What the fold says of it.
        state: The fold after it.
    """
    entry = verdict.entry
    intent = None if entry is None else entry.intent
    plain = (
        partition,
        offset,
        appended_at,
        "" if entry is None else entry.owner,
        "" if entry is None else "+".join(name for name in _STEPS if getattr(entry, name) is not None),
        verdict.reason,
        None if intent is None else intent.range,
        None if intent is None else intent.epoch,
        None if intent is None else intent.first,
        None if intent is None else intent.next,
        0 if intent is None else sum(part.rows for part in intent.parts),
        state.head,
        text(value),
    )
    return (*plain, seal(key, leaf(LEDGER, plain)))


def text(value: bytes) -> str:
    """A record's bytes as text. What is no UTF-8 is no record of ours, and stays none."""
    return value.decode("utf-8", "backslashreplace")


def is_sealed(key: bytes, row: tuple[Any, ...]) -> bool:
    """Whether a row of the copy has the seal of what else stands in it."""
    return bool(seal(key, leaf(LEDGER, row)) == row[-1])
