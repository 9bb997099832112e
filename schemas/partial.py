"""The partial (`tokentrail.partial.v1`): what `meter` says of one source partition, and `judge` merges.

A cell is an *absolute* aggregate, never a difference, and says which source positions it covers. Repeating a record is
therefore harmless, and of two values of the same cell the one that reached further is right.
"""

from __future__ import annotations

import msgspec

# The first item names the dimension, the others its values: ("tenant", tenant), ("feature", tenant, feature),
# ("model", tenant, feature, provider, model), ("user", tenant, keyed hash), ("provider", provider, model).
Key = tuple[str, ...]


class Bucket(msgspec.Struct, array_like=True, gc=False):
    """Aggregate of the calls of one key in one stretch of event time. Mutable: it is folded in place.

    Every field is an integer or a map to integers and is merged by addition (`max_cost_nano_usd` by maximum), so that
    a merge has one result in whatever order it is done. The sketches are maps of `pipeline.windows.sketch`.

    Attributes:
        calls: All calls.
        cost_nano_usd: Sum over the calls whose price is known.
        cost_squares: Sum of the squared costs, in squared micro-dollars; how unequal calls are. Stops growing at 2^62.
        unpriced: Calls whose price is unknown.
        max_cost_nano_usd: The most expensive call.
        max_cost_at: Its source offset (of the same partition as the cell; meaningless in a sum over partitions).
        input_tokens: Sum, cached tokens included.
        cached_tokens: Sum.
        cache_write_tokens: Sum.
        output_tokens: Sum, reasoning tokens included.
        reasoning_tokens: Sum.
        errors: Calls that did not end `ok`, by status.
        latency: Sketch of latencies in milliseconds.
        ttft: Sketch of times to the first token in milliseconds.
        slowest_ms: The slowest call's latency.
        slowest_at: Its source offset; see `max_cost_at`.
    """

    calls: int = 0
    cost_nano_usd: int = 0
    cost_squares: int = 0
    unpriced: int = 0
    max_cost_nano_usd: int = 0
    max_cost_at: int = -1
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    errors: dict[str, int] = {}
    latency: dict[int, int] = {}
    ttft: dict[int, int] = {}
    slowest_ms: int = 0
    slowest_at: int = -1


class Cell(msgspec.Struct, array_like=True, gc=False):
    """One absolute aggregate: a key, a minute or an hour, and the source positions it covers.

    Attributes:
        key: Dimension and values.
        hour: True for an hour, False for a minute.
        start: Hours or minutes since 1970.
        since: Source offset of the first fact in it. A cell that was dropped from memory and begun again for a late
            event has another `since`, and both count.
        upto: Source offset of the last fact in it; of two values with the same identity the higher one is right.
        bucket: The aggregate.
    """

    key: Key
    hour: bool
    start: int
    since: int
    upto: int
    bucket: Bucket


class Partials(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.partial.v1"):
    """Cells of one source partition that have changed, of one tenant (empty for `provider` keys).

    Attributes:
        partition: Source partition (of `calls.raw`).
        epoch: Epoch of the source topic.
        next_offset: Source position that has been reached.
        tenant: Tenant of the cells.
        cells: Changed cells.
        watermark: Event time in milliseconds, on the last record of a flush only: every cell of a minute that ended
            at or before it has been published as it then stood.
        counts: Running totals of what is not in the cells: `late`, `expired`, `backfill`, `evicted_users`.
    """

    partition: int
    epoch: int
    next_offset: int
    tenant: str = ""
    cells: tuple[Cell, ...] = ()
    watermark: int | None = None
    counts: dict[str, int] = {}
