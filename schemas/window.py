"""The window (`tokentrail.window.v1`): one closed stretch of event time of one key, over all source partitions."""

from __future__ import annotations

import msgspec

from schemas.partial import Bucket
from schemas.position import Position


class Quantiles(msgspec.Struct, frozen=True):
    """Quantiles of a sketch in milliseconds, each within 1 % of the true value; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """By which rules a key is judged.

    Attributes:
        judged: By rule, since when there is enough to judge by (milliseconds since 1970).
        waiting: By rule, what there is too little of, as in `5 of 168 hours`.
    """

    judged: dict[str, int] = {}
    waiting: dict[str, str] = {}


class Window(msgspec.Struct, frozen=True, omit_defaults=True):
    """One closed window; a late event makes a further revision. Readers keep the highest revision of an identity.

    Identity: `dimension`, `subject`, `size_s`, `start`.

    Attributes:
        dimension: `tenant`, `feature`, `model`, `user`, `provider`, `prompt`, `variant`, `canary` or `redaction`.
        subject: Readable identifiers and keyed hashes by name.
        size_s: Length in seconds: 60, 300, 3,600, 86,400 or 604,800. Weeks begin at every midnight, so they overlap.
        start: Milliseconds since 1970; the end is exclusive.
        revision: From 1.
        calls: Calls in it.
        cost_nano_usd: Sum over the calls whose price is known.
        unpriced: Calls whose price is unknown.
        max_cost_nano_usd: The most expensive call.
        input_tokens: Sum, cached tokens included.
        cached_tokens: Sum.
        cache_write_tokens: Sum.
        output_tokens: Sum, reasoning tokens included.
        reasoning_tokens: Sum.
        errors: Calls that did not end `ok`, by status.
        latency_ms: Quantiles of the latency.
        ttft_ms: Quantiles of the time to the first token.
        run_ms: Quantiles of the durations of runs that ended.
        bucket: All that was counted, in the windows of five minutes and of an hour: what rules can be tried out on.
            What marks single calls in it (`..._at`, `samples`) is left out.
        standing: By which rules the key is judged; in some windows of an hour, at least every six hours.
    """

    dimension: str
    subject: dict[str, str]
    size_s: int
    start: int
    revision: int
    calls: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0
    max_cost_nano_usd: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    errors: dict[str, int] = {}
    latency_ms: Quantiles = Quantiles()
    ttft_ms: Quantiles = Quantiles()
    run_ms: Quantiles = Quantiles()
    bucket: Bucket | None = None
    standing: Standing | None = None


class Windows(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.window.v1"):
    """Windows of one tenant that closed, or were revised, at the same watermark (empty tenant: `provider` windows)."""

    tenant: str
    closed_at: int
    windows: tuple[Window, ...]


class Late(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.late.v1"):
    """One event that came behind the allowed lateness: it corrected its window by a revision, and is told here.

    Attributes:
        tenant: Its tenant.
        position: (epoch, partition, offset) of the event.
        event_ms: Its event time in milliseconds.
        received_at: When the broker took it, in milliseconds.
        late_by_ms: How far behind its partition's watermark it was.
    """

    tenant: str
    position: Position
    event_ms: int
    received_at: int
    late_by_ms: int
