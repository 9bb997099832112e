"""What is added up: a call into buckets, and buckets into one another. Integers only, so that order does not matter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pipeline.windows import sketch
from schemas.fact import Fact
from schemas.partial import Bucket
from schemas.window import Quantiles

QUANTILES: Final = (0.5, 0.95, 0.99)
# JSON integers of 64 bits must hold the sum of squares.
SQUARES_MOST: Final = 2**62


def add_all(buckets: Iterable[Bucket], fact: Fact) -> None:
    """Count one call in several buckets (one for each of its keys)."""
    cost = fact.cost_nano_usd or 0
    square = min((cost // 1_000) ** 2, SQUARES_MOST)
    unpriced = 1 if fact.cost_source == "unknown" else 0
    given = fact.input_tokens or 0
    cached = fact.cached_tokens or 0
    written = fact.cache_write_tokens or 0
    made = fact.output_tokens or 0
    reasoned = fact.reasoning_tokens or 0
    status = fact.status
    latency, latency_ms = None, 0
    if fact.latency_ms is not None:
        latency, latency_ms = sketch.index(fact.latency_ms), int(fact.latency_ms)
    ttft = None if fact.ttft_ms is None else sketch.index(fact.ttft_ms)
    for bucket in buckets:
        bucket.calls += 1
        if cost:
            bucket.cost_nano_usd += cost
            bucket.cost_squares += square
            if bucket.cost_squares > SQUARES_MOST:
                bucket.cost_squares = SQUARES_MOST
            if cost > bucket.max_cost_nano_usd:
                bucket.max_cost_nano_usd = cost
                bucket.max_cost_at = fact.position.offset
        if unpriced:
            bucket.unpriced += 1
        bucket.input_tokens += given
        bucket.output_tokens += made
        if cached:
            bucket.cached_tokens += cached
        if written:
            bucket.cache_write_tokens += written
        if reasoned:
            bucket.reasoning_tokens += reasoned
        if status != "ok":
            bucket.errors[status] = bucket.errors.get(status, 0) + 1
        if latency is not None:
            counts = bucket.latency
            counts[latency] = counts.get(latency, 0) + 1
            if latency_ms > bucket.slowest_ms:
                bucket.slowest_ms = latency_ms
                bucket.slowest_at = fact.position.offset
        if ttft is not None:
            counts = bucket.ttft
            counts[ttft] = counts.get(ttft, 0) + 1


def merge(into: Bucket, other: Bucket) -> None:
    """Add `other` to `into`."""
    into.calls += other.calls
    into.cost_nano_usd += other.cost_nano_usd
    into.cost_squares = min(into.cost_squares + other.cost_squares, SQUARES_MOST)
    into.unpriced += other.unpriced
    if other.max_cost_nano_usd > into.max_cost_nano_usd:
        into.max_cost_nano_usd, into.max_cost_at = other.max_cost_nano_usd, other.max_cost_at
    if other.slowest_ms > into.slowest_ms:
        into.slowest_ms, into.slowest_at = other.slowest_ms, other.slowest_at
    into.input_tokens += other.input_tokens
    into.cached_tokens += other.cached_tokens
    into.cache_write_tokens += other.cache_write_tokens
    into.output_tokens += other.output_tokens
    into.reasoning_tokens += other.reasoning_tokens
    for status, count in other.errors.items():
        into.errors[status] = into.errors.get(status, 0) + count
    if other.latency:
        sketch.merge(into.latency, other.latency)
    if other.ttft:
        sketch.merge(into.ttft, other.ttft)


def merged(buckets: Iterable[Bucket]) -> Bucket:
    """The sum of buckets as a bucket of its own."""
    total = Bucket()
    for bucket in buckets:
        merge(total, bucket)
    return total


def latency_of(counts: sketch.Sketch) -> Quantiles:
    """p50, p95 and p99 of a sketch."""
    p50, p95, p99 = sketch.quantiles(counts, QUANTILES)
    return Quantiles(p50, p95, p99)
