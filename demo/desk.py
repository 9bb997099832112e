"""The numbers of one call: tokens, time, how it ended; and an event made of them. Must not know what a call is part of.

A desk makes the events of one feature on one day. Whatever an incident changes in a single call (longer prompts, a slow
provider) is changed here; what it changes in how many calls there are is changed in `demo.traffic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any, Final, NamedTuple

from demo.catalogue import EMBEDDING, Offer
from demo.people import Person
from demo.phrases import REFUSAL
from demo.scenario import Feature, Incident, Tenant

Body = dict[str, Any]

RATE_LIMITED_SHARE: Final = 0.006
# Share of the cost of a call that its prompt makes; with it a cost factor becomes a factor on the prompt.
PROMPT_SHARE: Final = 0.7
# Errors of ordinary traffic: (status, type, HTTP status, share of calls).
FAILURES: Final = (
    ("error", "InternalServerError", 500, 0.003),
    ("error", "OverloadedError", 529, 0.002),
    ("error", "APIConnectionError", None, 0.001),
    ("timeout", "APITimeoutError", None, 0.002),
)
REFUSED_SHARE: Final = 0.004
FILTERED_SHARE: Final = 0.002


class Who(NamedTuple):
    """What a call is part of: a person's session, or a run with its step."""

    person: Person | None
    session: str | None = None
    run: str | None = None
    step: int | None = None
    trace: str | None = None


class Said(NamedTuple):
    """The text of a call; None where its producer sends none."""

    input: list[Body] | None = None
    output: str | None = None
    tool_calls: list[Body] | None = None


