"""An event to its fact: numbers, enumerations, readable identifiers and keyed hashes. No text leaves this function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.intake.identify import Identifiers, one_of
from pipeline.intake.shapes import Shape, shape_of
from pipeline.pricing import PriceBook
from schemas.clean import Replay
from schemas.event import Event, Guardrail
from schemas.fact import Fact, Loop
from schemas.position import Position
from schemas.vocabulary import ERROR_TYPES, FINISH_REASONS, JUDGEMENTS


@dataclass(frozen=True, slots=True)
class Where:
    """Where a raw record stands, in which range it is worked on, and when the broker took it (ms since 1970).

    A replayed one also knows what it stands for.
    """

    position: Position
    first: int
    received_at: int
    replay: Replay | None = None


class FactMaker:
    """Builds facts; `measure` publishes them, `redact` carries them in its clean records."""

    def __init__(self, identifiers: Identifiers, book: PriceBook) -> None:
        self.identifiers = identifiers
        self.book = book

    def fact(self, event: Event, where: Where, loop: Loop | None = None) -> Fact:
        """The fact of one usable event. `loop` is given by `measure` only: fingerprints serve `guard`, not storage."""
        who, tenant = self.identifiers, self.identifiers.tenant(event.tenant)
        usage, error = event.usage, event.error
        replay = where.replay
        ts = event.ts if event.ts is not None else replay.received_at if replay else where.received_at
        # The book has history: a call is priced as of when it was made, as far as its clock can be believed.
        called_at = min(ts, where.received_at)
        price = self.book.price(event.provider, event.model, event.response_model, usage, event.cost_usd, called_at)
        of_call = event.kind in ("call", "canary")
        shape = shape_of(event, who.keys.derive("fingerprint", tenant)) if of_call else Shape()
        about = event.evaluation.call if event.evaluation else event.feedback.call if event.feedback else None
        return Fact(
            type=event.kind,
            position=where.position,
            first=where.first,
            received_at=where.received_at,
            ts=ts,
            tenant=tenant,
            # It is history: it raises no pages.
            backfill=event.backfill or replay is not None,
            environment=who.readable(tenant, "environment", event.environment),
            team=who.readable(tenant, "team", event.team),
            service=who.readable(tenant, "service", event.service),
            feature=who.readable(tenant, "feature", event.feature),
            provider=who.readable(tenant, "provider", event.provider),
            model=who.readable(tenant, "model", event.model),
            response_model=who.readable(tenant, "response_model", event.response_model),
            operation=who.readable(tenant, "operation", event.operation),
            prompt_name=who.readable(tenant, "prompt_name", event.prompt_name),
            prompt_version=who.readable(tenant, "prompt_version", event.prompt_version),
            variant=who.readable(tenant, "variant", event.variant),
            output_label=who.readable(tenant, "output_label", event.output_label),
            id=who.event_id(tenant, event.id),
            run=who.hashed(tenant, "run", event.run),
            user=who.hashed(tenant, "user", event.user, "pseudonym"),
            session=who.hashed(tenant, "session", event.session),
            trace=who.hashed(tenant, "trace", event.trace_id),
            step=event.step,
            input_tokens=usage.input if usage else None,
            cached_tokens=usage.cached if usage else None,
            cache_write_tokens=usage.cache_write if usage else None,
            output_tokens=usage.output if usage else None,
            reasoning_tokens=usage.reasoning if usage else None,
            latency_ms=event.latency_ms,
            ttft_ms=event.ttft_ms,
            retries=event.retries,
            cache_hit=event.cache_hit,
            streaming=event.streaming,
            prompt_size_bytes=event.prompt_size_bytes,
            output_chars=shape.output_chars,
            status=event.status,
            finish_reason=one_of(FINISH_REASONS, event.finish_reason),
            error_type=self._error_type(tenant, error.type if error else None),
            http_status=error.http_status if error else None,
            retry_after_s=error.retry_after_s if error else None,
            schema_valid=event.schema_valid,
            guardrails_triggered=sum(g.triggered for g in event.guardrails) if event.guardrails else None,
            guardrails=self._triggered(tenant, event.guardrails) if event.guardrails else (),
            refusal=True if event.status == "refused" or event.finish_reason == "refusal" else shape.refusal,
            error_words=shape.error_words,
            cost_nano_usd=price.cost_nano_usd,
            list_cost_nano_usd=price.list_cost_nano_usd,
            cost_source=price.source,
            price_version=None if price.source == "none" else self.book.version,
            score=event.evaluation.score if event.evaluation else None,
            rating=event.feedback.rating if event.feedback else None,
            evaluation_name=self._judgement(tenant, "evaluation", event.evaluation.name if event.evaluation else None),
            label=self._judgement(tenant, "label", _label(event)),
            about=who.event_id(tenant, about),
            retrieval_requested=event.retrieval.requested if event.retrieval else None,
            retrieval_hits=event.retrieval.hits if event.retrieval else None,
            language=shape.language,
            length_bucket=shape.length_bucket,
            topic_bucket=shape.topics[0] if shape.topics else None,
            topics=shape.topics,
            loop=loop,
        )

    def route(self, fact: Fact, event: Event) -> bytes:
        """Kafka key of the records made of an event: a keyed hash of tenant and run (else session, else id)."""
        unit = event.run or event.session or event.id or ""
        return self.identifiers.keys.hash("route", fact.tenant, "run", unit)[:16].encode()

    def _triggered(self, tenant: str, guardrails: Sequence[Guardrail]) -> tuple[str, ...]:
        names = (self.identifiers.readable(tenant, "guardrail", one.name) for one in guardrails if one.triggered)
        return tuple(sorted({name or "" for name in names}))

    def _error_type(self, tenant: str, value: str | None) -> str | None:
        if not value or value in ERROR_TYPES:
            return value or None
        return self.identifiers.readable_hash(tenant, "error_type", value)

    def _judgement(self, tenant: str, field: str, value: str | None) -> str | None:
        if not value or value in JUDGEMENTS:
            return value or None
        return self.identifiers.readable_hash(tenant, field, value)


def stub(where: Where, reason: str) -> Fact:
    """The fact of a record that cannot be used: its place in the sequence, and why."""
    return Fact(
        type="stub",
        position=where.position,
        first=where.first,
        received_at=where.received_at,
        ts=where.received_at,
        reason=reason,
    )


def gap(where: Where, last: int, reason: str) -> Fact:
    """The fact that stands for all positions from `where` to `last`, which Kafka has proven to be gone."""
    return Fact(
        type="gap",
        position=where.position,
        first=where.first,
        received_at=where.received_at,
        ts=where.received_at,
        gap_last=last,
        reason=reason,
    )


def _label(event: Event) -> str | None:
    return event.evaluation.label if event.evaluation else event.feedback.label if event.feedback else None
