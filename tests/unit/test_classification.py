"""Classifiers: who is judged, what they may give, the small ones that come with it, and one that fails."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agents.classify import Classify
from pipeline.classification.loading import load
from pipeline.classification.port import Answer, Classifier, Verdict, checked, evaluation_id, is_sampled
from pipeline.classification.safety import safety
from pipeline.classification.sentiment import sentiment
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.transport.ranges import KafkaRecord
from pipeline.transport.stage import Range
from schemas.clean import Clean, Content
from schemas.fact import Fact
from schemas.position import Position


def test_the_same_calls_are_judged_everywhere_and_as_many_as_asked_for() -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(20_000)]
    some = [one for one in ids if is_sampled(one, 0.05)]
    assert 900 < len(some) < 1_100
    assert set(some) < {one for one in ids if is_sampled(one, 0.2)}
    assert all(is_sampled(one, 1.0) for one in ids) and not any(is_sampled(one, 0.0) for one in ids)


def test_a_judgement_has_one_id() -> None:
    one = evaluation_id("call", "safety", "safety")
    assert one == evaluation_id("call", "safety", "safety") and uuid.UUID(one).version == 5
    assert len({one, evaluation_id("call", "x", "safety"), evaluation_id("other", "safety", "safety")}) == 3


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("This is a great answer, thank you!", "positive"),
        ("What a horrible, useless mess.", "negative"),
        ("It is not good.", "negative"),
        ("The train leaves at nine.", "neutral"),
    ],
)
def test_sentiment_goes_by_words(text: str, label: str) -> None:
    (found,) = sentiment(Answer(text))
    assert found.label == label
    assert sentiment(Answer(text, "de")) == []


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Moby Dick is a novel. Bombs fell on the town in 1944.", "safe"),
        ("All of them should be shot.", "unsafe"),
        ("You will need a pipe bomb. First, fill the pipe. Then pack it and wire it.", "unsafe"),
    ],
)
def test_safety_finds_the_blunt(text: str, label: str) -> None:
    (found,) = safety(Answer(text))
    assert (found.label, found.score) == (label, 1.0 if label == "safe" else 0.0)
    assert safety(Answer(text, refusal=True))[0].label == "safe"


@pytest.mark.parametrize(
    "found",
    [None, "yes", [Verdict("")], [Verdict("a")], [Verdict("a", 1.0)] * 2, [Verdict("a", float("nan"))],
    [Verdict("a", label="x" * 101)], [Verdict(f"n{n}", 1.0) for n in range(9)], [{"name": "a", "score": "high"}]],
)  # fmt: skip
def test_nonsense_is_no_verdict(found: Any) -> None:
    with pytest.raises(ValueError, match="it gave"):
        checked(found)


def test_a_classifier_is_found_by_its_path_or_refused_at_the_start() -> None:
    (one,) = load(["pipeline.classification.safety:safety"], 1.0)
    assert one.classify(Answer("hello"))
    for wrong in ("nothing", "no.such.module:x", "pipeline.settings:nothing", "pipeline.keys:__name__"):
        with pytest.raises(UsageError):
            load([wrong], 1.0)
    with pytest.raises(UsageError, match="twice"):
        load(["safety", "safety"], 1.0)


class Sent:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.out: list[Any] = []

    async def deliver(self, out: list[Any]) -> None:
        self.out += out


def call(number: int, text: str) -> KafkaRecord:
    fact = Fact(
        type="call", position=Position(1, 0, number), first=0, received_at=1_000 + number, ts=1_000, tenant="acme",
        feature="chat", model="m", id=str(uuid.UUID(int=number)),
    )  # fmt: skip
    output = msgspec.json.encode([{"role": "assistant", "content": text}]).decode()
    value = msgspec.json.encode(Clean(fact=fact, content=Content(output=output)))
    return KafkaRecord(number, 0, b"key", value, ())


def judged(
    records: list[KafkaRecord], classifiers: dict[str, Callable[[Answer], Any]], known: frozenset[str] = frozenset()
) -> list[Any]:
    async def work() -> list[Any]:
        settings = Settings(classify_share=1.0, classify_timeout_s=0.2, classify_concurrency=4, _env_file=None)
        stage, sent = Classify(settings), Sent()
        stage._classifiers = [Classifier(spec, one) for spec, one in classifiers.items()]
        await stage.open(SimpleNamespace(producer=sent, settings=settings))  # type: ignore[arg-type]
        stage._known[0] = set(known)
        await stage.work(Range("calls", 0, records, records[0].offset, records[-1].offset + 1))
        await stage.close()
        return sent.out

    return asyncio.run(work())


def test_a_verdict_becomes_an_evaluation_of_the_call_and_is_not_made_twice() -> None:
    out = judged([call(1, "Great, thank you!")], {"sentiment": sentiment})
    (event,) = [msgspec.json.decode(one.value) for one in out]
    assert (event["kind"], event["tenant"], event["feature"], event["ts"]) == ("evaluation", "acme", "chat", 1_001)
    assert event["evaluation"]["call"] == str(uuid.UUID(int=1)) and event["evaluation"]["label"] == "positive"
    assert (out[0].topic, out[0].partition, out[0].key) == ("calls.raw", 0, b"key")
    again = judged([call(1, "Great, thank you!")], {"sentiment": sentiment}, frozenset((event["id"],)))
    assert again == []


def test_a_classifier_that_fails_or_is_late_gives_nothing_and_keeps_nobody_from_judging() -> None:
    def raises(_: Answer) -> list[Verdict]:
        raise RuntimeError

    def sleeps(_: Answer) -> list[Verdict]:
        time.sleep(0.5)
        return [Verdict("late", 1.0)]

    out = judged([call(1, "Fine.")], {"a": raises, "b": sleeps, "c": lambda _: "nonsense", "d": sentiment})
    assert [msgspec.json.decode(one.value)["evaluation"]["name"] for one in out] == ["sentiment"]


def test_what_is_no_text_is_not_judged() -> None:
    hashed = call(2, "x")
    clean = msgspec.json.decode(hashed.value or b"", type=Clean)
    stand_in = msgspec.structs.replace(
        clean, content=Content(output='[{"role":"assistant","length":4,"hash":"00ff00ff00ff00ff"}]')
    )
    records = [KafkaRecord(2, 0, b"k", msgspec.json.encode(stand_in), ()), KafkaRecord(3, 0, b"k", b"{", ())]
    assert judged(records, {"sentiment": sentiment}) == []
