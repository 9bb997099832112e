"""What is added up: a fact into a bucket, buckets into one another. Integers only, so that order does not matter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar

from pipeline.windows import sketch
from schemas.fact import Fact
from schemas.partial import Bucket, Failure, Judged, Quality, Shape
from schemas.window import Quantiles

QUANTILES: Final = (0.5, 0.95, 0.99)
# JSON integers of 64 bits must hold the sums of squares.
SQUARES_MOST: Final = 2**62
SCORE_MOST: Final = 1e6

# What a cell tells apart at most, so that nobody's identifiers make it grow.
LABELS: Final = 24
LANGUAGES: Final = 24
MODELS: Final = 8
GUARDRAILS: Final = 16
EVALUATIONS: Final = 16
VERDICTS: Final = 12
FAILURES: Final = 4
OTHER: Final = "other"

# Statuses that say a call did not work; the others say that somebody did not want it to.
FAILED: Final = ("error", "timeout", "rate_limited")


def failed(errors: dict[str, int]) -> int:
    """Calls that did not work, of `Bucket.errors`."""
    return sum(errors.get(status, 0) for status in FAILED) if errors else 0


def add_call(
    bucket: Bucket, fact: Fact, at: int, latency: int | None, ttft: int | None, patience: bool | None = None
) -> None:
    """Count one call.

    Args:
        bucket: Where.
        fact: The call.
        at: Its source offset.
        latency: Place of its latency in a sketch; None where it has none.
        ttft: Place of its time to the first token likewise.
        patience: Of a call that came back after a rate limit, whether it waited; None of all others.
    """
    bucket.calls += 1
    bucket.facts += 1
    cost = fact.cost_nano_usd
    if cost:
        bucket.cost_nano_usd += cost
        micro = cost // 1_000
        squares = bucket.cost_squares + micro * micro
        bucket.cost_squares = squares if squares < SQUARES_MOST else SQUARES_MOST
        if cost >= bucket.max_cost_nano_usd:
            bucket.max_cost_nano_usd = cost
            bucket.max_cost_at = at
    elif fact.cost_source == "unknown":
        bucket.unpriced += 1
    if fact.input_tokens:
        bucket.input_tokens += fact.input_tokens
    if fact.output_tokens:
        bucket.output_tokens += fact.output_tokens
    if fact.cached_tokens:
        bucket.cached_tokens += fact.cached_tokens
    if fact.cache_write_tokens:
        bucket.cache_write_tokens += fact.cache_write_tokens
    if fact.reasoning_tokens:
        bucket.reasoning_tokens += fact.reasoning_tokens
    status = fact.status
    if status != "ok":
        bucket.errors[status] = bucket.errors.get(status, 0) + 1
        bucket.failed_at = at
    if latency is not None:
        counts = bucket.latency
        counts[latency] = counts.get(latency, 0) + 1
        latency_ms = fact.latency_ms
        if latency_ms is not None and latency_ms >= bucket.slowest_ms:
            bucket.slowest_ms = int(latency_ms)
            bucket.slowest_at = at
    if ttft is not None:
        counts = bucket.ttft
        counts[ttft] = counts.get(ttft, 0) + 1
    if fact.retries:
        bucket.retries += fact.retries
    if fact.output_chars:
        bucket.output_chars += fact.output_chars
    if patience is not None:
        if patience:
            bucket.patient += 1
        else:
            bucket.impatient += 1
    if bucket.quality is not None:
        _add_quality(bucket.quality, fact, at)
    if bucket.shape is not None:
        _add_shape(bucket.shape, fact)


def _add_quality(quality: Quality, fact: Fact, at: int) -> None:
    if fact.refusal:
        quality.refusals += 1
        quality.samples["refusal"] = at
    if fact.schema_valid is not None:
        quality.schema_checked += 1
        if not fact.schema_valid:
            quality.schema_invalid += 1
            quality.samples["schema"] = at
    if fact.guardrails_triggered is not None:
        quality.guarded += 1
        if fact.guardrails_triggered:
            quality.guard_hits += 1
            quality.samples["guardrail"] = at
            for name in fact.guardrails:
                _count(quality.guardrails, name, GUARDRAILS)
    hits = fact.retrieval_hits
    if hits is not None or fact.retrieval_requested is not None:
        quality.retrievals += 1
        quality.requested += fact.retrieval_requested or 0
        quality.hits += hits or 0
        if not hits:
            quality.misses += 1
            quality.samples["retrieval"] = at
    if fact.error_words:
        _add_failure(quality.failures, fact, at)


def _add_failure(failures: dict[str, Failure], fact: Fact, at: int) -> None:
    name = fact.error_words[0]
    known = failures.get(name)
    if known is None:
        if len(failures) >= FAILURES:
            return
        failures[name] = Failure(1, at, fact.error_type or "", fact.http_status or 0, fact.error_words[1:])
    else:
        known.count += 1
        known.at = at


def _add_shape(shape: Shape, fact: Fact) -> None:
    worked = fact.status == "ok"
    name = fact.finish_reason
    if name:
        shape.finishes[name] = shape.finishes.get(name, 0) + 1
    name = fact.output_label
    if name:
        _count(shape.labels, name, LABELS)
    name = fact.language
    if name:
        _count(shape.languages, name, LANGUAGES)
    if worked:
        name = fact.response_model or fact.model
        if name:
            _count(shape.models, name, MODELS)
        length = fact.length_bucket
        if length is not None:
            shape.lengths[length] = shape.lengths.get(length, 0) + 1
    topics = shape.topics
    for topic in fact.topics:
        topics[topic] = topics.get(topic, 0) + 1


def _count(counts: dict[str, int], name: str, most: int) -> None:
    known = counts.get(name)
    if known is not None:
        counts[name] = known + 1
        return
    if len(counts) >= most:
        name = OTHER
    counts[name] = counts.get(name, 0) + 1


def add_judgement(bucket: Bucket, fact: Fact) -> None:
    """Count one evaluation or one feedback."""
    bucket.facts += 1
    if bucket.quality is None:
        return
    if fact.type == "feedback":
        _add_feedback(bucket.quality, fact)
    else:
        _add_evaluation(bucket.quality, fact)


_LIKED: Final = frozenset(("up", "good", "positive", "yes", "correct"))
_DISLIKED: Final = frozenset(("down", "bad", "negative", "no", "incorrect"))


def _add_feedback(quality: Quality, fact: Fact) -> None:
    rating = fact.rating or 0.0
    quality.rated += 1
    if rating > 0 or (not rating and fact.label in _LIKED):
        quality.liked += 1
    elif rating < 0 or fact.label in _DISLIKED:
        quality.disliked += 1
        quality.samples["feedback"] = fact.position.offset


def _add_evaluation(quality: Quality, fact: Fact) -> None:
    name = fact.evaluation_name or OTHER
    if name not in quality.judged and len(quality.judged) >= EVALUATIONS:
        name = OTHER
    judged = quality.judged.setdefault(name, Judged())
    if fact.score is not None:
        score = max(-SCORE_MOST, min(SCORE_MOST, fact.score))
        judged.count += 1
        judged.thousandths += round(score * 1_000)
        judged.squares = min(SQUARES_MOST, judged.squares + round(score * score * 1_000))
    if fact.label:
        _count(judged.labels, fact.label, VERDICTS)
    quality.samples["evaluation"] = fact.position.offset


def merge(into: Bucket, other: Bucket, *, whole: bool = True) -> None:
    """Add `other` to `into`; without quality and shape where it is not to be `whole`."""
    into.calls += other.calls
    into.facts += other.facts
    into.cost_nano_usd += other.cost_nano_usd
    into.cost_squares = min(into.cost_squares + other.cost_squares, SQUARES_MOST)
    into.unpriced += other.unpriced
    if (other.max_cost_nano_usd, other.max_cost_at) > (into.max_cost_nano_usd, into.max_cost_at):
        into.max_cost_nano_usd, into.max_cost_at = other.max_cost_nano_usd, other.max_cost_at
    if (other.slowest_ms, other.slowest_at) > (into.slowest_ms, into.slowest_at):
        into.slowest_ms, into.slowest_at = other.slowest_ms, other.slowest_at
    into.failed_at = max(into.failed_at, other.failed_at)
    into.input_tokens += other.input_tokens
    into.cached_tokens += other.cached_tokens
    into.cache_write_tokens += other.cache_write_tokens
    into.output_tokens += other.output_tokens
    into.reasoning_tokens += other.reasoning_tokens
    into.retries += other.retries
    into.output_chars += other.output_chars
    into.patient += other.patient
    into.impatient += other.impatient
    if other.errors:
        _sum(into.errors, other.errors)
    if other.latency:
        sketch.merge(into.latency, other.latency)
    if other.ttft:
        sketch.merge(into.ttft, other.ttft)
    if not whole:
        return
    if other.quality is not None:
        if into.quality is None:
            into.quality = Quality()
        _merge_quality(into.quality, other.quality)
    if other.shape is not None:
        if into.shape is None:
            into.shape = Shape()
        _merge_shape(into.shape, other.shape)


def _merge_quality(into: Quality, other: Quality) -> None:
    into.refusals += other.refusals
    into.schema_checked += other.schema_checked
    into.schema_invalid += other.schema_invalid
    into.guarded += other.guarded
    into.guard_hits += other.guard_hits
    into.retrievals += other.retrievals
    into.requested += other.requested
    into.hits += other.hits
    into.misses += other.misses
    into.liked += other.liked
    into.disliked += other.disliked
    into.rated += other.rated
    if other.guardrails:
        _sum(into.guardrails, other.guardrails)
    if other.runs:
        sketch.merge(into.runs, other.runs)
    for name, judged in other.judged.items():
        mine = into.judged.setdefault(name, Judged())
        mine.count += judged.count
        mine.thousandths += judged.thousandths
        mine.squares = min(SQUARES_MOST, mine.squares + judged.squares)
        _sum(mine.labels, judged.labels)
    for name, failure in other.failures.items():
        known = into.failures.setdefault(name, Failure(0, -1, failure.type, failure.http_status, failure.words))
        known.count += failure.count
        known.at = max(known.at, failure.at)
    for kind, at in other.samples.items():
        into.samples[kind] = max(into.samples.get(kind, -1), at)


def _merge_shape(into: Shape, other: Shape) -> None:
    _sum(into.finishes, other.finishes)
    _sum(into.labels, other.labels)
    _sum(into.languages, other.languages)
    _sum(into.models, other.models)
    sketch.merge(into.lengths, other.lengths)
    sketch.merge(into.topics, other.topics)


def _sum(into: dict[str, int], other: dict[str, int]) -> None:
    for name, count in other.items():
        into[name] = into.get(name, 0) + count


def difference(new: Bucket, old: Bucket) -> Bucket:
    """What must be added to a sum that holds `old` so that it holds `new`, a later value of the same cell."""
    found = Bucket(
        calls=new.calls - old.calls,
        cost_nano_usd=new.cost_nano_usd - old.cost_nano_usd,
        cost_squares=new.cost_squares - old.cost_squares,
        unpriced=new.unpriced - old.unpriced,
        max_cost_nano_usd=new.max_cost_nano_usd,
        max_cost_at=new.max_cost_at,
        input_tokens=new.input_tokens - old.input_tokens,
        cached_tokens=new.cached_tokens - old.cached_tokens,
        cache_write_tokens=new.cache_write_tokens - old.cache_write_tokens,
        output_tokens=new.output_tokens - old.output_tokens,
        reasoning_tokens=new.reasoning_tokens - old.reasoning_tokens,
        errors=_less(new.errors, old.errors),
        latency=_less(new.latency, old.latency),
        ttft=_less(new.ttft, old.ttft),
        slowest_ms=new.slowest_ms,
        slowest_at=new.slowest_at,
        facts=new.facts - old.facts,
        failed_at=new.failed_at,
        retries=new.retries - old.retries,
        output_chars=new.output_chars - old.output_chars,
        patient=new.patient - old.patient,
        impatient=new.impatient - old.impatient,
    )
    if new.quality is not None:
        found.quality = _quality_difference(new.quality, old.quality or Quality())
    if new.shape is not None:
        other = old.shape or Shape()
        found.shape = Shape(
            *(_less(getattr(new.shape, name), getattr(other, name)) for name in Shape.__struct_fields__)
        )
    return found


def _quality_difference(new: Quality, old: Quality) -> Quality:
    judged = {}
    for name, one in new.judged.items():
        before = old.judged.get(name, Judged())
        judged[name] = Judged(
            one.count - before.count,
            one.thousandths - before.thousandths,
            one.squares - before.squares,
            _less(one.labels, before.labels),
        )
    return Quality(
        refusals=new.refusals - old.refusals,
        schema_checked=new.schema_checked - old.schema_checked,
        schema_invalid=new.schema_invalid - old.schema_invalid,
        guarded=new.guarded - old.guarded,
        guard_hits=new.guard_hits - old.guard_hits,
        guardrails=_less(new.guardrails, old.guardrails),
        retrievals=new.retrievals - old.retrievals,
        requested=new.requested - old.requested,
        hits=new.hits - old.hits,
        misses=new.misses - old.misses,
        liked=new.liked - old.liked,
        disliked=new.disliked - old.disliked,
        rated=new.rated - old.rated,
        judged=judged,
        runs=_less(new.runs, old.runs),
        samples=new.samples,
    )


_Name = TypeVar("_Name", str, int)


def _less(new: dict[_Name, int], old: dict[_Name, int]) -> dict[_Name, int]:
    if not old:
        return new
    known = old.get
    return {name: left for name, count in new.items() if (left := count - known(name, 0))}


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
