"""The chained tables: which columns they have, in which order, and how each enters the canonical leaf.

Declared once for rows, leaves, the insert's encoding and reading back; a test holds them against the migrations. Must
not know ClickHouse's wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

# How a value stands in a row tuple of ours, and so in the leaf:
#   uint, int      int                          float          float
#   bool           bool                         text, word     str (word: few distinct values)
#   ms             int, milliseconds since 1970  money          int, nano-dollars
#   bytes16/32     bytes of that length         words, texts   tuple of str
#   counts         dict of str to int           numbers        dict of str to float
#   texts_by_path  dict of str to str
Kind = Literal[
    "uint16", "uint32", "uint64", "int64", "float", "bool", "text", "word", "ms", "money", "bytes16", "bytes32",
    "words", "texts", "counts", "numbers", "texts_by_path",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """One stored column; `nullable` allows None. A `covered` one enters the leaf only through the commitment."""

    name: str
    kind: Kind
    nullable: bool = False
    covered: bool = False


# Keyed hash of the leaf, so it is no part of it.
SEAL: Final = Column("seal", "bytes16", covered=True)


@dataclass(frozen=True)
class Table:
    """One chained table; a row is a tuple of its columns' values in this order: identity first, the seal last.

    Attributes:
        name: In ClickHouse.
        columns: What is stored.
        names: Of the columns.
        leaf_width: How many columns enter the leaf; covered ones and the seal stand behind them.
        has_text: Whether there are covered ones: the last of the leaf's columns is their commitment.
    """

    name: str
    columns: tuple[Column, ...]
    names: tuple[str, ...] = field(init=False)
    leaf_width: int = field(init=False)
    has_text: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", (*self.columns, SEAL))
        object.__setattr__(self, "names", tuple(column.name for column in self.columns))
        object.__setattr__(self, "leaf_width", [column.covered for column in self.columns].index(True))
        object.__setattr__(self, "has_text", self.leaf_width < len(self.columns) - 1)


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from lines of `kind: name name? ...`; a question mark allows None."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        head, names = line.split(":")
        kind, _, covered = head.partition(" ")
        found += [
            Column(name.rstrip("?"), kind, name.endswith("?"), covered == "covered")  # type: ignore[arg-type]
            for name in names.split()
        ]
    return tuple(found)


# The first columns of every chained table, so that (epoch, partition, offset), tenant, received_at and retention_days
# are row[0:6].
_IDENTITY: Final = """
    uint32: epoch partition
    uint64: offset
    word: tenant
    ms: received_at
    uint16: retention_days
"""
OFFSET, RECEIVED_AT, RETENTION_DAYS = 2, 4, 5

CALLS: Final = Table(
    "calls",
    _columns(
        _IDENTITY
        + """
    text: id
    word: kind
    ms: ts
    bool: backfill
    word: environment team service feature
    text: run
    uint64: step?
    text: user session trace span parent
    word: provider model response_model operation prompt_name prompt_version variant
    numbers: parameters
    bool: streaming?
    uint64: input_tokens? cached_tokens? cache_write_tokens? output_tokens? reasoning_tokens?
    float: latency_ms? ttft_ms?
    uint64: retries?
    bool: cache_hit?
    uint64: prompt_size_bytes? output_chars? input_messages
    word: status finish_reason error_type
    uint16: http_status?
    float: retry_after_s?
    bool: schema_valid?
    word: output_label
    bool: refusal?
    words: guardrails
    uint64: guardrails_triggered?
    words: tool_names
    uint64: tool_errors
    words: tag_keys
    uint64: retrieval_requested? retrieval_hits?
    texts: retrieval_sources
    money: cost_usd? list_cost_usd?
    word: cost_source price_version language
    int64: length_bucket? topic_bucket?
    word: content_mode
    bytes32: content_commitment
    uint16: text_days
    counts: redactions redaction_failures
    uint64: dropped_fields policy_version
    word: redaction_version
    uint64: key_version
    word: producer
    uint64: producer_sequence?
    word: producer_library
    """
    ),
)

CALL_CONTENT: Final = Table(
    "call_content",
    _columns(
        _IDENTITY
        + """
    text: id
    bytes32: commitment
    bytes16 covered: salt
    text covered: input output tool_calls
    texts_by_path covered: other
    """
    ),
)

_JUDGEMENT_HEAD: Final = """
    text: id
    ms: ts
    bool: backfill
    word: environment team service feature model prompt_name prompt_version variant
    text: run user session trace about
"""
_JUDGEMENT_TAIL: Final = """
    word: label
    bytes32: content_commitment
    uint16: text_days
    uint64: policy_version
    word: redaction_version
    uint64: key_version
    word: producer
    uint64: producer_sequence?
"""

EVALUATIONS: Final = Table(
    "evaluations",
    _columns(_IDENTITY + _JUDGEMENT_HEAD + "word: name\n float: score?" + _JUDGEMENT_TAIL),
)

FEEDBACK: Final = Table(
    "feedback",
    _columns(_IDENTITY + _JUDGEMENT_HEAD + "float: rating?" + _JUDGEMENT_TAIL),
)

HEARTBEATS: Final = Table(
    "heartbeats",
    _columns(
        _IDENTITY
        + """
    text: id
    ms: ts
    word: environment service producer
    uint64: producer_sequence?
    word: producer_library
    uint64: emitted delivered refused dropped
    int64: last_sequence?
    bool: closing
    """
    ),
)

DEAD_LETTERS: Final = Table(
    "dead_letters",
    _columns(
        _IDENTITY
        + """
    word: reason
    text: path
    uint64: size_bytes
    text: hash
    word: producer
    uint64: producer_sequence?
    """
    ),
)

REPLAYS: Final = Table(
    "replays",
    _columns(
        _IDENTITY
        + """
    uint32: of_epoch of_partition
    uint64: of_offset
    ms: of_received_at
    """
    ),
)

# Of one call there may be several, told apart by the number that the ledger gave them.
REPRICINGS: Final = Table(
    "repricings",
    _columns(
        _IDENTITY
        + """
    uint64: repricing
    ms: repriced_at
    money: cost_before_usd? cost_usd? list_cost_usd?
    word: cost_source price_version
    """
    ),
)

# What ranges put rows into, in the order in which a range's inserts are made; dead letters last, because a refused row
# becomes one.
TABLES: Final[dict[str, Table]] = {
    table.name: table for table in (CALL_CONTENT, CALLS, EVALUATIONS, FEEDBACK, HEARTBEATS, REPLAYS, DEAD_LETTERS)
}
# Every chained table: those, and the one that is written beside them.
CHAINED: Final[dict[str, Table]] = {**TABLES, REPRICINGS.name: REPRICINGS}
