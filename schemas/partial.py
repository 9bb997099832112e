"""The partial (`tokentrail.partial.v2`): what `meter` says of one source partition, and `judge` merges.

A cell is an *absolute* aggregate, never a difference, and says which source positions it covers. Repeating a record is
therefore harmless, and of two values of the same cell the one that reached further is right. Two cells with different
identities hold different facts: what a key did in a stretch of time is the sum of all its cells there.
"""

from __future__ import annotations

import msgspec

# The first item names the dimension, the others its values: ("tenant", tenant), ("feature", tenant, feature),
# ("model", tenant, feature, provider, model), ("user", tenant, keyed hash), ("provider", provider, model), ...; all of
# them: `pipeline.windows.keys`.
Key = tuple[str, ...]

# What a cell counts: ("call", tenant, feature, provider, model, prompt name, prompt version, variant, environment,
# team), the same with "judged" for what is said about calls and with "canary"; ("user", tenant, keyed hash);
# ("redaction", tenant). The judge adds a route's cells up under each of its keys.
Source = tuple[str, ...]


class Judged(msgspec.Struct, array_like=True, gc=False):
    """What evaluations of one name said.

    Attributes:
        count: How many had a score.
        thousandths: Sum of the scores, in thousandths.
        squares: Sum of the squared scores, in thousandths; stops growing at 2^62.
        labels: How many had which label.
    """

    count: int = 0
    thousandths: int = 0
    squares: int = 0
    labels: dict[str, int] = {}


class Failure(msgspec.Struct, array_like=True, gc=False):
    """Failed calls with the same message, as far as what varies in it has been taken out.

    Attributes:
        count: How many.
        at: Source offset of the newest (of the same partition as the cell).
        type: Error type, readable.
        http_status: HTTP status, 0 where there was none.
        words: Keyed hash of each word of the message, `*` for what was taken out.
    """

    count: int = 0
    at: int = -1
    type: str = ""
    http_status: int = 0
    words: tuple[str, ...] = ()


class Quality(msgspec.Struct, array_like=True, gc=False):
    """How good answers were; of features, prompts and variants. Merged as `Bucket` is.

    Attributes:
        refusals: Calls that were refused, declared by status or derived from the answer.
        schema_checked: Calls that say whether their output had the right form.
        schema_invalid: Those of them whose output had not.
        guarded: Calls that ran through guardrails.
        guard_hits: Those of them in which at least one was triggered.
        guardrails: How often each was triggered.
        retrievals: Calls with retrieved documents, wanted or found.
        requested: Documents they wanted.
        hits: Documents that were found.
        misses: Calls that found none.
        liked: Feedback with a positive sign.
        disliked: Feedback with a negative sign.
        rated: All feedback.
        judged: Evaluations by name; at most 16 names in a cell, the others under `other`.
        runs: Sketch of the durations of runs, in ms, counted in the minute in which they were known to be over.
        failures: Failed calls by the keyed hash of their words; at most 4 in a cell. Only in cells on their way: the
            judge takes them out.
        samples: Source offset of the newest call of each kind (`refusal`, `schema`, `guardrail`, `retrieval`,
            `feedback`, `evaluation`), where to look first.
    """

    refusals: int = 0
    schema_checked: int = 0
    schema_invalid: int = 0
    guarded: int = 0
    guard_hits: int = 0
    guardrails: dict[str, int] = {}
    retrievals: int = 0
    requested: int = 0
    hits: int = 0
    misses: int = 0
    liked: int = 0
    disliked: int = 0
    rated: int = 0
    judged: dict[str, Judged] = {}
    runs: dict[int, int] = {}
    failures: dict[str, Failure] = {}
    samples: dict[str, int] = {}


class Shape(msgspec.Struct, array_like=True, gc=False):
    """How answers and questions are distributed; of features, prompts and variants. Merged as `Bucket` is.

    Attributes:
        finishes: Calls by finish reason.
        labels: Calls by output label; at most 24 in a cell, the others under `other`.
        languages: Calls by the answer's language.
        models: Calls by the model that answered; at most 8 in a cell, the others under `other`.
        lengths: Calls by length bucket of the answer.
        topics: Calls by keyed topic bucket of the question; up to four of a call.
    """

    finishes: dict[str, int] = {}
    labels: dict[str, int] = {}
    languages: dict[str, int] = {}
    models: dict[str, int] = {}
    lengths: dict[int, int] = {}
    topics: dict[int, int] = {}


