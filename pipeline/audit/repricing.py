"""What a stored call costs by another price book, as rows of `repricings` beside the calls, and which of them count.

Pure. Must not change a call: what it was first taken to cost stays. A repricing is announced in the ledger, inserted as
one block, and then said to stand or not to; of a call's repricings the one with the highest number counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pipeline.audit import spans
from pipeline.audit.leaves import leaf, root, seal
from pipeline.audit.rows import Row
from pipeline.audit.tables import REPRICINGS
from pipeline.pricing import PriceBook
from schemas.event import Usage
from schemas.ledger import Cell, Entry, Part, Repricing, State

# Rows of one repricing, and so of one insert.
MAX_ROWS: Final = 10_000
NUMBER: Final = REPRICINGS.names.index("repricing")


class Call(NamedTuple):
    """A stored call with what counts as its price now; money in nano-dollars, times in milliseconds since 1970."""

    offset: int
    tenant: str
    received_at: int
    ts: int
    provider: str
    model: str
    response_model: str
    input_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    cost: int | None
    list_cost: int | None
    source: str


class New(NamedTuple):
    """A call's new price."""

    call: Call
    cost: int | None
    list_cost: int


def priced(book: PriceBook, call: Call) -> New | None:
    """The price of a call by another book; None where the book has none.

    What the provider reported stays what the call costs; only the list price beside it changes.
    """
    usage = Usage(
        input=call.input_tokens,
        cached=call.cached_tokens,
        cache_write=call.cache_write_tokens,
        output=call.output_tokens,
    )
    at_ms = min(call.ts, call.received_at)
    listed = book.price(
        call.provider or None, call.model or None, call.response_model or None, usage, None, at_ms
    ).list_cost_nano_usd
    if listed is None:
        return None
    return New(call, call.cost if call.source == "reported" else listed, listed)


@dataclass(slots=True)
class Tally:
    """The difference for calls of one kind; money in nano-dollars, of the calls whose price is known.

    Attributes:
        calls: How many were looked at.
        changed: Of them, those whose cost or list price differs.
        found: Of those, the ones that had no price before.
        kept: Calls that have a price and that the book has none for: they keep it.
        before: What counts now.
        after: What would count.
    """

    calls: int = 0
    changed: int = 0
    found: int = 0
    kept: int = 0
    before: int = 0
    after: int = 0

    @property
    def delta(self) -> int:
        """After less before."""
        return self.after - self.before


@dataclass
class Difference:
    """What another book makes of calls.

    Attributes:
        tallies: By (tenant, provider, model that answered, else that was asked for).
    """

    tallies: dict[tuple[str, str, str], Tally] = field(default_factory=dict)

    def take(self, book: PriceBook, call: Call) -> New | None:
        """Count a call in; its new price where that differs from what counts now."""
        key = (call.tenant, call.provider, call.response_model or call.model)
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally()
        new = priced(book, call)
        before = call.cost or 0
        tally.calls += 1
        tally.before += before
        if new is None:
            tally.kept += call.cost is not None
            tally.after += before
            return None
        tally.after += new.cost or 0
        if (new.cost, new.list_cost) == (call.cost, call.list_cost):
            return None
        tally.changed += 1
        tally.found += call.cost is None
        return new

    @property
    def total(self) -> Tally:
        """All of it."""
        sums = Tally()
        for tally in self.tallies.values():
            for name in Tally.__slots__:
                setattr(sums, name, getattr(sums, name) + getattr(tally, name))
        return sums


def made(
    number: int, cell: Cell, epoch: int, partition: int, news: Sequence[New], version: str, at_ms: int, key: bytes
) -> tuple[list[Row], Part]:
    """Sealed rows of one repricing, and how the ledger names them.

    Args:
        number: Of the repricing.
        cell: Of `repricings`, of the calls' life and week.
        epoch: Of the calls.
        partition: Of the calls.
        news: New prices in the order of their offsets, at least one.
        version: Of the price book.
        at_ms: When, milliseconds since 1970.
        key: Of the seals.
    """
    rows, leaves = [], []
    for call, cost, list_cost in news:
        source = "reported" if call.source == "reported" else "computed"
        plain = (
            epoch, partition, call.offset, call.tenant, call.received_at, cell.retention_days,
            number, at_ms, call.cost, cost, list_cost, source, version,
        )  # fmt: skip
        leaves.append(leaf(REPRICINGS, plain))
        rows.append((*plain, seal(key, leaves[-1])))
    offsets = [new.call.offset for new in news]
    return rows, Part(cell, len(rows), root(leaves).hex(), spans.write(offsets[0], offsets))


@dataclass(frozen=True, slots=True)
class Landed:
    """A repricing whose rows stand; `finished_at` is the ledger offset at which that was said."""

    repricing: Repricing
    finished_at: int


def landed(offset: int, before: State, entry: Entry) -> Landed | None:
    """What an accepted ledger record says of a repricing that stands; None when it says nothing of the kind.

    Args:
        offset: Of the record.
        before: The fold before it.
        entry: The record.
    """
    if entry.repriced is None or not entry.repriced.landed or before.repricing is None:
        return None
    return Landed(before.repricing, offset)