@dataclass(slots=True)
class Desk:
    """Makes the events of one feature on one day.

    Attributes:
        tenant: Whose feature it is.
        feature: The feature.
        incidents: What was planted into this day.
        midnight_ms: The day's beginning, milliseconds since 1970.
        rng: The desk's own chance, so that desks do not disturb each other.
        persons: Who uses the feature.
        with_text: False for days that only serve as history.
    """

    tenant: Tenant
    feature: Feature
    incidents: tuple[Incident, ...]
    midnight_ms: int
    rng: Random
    persons: tuple[Person, ...]
    with_text: bool = True

    def token(self, prefix: str) -> str:
        """A new opaque identifier."""
        return f"{prefix}-{self.rng.getrandbits(48):012x}"

    def person(self) -> Person:
        """Someone who uses the feature."""
        return self.rng.choice(self.persons)

    def size(self, median: float, spread: float = 0.35) -> int:
        """A number of tokens about a median."""
        return max(1, round(median * self.rng.lognormvariate(0, spread)))

    def ask(
        self, at_ms: float, who: Who, said: Said, input_tokens: int, output_tokens: int, *, cached: int = 0,
        streaming: bool = False, offer: Offer | None = None, fragile: bool = True,
    ) -> tuple[list[Body], float]:  # fmt: skip
        """A call with the retries that it took; returns the events and when (ms of the day) the answer was there.

        A provider that limits the rate is asked again with back-off, with the same prompt. `fragile` False lets
        nothing fail, where a unit of work makes no sense without the answer.
        """
        rng, offer = self.rng, offer or self.feature.offer
        events: list[Body] = []
        refusals = rng.randint(1, 3) if fragile and rng.random() < RATE_LIMITED_SHARE else 0
        longer = self._prompt_factor(at_ms)
        input_tokens, cached = round(input_tokens * longer), round(cached * longer)
        for attempt in range(refusals):
            wait_s = round(2**attempt * rng.uniform(1.0, 2.0), 1)
            body = self._body(at_ms, who, offer, said._replace(output=None, tool_calls=None))
            took_ms = round(rng.uniform(40, 160), 1)
            body |= {
                "status": "rate_limited",
                "latency_ms": took_ms,
                "retries": attempt,
                "error": {"type": "RateLimitError", "http_status": 429, "retry_after_s": wait_s},
            }
            events.append(body)
            at_ms += took_ms + wait_s * 1_000
        body = self._body(at_ms, who, offer, said)
        latency_ms = self._answer(body, at_ms, offer, input_tokens, output_tokens, cached, streaming, fragile)
        if refusals:
            body["retries"] = refusals
        events.append(body)
        return events, at_ms + latency_ms

    def about(self, kind: str, at_ms: float, call: Body, part: Body) -> Body:
        """An evaluation or a feedback about an earlier call."""
        return {
            "tenant": self.tenant.name,
            "kind": kind,
            "id": self._id(at_ms),
            "ts": self.midnight_ms + round(at_ms),
            "environment": "prod",
            "team": self.tenant.team,
            "feature": self.feature.name,
            **{name: call[name] for name in ("session", "run") if name in call},
            "content": call["content"],
            kind: {**part, "call": call["id"]},
        }

    def _answer(
        self, body: Body, at_ms: float, offer: Offer, input_tokens: int, output_tokens: int, cached: int,
        streaming: bool, fragile: bool,
    ) -> float:  # fmt: skip
        rng = self.rng
        slow = self._slowness(at_ms, offer)
        ttft_ms = offer.ttft_ms * rng.lognormvariate(0, 0.22) * slow
        chance = rng.random() if fragile else 1.0
        for status, error, http_status, share in FAILURES:
            if chance < share:
                took = 60_000.0 if status == "timeout" else round(ttft_ms, 1)
                failure = {"type": error} | ({"http_status": http_status} if http_status else {})
                body |= {"status": status, "latency_ms": took, "error": failure}
                body.pop("output", None)
                body.pop("tool_calls", None)
                return took
            chance -= share
        usage: Body = {"input": input_tokens, "output": output_tokens}
        if chance < REFUSED_SHARE + FILTERED_SHARE:
            refused = chance < REFUSED_SHARE
            usage["output"] = output_tokens = 12
            body |= {
                "status": "refused" if refused else "filtered",
                "finish_reason": "refusal" if refused else "content_filter",
            }
            if "output" in body and body["content"] == "full":
                body["output"] = [{"role": "assistant", "content": REFUSAL}]
            body.pop("tool_calls", None)
        elif offer is EMBEDDING:
            usage["output"] = output_tokens = 0
            body["operation"] = "embeddings"
        else:
            body["finish_reason"] = "tool_calls" if "tool_calls" in body else "stop"
        if cached:
            usage["cached"] = cached
        latency_ms = round(ttft_ms + output_tokens * offer.token_ms * rng.lognormvariate(0, 0.15) * slow, 1)
        body |= {"usage": usage, "latency_ms": latency_ms}
        if streaming:
            body["streaming"] = True
            body["ttft_ms"] = round(ttft_ms, 1)
        return latency_ms

    def _body(self, at_ms: float, who: Who, offer: Offer, said: Said) -> Body:
        body: Body = {
            "tenant": self.tenant.name,
            "kind": "call",
            "id": self._id(at_ms),
            "ts": self.midnight_ms + round(at_ms),
            "environment": "prod",
            "team": self.tenant.team,
            "service": f"{self.feature.name}-api",
            "feature": self.feature.name,
            "provider": offer.provider,
            "model": offer.model,
            "operation": "chat",
            "prompt_name": self.feature.name,
            "prompt_version": "7",
            "parameters": {"temperature": 0.2},
            "status": "ok",
            "content": "none",
        }
        if who.person is not None:
            body["user"] = who.person.email
        for name, value in (("session", who.session), ("run", who.run), ("step", who.step), ("trace_id", who.trace)):
            if value is not None:
                body[name] = value
        if said.input is not None:
            body["content"] = "hash" if self.feature.hashed else "full"
            body["input"] = self._kept(said.input)
            if said.output is not None:
                body["output"] = self._kept([{"role": "assistant", "content": said.output}])
            if said.tool_calls is not None:
                body["tool_calls"] = [self._kept_call(call) for call in said.tool_calls]
        elif said.tool_calls is not None:
            body["tool_calls"] = [{"name": call["name"]} for call in said.tool_calls]
        return body

    def _kept(self, messages: Sequence[Body]) -> list[Body]:
        """Messages as this feature's producer sends them: in full, or as length and keyed hash."""
        if not self.feature.hashed:
            return list(messages)
        kept = []
        for message in messages:
            rest = {name: value for name, value in message.items() if name != "role"}
            kept.append(
                {"role": message["role"], **self._stand_in(rest["content"] if list(rest) == ["content"] else rest)}
            )
        return kept

    def _kept_call(self, call: Body) -> Body:
        if not self.feature.hashed:
            return call
        return {"name": call["name"], "id": call["id"], "arguments": self._stand_in(call["arguments"])}

    def _stand_in(self, value: object) -> Body:
        text = value if isinstance(value, str) else repr(value)
        key = f"demo {self.tenant.name}".encode()
        return {"length": len(text), "hash": blake2b(text.encode(), key=key, digest_size=16).hexdigest()}

    def _id(self, at_ms: float) -> str:
        """UUIDv7 (RFC 9562) of the simulated moment."""
        digits = f"{self.midnight_ms + round(at_ms):012x}"
        low = f"{0x8000 | self.rng.getrandbits(14):04x}"
        return f"{digits[:8]}-{digits[8:]}-7{self.rng.getrandbits(12):03x}-{low}-{self.rng.getrandbits(48):012x}"

    def _prompt_factor(self, at_ms: float) -> float:
        for one in self.incidents:
            if one.kind == "cost" and one.tenant == self.tenant.name and one.start_ms <= at_ms < one.end_ms:
                return 1 + (one.factor / one.calls_factor - 1) / PROMPT_SHARE
        return 1.0

    def _slowness(self, at_ms: float, offer: Offer) -> float:
        for one in self.incidents:
            its = one.provider == offer.provider and one.model == offer.model
            if one.kind == "slow" and its and one.start_ms <= at_ms < one.end_ms:
                return one.factor
        return 1.0
