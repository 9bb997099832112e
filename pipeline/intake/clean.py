"""An event to its clean record, in two steps with redaction in between.

`draft` collects every text of a record; `finish` builds the record from the answers. A text without an answer cannot
get into the record, because the record is made of templates and answers only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.control.policy import ContentMode, Policies, stricter
from pipeline.intake.decode import header, unknown_fields
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.intake.texts import Texts, fill
from pipeline.intake.treatments import Treatments
from pipeline.redaction import Redacted, Treatment
from schemas.clean import Clean, Content, Dead, HeartbeatCounts, Producer, Replay, Stamp
from schemas.event import Event, ProducerInfo
from schemas.fact import Fact
from schemas.topics import CLEAN_MAX_BYTES
from schemas.vocabulary import ERROR_TYPES, FINISH_REASONS, JUDGEMENTS, PARAMETERS

LIBRARY: Final = re.compile(r"tokentrail-[a-z]{1,20}/\d{1,4}(\.\d{1,4}){0,3}")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Draft:
    """A record on its way: its fact, the texts redaction must see, and how to put the answers back."""

    event: Event
    fact: Fact
    stamp: Stamp
    mode: ContentMode
    texts: list[str]
    templates: dict[str, Any]
    other: dict[str, Any]
    producer: Producer | None
    replay: Replay | None
    unknown: int
    size_bytes: int
    treatment: Treatment


class CleanMaker:
    """Builds clean records from events, their headers and the redactor's answers."""

    def __init__(self, facts: FactMaker, redaction_version: str) -> None:
        self._facts = facts
        self._who: Identifiers = facts.identifiers
        self._redaction_version = redaction_version
        self._treatments = Treatments(self._who.keys)

    def draft(
        self,
        event: Event,
        where: Where,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        policies: Policies,
    ) -> Draft:
        """Everything of a record except its redacted text."""
        fact = self._facts.fact(event, where)
        version, policy = policies.at(where.received_at)
        terms = self._treatments.of(version, policy, fact.tenant, fact.environment)
        metadata_days, text_days, allowed, treatment = terms
        mode = stricter(event.content, allowed)
        texts = Texts(treatment)
        templates: dict[str, Any] = {}
        other: dict[str, Any] = {}
        if text_days > 0 and mode != "none":
            if mode == "full" or event.content == "hash":
                templates = {name: texts.collect(item) for name, item in _main_texts(event) if item is not None}
            else:
                templates = {name: self._hashed(fact.tenant, item) for name, item in _main_texts(event) if item}
            if mode == "full":
                other = self._other_texts(fact.tenant, event, texts)
        return Draft(
            event=event,
            fact=fact,
            stamp=Stamp(metadata_days, text_days, version, self._redaction_version, self._who.version),
            mode=mode,
            texts=texts.found,
            templates=templates,
            other=other,
            # The dead letter counts for the producer; its number must not come twice.
            producer=None if where.replay else self._producer(event.producer, headers),
            replay=where.replay,
            unknown=unknown_fields(value),
            size_bytes=len(value),
            treatment=treatment,
        )

    def finish(self, draft: Draft, answers: Sequence[Redacted]) -> Clean:
        """The clean record of a draft; `answers` are in the order of `draft.texts`."""
        event, tenant = draft.event, draft.fact.tenant
        filled = []
        redactions: Counter[str] = Counter()
        failures: Counter[str] = Counter()
        for answer in answers:
            filled.append(answer.text)
            if answer.counts:
                redactions.update(answer.counts)
            if answer.failed is not None:
                failures[answer.failed] += 1
        parameters = {name: float(item) for name, item in (event.parameters or {}).items() if _is_parameter(name, item)}
        clean = Clean(
            fact=draft.fact,
            stamp=draft.stamp,
            content=_content(draft, filled, redactions),
            producer=draft.producer,
            replay=draft.replay,
            heartbeat=_heartbeat(event),
            span=self._who.hashed(tenant, "span", event.span_id),
            parent=self._who.hashed(tenant, "span", event.parent),
            sources=tuple(
                self._who.hashed(tenant, "source", source) or ""
                for source in (event.retrieval.sources or [] if event.retrieval else [])
            ),
            parameters=parameters,
            tool_names=tuple(self._names(tenant, "tool", (call.name for call in event.tool_calls or []))),
            tag_keys=tuple(self._names(tenant, "tag", event.tags or {})),
            redactions=dict(redactions),
            redaction_failures=dict(failures),
            dropped_fields=draft.unknown + len(event.parameters or {}) - len(parameters),
            content_mode=draft.mode,
        )
        return clean

    def stub(
        self,
        fact: Fact,
        value: bytes,
        headers: Sequence[tuple[str, bytes]],
        path: str,
        policies: Policies,
        replay: Replay | None = None,
    ) -> Clean:
        """The clean record of a record that cannot be used: no value of it, only its size and a keyed hash.

        Its producer is known by the headers, so that a dead letter does not count as lost.
        """
        version, policy = policies.at(fact.received_at)
        metadata_days, text_days, _ = policy.life("", None)
        return Clean(
            fact=fact,
            stamp=Stamp(metadata_days, text_days, version, self._redaction_version, self._who.version),
            producer=self._producer(None, headers),
            replay=replay,
            dead=Dead(
                reason=fact.reason or "unknown",
                path=path,
                size_bytes=len(value),
                hash=self._who.keys.digest("deadletter", "", value),
            ),
        )

    def _hashed(self, tenant: str, item: Any) -> Any:
        text = item if isinstance(item, str) else _encode(item).decode()
        return {"length": len(text), "hash": self._who.hashed(tenant, "text", text)}

    def _other_texts(self, tenant: str, event: Event, texts: Texts) -> dict[str, Any]:
        """Small texts by path: what was written outside the messages, and names that may not be read plainly."""
        found: dict[str, Any] = {}

        def keep(path: str, item: str | int | None, known: frozenset[str] = frozenset()) -> None:
            if item not in (None, "") and item not in known:
                found[path] = texts.collect(str(item))

        if event.error is not None:
            keep("error.message", event.error.message)
            keep("error.type", event.error.type, ERROR_TYPES)
            keep("error.code", event.error.code)
        if event.feedback is not None:
            keep("feedback.comment", event.feedback.comment)
            keep("feedback.label", event.feedback.label, JUDGEMENTS)
            keep("feedback.outcome", event.feedback.outcome)
        if event.evaluation is not None:
            keep("evaluation.name", event.evaluation.name, JUDGEMENTS)
            keep("evaluation.label", event.evaluation.label, JUDGEMENTS)
        keep("finish_reason", event.finish_reason, FINISH_REASONS)
        for key, item in (event.tags or {}).items():
            name = self._who.readable(tenant, "tag", key)
            if name is not None:
                keep(f"tags.{name}", item)
        return found

    def _producer(self, info: ProducerInfo | None, headers: Sequence[tuple[str, bytes]]) -> Producer | None:
        instance = (info.id if info else None) or header(headers, "producer")
        if instance is None:
            return None
        sequence = info.sequence if info else None
        if sequence is None:
            written = header(headers, "sequence") or ""
            sequence = int(written) if written.isascii() and written.isdigit() and len(written) <= 15 else None
        library = info.library if info and info.library and LIBRARY.fullmatch(info.library) else None
        return Producer(self._who.hashed("", "producer", instance), sequence, library)

    def _names(self, tenant: str, field: str, values: Any) -> list[str]:
        return sorted({name for item in values if (name := self._who.readable(tenant, field, item)) is not None})


