"""redact: `calls.raw` to `calls`. The only stage that reads text; what it writes is redacted, priced and stamped.

Fails closed: a text in doubt is replaced, and when redaction itself is not to be had the range waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from agents.one_to_one import SOURCE, Fuse, event_or_stub, gap_fact, resume, walk
from pipeline import memory, metrics
from pipeline.control.policy import Policies
from pipeline.detection.redaction_canary import canary_seen
from pipeline.errors import RetryableError
from pipeline.intake.clean import CleanMaker, Draft
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.pricing import PriceBook
from pipeline.redaction import Redacted, RedactionConfig, Redactor, RedactorUnavailable, Treatment
from pipeline.redaction.identifiers import is_clean_identifier
from pipeline.redaction.values import CANARY
from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing
from pipeline.transport.ranges import Record
from pipeline.transport.stage import Limits, Range, StageContext
from schemas.clean import Clean
from schemas.event import Event

_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(Clean).decode

# About half a second of named entity recognition, so that a range never starves its neighbours.
NER_LIMITS = Limits(max_records=500, max_bytes=48_000, linger_s=0.05)
# Patterns alone take a quarter of a second for so many; fewer and larger ranges spare Kafka, the sink and ClickHouse.
PATTERN_LIMITS = Limits(max_records=2_000, max_bytes=3_000_000, linger_s=0.02)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One output record: ready (gap, stub) or still waiting for its texts."""

    ready: Clean | None
    draft: Draft | None
    key: bytes | None


class Redact:
    """The stage. Memory: one range a partition, and the redactor's bounded message cache."""

    name = "redact"
    source = SOURCE

    def __init__(self, settings: Settings) -> None:
        self.limits = NER_LIMITS if settings.ner else PATTERN_LIMITS

    async def open(self, context: StageContext) -> None:
        """Start the redaction processes; refuses to start when their self-test fails."""
        self._context = context
        settings = context.settings
        self._redactor: Redactor | None = None
        version = "off"
        if settings.redaction == "on":
            config = RedactionConfig(
                ner=settings.ner, model=settings.ner_model, extra_recognizers=settings.extra_recognizers
            )
            self._redactor = Redactor(config, processes=settings.redact_processes)
            await context.to_thread(self._redactor.start)
            version = self._redactor.manifest
        self._hits = self._misses = 0
        self._fuse = Fuse(self.name)
        facts = FactMaker(Identifiers(context.keys, is_clean_identifier), PriceBook())
        self._maker = CleanMaker(facts, version)
        self._facts = facts
        self._policies = Policies(())
        self._policies_at = -1
        memory.of_ranges()

    async def assigned(self, partition: int) -> int | None:
        """Resume where the range began that the last clean record was made in."""
        return await resume(self._context, "calls", partition, lambda value: _read(value).fact)

    async def work(self, range: Range) -> None:
        """One clean record for every source position of the range, all delivered or the range is repeated."""
        await self._context.controls.wait_current()
        policies = self._current_policies()
        epoch = self._context.epochs.current(SOURCE)
        entries = [
            _Entry(Clean(fact=gap_fact(where, last)), None, None)
            if record is None
            else self._draft(record, where, policies)
            for where, record, last in walk(range, epoch, self._context.keys)
        ]
        drafts = [entry.draft for entry in entries if entry.draft is not None]
        answers = iter(
            await self._redact(
                [(draft.fact.tenant, text) for draft in drafts for text in draft.texts],
                [draft.treatment for draft in drafts for _ in draft.texts],
            )
        )
        out: list[Outgoing] = []
        types: Counter[str] = Counter()
        for entry in entries:
            clean = entry.ready
            if clean is None and entry.draft is not None:
                clean = self._maker.finish(entry.draft, list(islice(answers, len(entry.draft.texts))))
                self._count(clean)
                if seen := clean.redaction_failures.get(CANARY):
                    page = canary_seen(clean.fact, seen)
                    headers = (("schema", b"tokentrail.anomaly.v1"), ("rule", page.rule.encode()))
                    out.append(Outgoing("anomalies", _encode(page), clean.fact.tenant.encode(), headers=headers))
            assert clean is not None
            types[clean.fact.type] += 1
            out.append(Outgoing("calls", _encode(clean), entry.key, range.partition))
        await self._context.producer.deliver(out)
        for kind, count in types.items():
            metrics.RECORDS.labels(self.name, kind).inc(count)

    def _draft(self, record: Record, where: Where, policies: Policies) -> _Entry:
        made: list[_Entry] = []

        def use(event: Event) -> None:
            draft = self._maker.draft(event, where, record.value or b"", record.headers, policies)
            made.append(_Entry(None, draft, self._facts.route(draft.fact, event)))

        failure = event_or_stub(record, where, self._fuse, use)
        if failure is None:
            return made[0]
        fact, path = failure
        value, headers = record.value or b"", record.headers
        return _Entry(self._maker.stub(fact, value, headers, path, policies, where.replay), None, None)

    async def _redact(self, texts: Sequence[tuple[str, str]], treatments: Sequence[Treatment]) -> Sequence[Redacted]:
        if self._redactor is None:
            return [Redacted(text, {}, None) for _, text in texts]
        try:
            return await self._redactor.redact_many(texts, treatments)
        except RedactorUnavailable as error:
            raise RetryableError(f"redaction is not to be had ({error}); nothing is stored until it is") from error
        finally:
            stats = self._redactor.stats
            metrics.REDACTION_CACHE.labels("hit").inc(stats.cache_hits - self._hits)
            metrics.REDACTION_CACHE.labels("miss").inc(stats.texts - stats.silent - stats.cache_hits - self._misses)
            self._hits, self._misses = stats.cache_hits, stats.texts - stats.silent - stats.cache_hits

    def _current_policies(self) -> Policies:
        """The policies as the log has them now, folded again only when `llm.controls` has grown."""
        position = self._context.controls.position
        if position != self._policies_at or not self._policies:
            self._policies = Policies(self._context.controls.records("policy"))
            self._policies_at = position
        if not self._policies:
            raise RetryableError("llm.controls holds no policy yet; run `tokentrail migrate`")
        return self._policies

    def _count(self, clean: Clean) -> None:
        for entity, count in clean.redactions.items():
            metrics.REDACTED.labels(entity).inc(count)
        for reason, count in clean.redaction_failures.items():
            metrics.REDACTION_FAILED.labels(reason).inc(count)
        if clean.dropped_fields:
            metrics.DROPPED_FIELDS.inc(clean.dropped_fields)

    async def idle(self, partition: int, now_s: float) -> None:
        """Nothing to do between ranges."""

    async def revoked(self, partition: int) -> None:
        """The stage keeps nothing of a partition."""

    async def close(self) -> None:
        """End the redaction processes."""
        if self._redactor is not None:
            await self._context.to_thread(self._redactor.close)
