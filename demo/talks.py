"""Units of work that people start: talks, searches, single documents, batches; and what people think of the answers.

Each function yields the events of one unit, in order, from the moment it begins (milliseconds of the day).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from demo.catalogue import EMBEDDING
from demo.desk import Body, Desk, Said, Who
from demo.phrases import ANSWERS, ASKS, COMMENTS, FOLLOW_UPS, LABELS, SUMMARIES, SYSTEM, fill, say

# Of units, how many carry their text; the others are sent with content `none`, as products with many calls do.
TEXT_SHARE: Final = 0.12
# Of searches, how many need an embedding; the others have one from an earlier search for the same.
EMBEDDED_SHARE: Final = 0.35
FEEDBACK_SHARE: Final = 0.04
EVALUATED_SHARE: Final = 0.05


def chat(desk: Desk, at_ms: float) -> Iterator[Body]:
    """A talk of a few turns; the whole of it is sent each time, so the prompt grows and is mostly cached."""
    rng, person = desk.rng, desk.person()
    who = Who(person, session=desk.token("s"), trace=desk.token("t"))
    written = desk.with_text and rng.random() < TEXT_SHARE
    messages = [{"role": "system", "content": fill(SYSTEM, person, desk.tenant.name)}]
    tokens = desk.size(desk.feature.input_tokens * 0.75)
    cached = 0
    for turn in range(min(8, 1 + int(rng.expovariate(1 / 1.7)))):
        phrases = ASKS[desk.tenant.trade] if turn == 0 else FOLLOW_UPS
        messages.append({"role": "user", "content": say(rng, phrases, person)})
        answer = say(rng, ANSWERS, person)
        output_tokens = desk.size(desk.feature.output_tokens, 0.35)
        said = Said(list(messages), answer) if written else Said()
        events, done_ms = desk.ask(at_ms, who, said, tokens, output_tokens, cached=cached, streaming=True)
        yield from events
        yield from opinions(desk, done_ms, events[-1])
        messages.append({"role": "assistant", "content": answer})
        cached = int(tokens * 0.6) // 128 * 128
        tokens += output_tokens + desk.size(desk.feature.input_tokens * 0.12)
        at_ms = done_ms + rng.uniform(8_000, 70_000)


def extract(desk: Desk, at_ms: float) -> Iterator[Body]:
    """One document, one summary."""
    rng, person = desk.rng, desk.person()
    said = Said()
    if desk.with_text and rng.random() < TEXT_SHARE:
        said = Said(
            [{"role": "user", "content": say(rng, ASKS[desk.tenant.trade], person)}], say(rng, SUMMARIES, person)
        )
    tokens, output_tokens = desk.size(desk.feature.input_tokens), desk.size(desk.feature.output_tokens, 0.35)
    who = Who(person, trace=desk.token("t"))
    events, done_ms = desk.ask(at_ms, who, said, tokens, output_tokens)
    events[-1]["schema_valid"] = rng.random() > 0.01
    yield from events
    yield from opinions(desk, done_ms, events[-1])


def search(desk: Desk, at_ms: float) -> Iterator[Body]:
    """A question: sometimes its embedding, what was retrieved, an answer out of it."""
    rng, person = desk.rng, desk.person()
    who = Who(person, session=desk.token("s"), trace=desk.token("t"))
    written = desk.with_text and rng.random() < TEXT_SHARE
    question = {"role": "user", "content": say(rng, ASKS[desk.tenant.trade], person)}
    done_ms = at_ms
    if rng.random() < EMBEDDED_SHARE:
        said = Said([question]) if written else Said()
        events, done_ms = desk.ask(at_ms, who, said, desk.size(60), 0, offer=EMBEDDING, fragile=False)
        yield from events
    said = Said([question], say(rng, ANSWERS, person)) if written else Said()
    tokens, output_tokens = desk.size(desk.feature.input_tokens), desk.size(desk.feature.output_tokens, 0.35)
    events, done_ms = desk.ask(done_ms + rng.uniform(15, 80), who, said, tokens, output_tokens, streaming=True)
    hits = min(8, max(0, round(rng.gauss(6, 1.5))))
    events[-1]["retrieval"] = {
        "requested": 8,
        "hits": hits,
        "sources": [f"doc-{rng.randint(1, 400)}" for _ in range(hits)],
    }
    yield from events
    yield from opinions(desk, done_ms, events[-1])


def batch(desk: Desk, at_ms: float) -> Iterator[Body]:
    """A batch: documents of one run, each with the same instruction, and answers that often are alike; nobody waits."""
    rng = desk.rng
    who = Who(None, run=desk.token("batch"), trace=desk.token("t"))
    written = desk.with_text and rng.random() < 0.5
    for step in range(rng.randint(6, 14)):
        person = desk.person()
        label = rng.choice(LABELS)
        ask = f"Label this item: {say(rng, ASKS[desk.tenant.trade], person)}"
        said = Said([{"role": "user", "content": ask}], label) if written else Said()
        tokens, output_tokens = desk.size(desk.feature.input_tokens), desk.size(desk.feature.output_tokens, 0.35)
        events, done_ms = desk.ask(at_ms, who._replace(step=step), said, tokens, output_tokens)
        events[-1]["output_label"] = label
        yield from events
        at_ms = done_ms + rng.uniform(300, 4_000)


def opinions(desk: Desk, at_ms: float, call: Body) -> Iterator[Body]:
    """Sometimes a person rates an answer, sometimes a judge scores it."""
    rng = desk.rng
    if call["status"] != "ok":
        return
    if rng.random() < FEEDBACK_SHARE:
        liked = rng.random() < 0.85
        part: Body = {"rating": 1.0 if liked else -1.0, "label": "up" if liked else "down"}
        if call["content"] == "full" and rng.random() < 0.5:
            part["comment"] = say(rng, COMMENTS, desk.person())
        yield desk.about("feedback", at_ms + rng.uniform(4_000, 90_000), call, part)
    if rng.random() < EVALUATED_SHARE:
        score = round(min(1.0, max(0.0, rng.gauss(0.86, 0.07))), 3)
        yield desk.about("evaluation", at_ms + rng.uniform(1_000, 20_000), call, {"name": "relevance", "score": score})