def _main_texts(event: Event) -> list[tuple[str, Any]]:
    calls = None
    if event.tool_calls:
        calls = [
            {key: item for key, item in msgspec.structs.asdict(call).items() if item is not None}
            for call in event.tool_calls
        ]
    return [("input", event.input), ("output", event.output), ("tool_calls", calls)]


def _content(draft: Draft, filled: list[str], redactions: Counter[str]) -> Content | None:
    """Redacted texts as JSON strings; None where the policy keeps no text or there is none."""
    if not draft.templates and not draft.other:
        return None
    main = {name: _json(fill(template, filled, redactions)) for name, template in draft.templates.items()}
    other = {path: fill(template, filled, redactions) for path, template in draft.other.items()}
    content = Content(other=other, **main)
    # Six bytes a character is the most that JSON needs; only near the limit is it worth while to count.
    chars = sum(map(len, main.values())) + sum(len(path) + len(text) for path, text in other.items())
    size = len(_encode(content)) if 6 * chars > CLEAN_MAX_BYTES - 65_536 else 0
    if size > CLEAN_MAX_BYTES - 65_536:
        # Replacements made it longer than the topic takes: keep how long it was, nothing else.
        return Content(input=f"<TOO_LARGE:{size}>")
    return content


def _json(value: Any) -> str:
    return value if isinstance(value, str) else _encode(value).decode()


def _heartbeat(event: Event) -> HeartbeatCounts | None:
    beat = event.heartbeat
    if beat is None or event.kind != "heartbeat":
        return None
    return HeartbeatCounts(beat.emitted, beat.delivered, beat.refused, beat.dropped, beat.last_sequence, beat.closing)


def _is_parameter(name: str, value: Any) -> bool:
    return name in PARAMETERS and isinstance(value, int | float) and not isinstance(value, bool)
