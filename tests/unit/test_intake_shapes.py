"""What is derived from text without text: languages measured, topics that tell shifts, refusals, words of errors."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest
import spacy

from pipeline.intake.decode import decode
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.intake.languages import _SCRIPTS, _SMALL_WORDS, language_of
from pipeline.intake.shapes import TAKEN_OUT, TOPICS, error_words, is_refusal, shape_of, topics_of
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from schemas.event import Event
from schemas.position import Position

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
SENTENCES = Path(spacy.__file__).parent / "lang"


def examples(language: str) -> list[str]:
    """SpaCy's example sentences of a language."""
    file = SENTENCES / language / "examples.py"
    if not file.exists():
        return []
    found = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    return next(ast.literal_eval(node.value) for node in found if getattr(node.targets[0], "id", "") == "sentences")


@pytest.mark.parametrize(("sentences", "right", "wrong"), [(1, 0.78, 0.06), (2, 0.92, 0.04), (3, 0.96, 0.02)])
def test_languages_are_told_as_often_as_we_say(sentences: int, right: float, wrong: float) -> None:
    """SpaCy's example sentences, by themselves and a few in a row: answers are longer than one sentence."""
    counted: Counter[str] = Counter()
    for language in {*_SMALL_WORDS, *(name for name, _ in _SCRIPTS)}:
        known = examples(language)
        for place in range(len(known) - sentences + 1):
            found = language_of(" ".join(known[place : place + sentences]))
            counted["none" if found is None else "right" if found == language else "wrong"] += 1
    assert counted["right"] >= right * counted.total(), counted
    assert counted["wrong"] <= wrong * counted.total(), counted


@pytest.mark.parametrize("text", ["", "ok", "12345 67890", "!!!", "GET /v1/items 200", "x" * 300])
def test_what_is_no_language_has_none(text: str) -> None:
    assert language_of(text) is None


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that.",
        "I cannot help you with this request, as it would be illegal.",
        "I’m unable to provide medical advice.",
        "As an AI language model, I cannot give legal opinions.",
        "This goes against my guidelines, so no.",
        "I must respectfully decline.",
        "Dabei kann ich dir leider nicht helfen.",
        "Lo siento, no puedo ayudar con eso.",
        "Sorry, but I won't write that for you.",
    ],
)
def test_an_answer_that_declines_is_a_refusal(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I cannot find an order with this number. Could you check it?",
        "Sorry for the delay! Your parcel arrives tomorrow.",
        "The function can't be called before open(); here is the fix.",
        "You can't combine both vouchers, but I have applied the better one.",
        "Your policy covers this. I have opened a claim.",
        "I can help you with that.",
        "He said he was unable to come.",
    ],
)
def test_an_answer_that_only_has_bad_news_is_none(answer: str) -> None:
    assert not is_refusal(answer)


def test_topics_are_keyed_few_and_the_same_whatever_the_order() -> None:
    one, other = "Where is my parcel with the delayed delivery?", "the delayed DELIVERY with my parcel: where"
    assert topics_of(one, KEY) == topics_of(other, KEY) != topics_of(one, OTHER_KEY)
    assert 1 <= len(topics_of(one, KEY)) <= 4 and all(0 <= topic < TOPICS for topic in topics_of(one, KEY))
    assert topics_of("a b c 1 2 3", KEY) == () == topics_of("", KEY)


def test_other_questions_have_other_topics_and_the_same_kind_has_the_same() -> None:
    words = {
        "billing": "invoice refund charge payment card account receipt amount subscription price tax".split(),
        "travel": "flight luggage airport seat booking passport gate delay hotel upgrade airline".split(),
    }

    def histogram(kind: str, seed: int) -> Counter[int]:
        dice, counts = Random(seed), Counter[int]()
        for _ in range(300):
            counts.update(topics_of("please " + " ".join(dice.sample(words[kind], 5)), KEY))
        return counts

    def distance(a: Counter[int], b: Counter[int]) -> float:
        return sum(abs(a[n] / a.total() - b[n] / b.total()) for n in range(TOPICS)) / 2

    assert distance(histogram("billing", 1), histogram("billing", 2)) < 0.15
    assert distance(histogram("billing", 1), histogram("travel", 3)) > 0.6


def test_words_of_an_error_say_what_it_is_and_not_about_what() -> None:
    one = error_words("Request 4711 of user 'jane.doe' failed: model `gpt-x` not found at /v1/chat (id=ab12)", KEY)
    same = error_words("request 99 of user 'john' failed: model `other` not found at /v2/x (id=zz9)", KEY)
    assert one == same and one.count(TAKEN_OUT) == 5
    assert one != error_words("Request 4711 of user 'jane.doe' was rejected: too long", KEY)
    assert one[1] != error_words("Request 4711 of user 'jane' failed: model `x` not found at /v1 (id=1)", OTHER_KEY)[1]
    assert error_words("", KEY) == error_words("   ", KEY) == ()
    assert len(error_words("word " * 500, KEY)) <= 25


def test_no_word_of_a_text_is_in_a_fact() -> None:
    maker = FactMaker(Identifiers(Keys(b"r" * 32), lambda _: True), PriceBook())
    body = {
        "tenant": "acme",
        "input": [{"role": "user", "content": "secretquestion about zanzibar penguins"}],
        "output": "I cannot help with secretanswer penguins, as it is against my guidelines and not what you want.",
        "error": {"message": "secretmessage: penguins exploded"},
        "guardrails": [{"name": "pii", "triggered": True}, {"name": "quiet", "triggered": False}],
    }
    fact = maker.fact(
        decode(msgspec.json.encode(body), 1_700_000_000_000), Where(Position(1, 0, 0), 0, 1_700_000_000_000)
    )
    assert (fact.refusal, fact.language, fact.guardrails) == (True, "en", ("pii",))
    assert fact.topics and fact.topic_bucket == fact.topics[0] and len(fact.error_words) == 4
    packed = msgspec.json.encode(fact).decode()
    assert not any(word in packed for word in ("secret", "penguin", "zanzibar", "guideline", "exploded"))


def test_where_text_was_left_out_only_numbers_are_known() -> None:
    body = {"tenant": "acme", "content": "hash", "input": [{"role": "user", "length": 9, "hash": "ab" * 16}],
            "output": {"length": 40, "hash": "cd" * 16}, "usage": {"output": 100}}  # fmt: skip
    shape = shape_of(msgspec.convert(body, Event), KEY)
    assert (shape.topics, shape.language, shape.refusal) == ((), None, None)
    assert (
        shape.length_bucket == shape_of(msgspec.convert({"tenant": "a", "output": "x" * 400}, Event), KEY).length_bucket
    )


@pytest.mark.parametrize("output", [None, "", [], {}, [None], [[["x"]]], 17, {"content": None}])
def test_any_shape_of_output_is_taken(output: object) -> None:
    shape_of(msgspec.convert({"tenant": "acme", "output": output, "input": output}, Event), KEY)