class Bucket(msgspec.Struct, array_like=True, gc=False):
    """Aggregate of the calls of one key in one stretch of event time. Mutable: it is folded in place.

    Every field is an integer or a map to integers and is merged by addition (`max_...` and `slowest_...` by maximum),
    so that a merge has one result in whatever order it is done. The sketches are maps of `pipeline.windows.sketch`.

    Attributes:
        calls: All calls.
        cost_nano_usd: Sum over the calls whose price is known.
        cost_squares: Sum of the squared costs, in squared micro-dollars; how unequal calls are. Stops growing at 2^62.
        unpriced: Calls whose price is unknown.
        max_cost_nano_usd: The most expensive call.
        max_cost_at: Its source offset (of the same partition as the cell); of several the highest.
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
        facts: Everything that was counted here: calls, and what was said about calls.
        failed_at: Source offset of the newest call that did not end `ok`.
        retries: Sum of what producers say they have tried again.
        output_chars: Sum of the answers' lengths.
        patient: Calls that came back after a rate limit as late as they were told, or later each time.
        impatient: Calls that came back after a rate limit sooner than that.
        quality: How good answers were; None where the dimension does not count it.
        shape: How they are distributed; None where the dimension does not count it.
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
    facts: int = 0
    failed_at: int = -1
    retries: int = 0
    output_chars: int = 0
    patient: int = 0
    impatient: int = 0
    quality: Quality | None = None
    shape: Shape | None = None


class Cell(msgspec.Struct, array_like=True, gc=False):
    """One absolute aggregate: a source, a minute or an hour, and the positions it covers.

    Attributes:
        source: What is counted.
        hour: True for an hour, which holds only what came too late for its minute; False for a minute.
        start: Hours or minutes since 1970.
        since: Source offset of the first fact in it. A cell that was dropped from memory and begun again for a late
            event has another `since`, and both count.
        upto: Source offset of the last fact in it; of two values with the same identity the higher one is right.
        bucket: The aggregate.
    """

    source: Source
    hour: bool
    start: int
    since: int
    upto: int
    bucket: Bucket


class Glimpse(msgspec.Struct, array_like=True, gc=False):
    """Calls and cost of a minute that goes on, for what cannot wait for its end. Absolute, as a cell is.

    Attributes:
        source: As in its cell.
        start: Minutes since 1970.
        since: As in its cell.
        upto: Source offset of the last fact in it.
        calls: All calls.
        cost_nano_usd: Sum over the calls whose price is known.
        max_cost_nano_usd: The most expensive call.
    """

    source: Source
    start: int
    since: int
    upto: int
    calls: int
    cost_nano_usd: int
    max_cost_nano_usd: int


class Partials(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.partial.v2"):
    """Cells of one source partition that have changed, of one tenant.

    Attributes:
        partition: Source partition (of `calls.raw`).
        epoch: Epoch of the source topic.
        next_offset: Source position that has been reached.
        tenant: Tenant of the cells.
        cells: Changed cells of minutes that are over, and of hours.
        glimpses: What minutes that go on have come to.
        watermark: Event time in milliseconds, on the last record of a flush only: every cell of a minute that ended
            at or before it has been published as it then stood.
        counts: Running totals of what is not in the cells: `late`, `expired`, `backfill`, `evicted_users`.
        maker: Who counted: `meter`, or `sink` for what only clean records show. Each has its own cells.
        kept_minutes: How long a minute stays open after it ended.
    """

    partition: int
    epoch: int
    next_offset: int
    tenant: str = ""
    cells: tuple[Cell, ...] = ()
    glimpses: tuple[Glimpse, ...] = ()
    watermark: int | None = None
    counts: dict[str, int] = {}
    maker: str = "meter"
    kept_minutes: int = 5
