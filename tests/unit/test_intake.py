"""Claims about what becomes of a raw record: a reason and a path when it is bad, and never one of its values."""

import json

import msgspec
import pytest

from pipeline.control.policy import Policies
from pipeline.errors import PoisonError
from pipeline.intake.clean import CleanMaker
from pipeline.intake.decode import decode
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.intake.texts import Texts, fill
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from pipeline.redaction.values import Redacted
from schemas.control import Control
from schemas.position import Position

NOW = 1_780_000_000_000
WHERE = Where(Position(1, 0, 7), 5, NOW)
KEYS = Keys(b"k" * 32)
POLICIES = Policies([(0, Control(kind="policy", version=1, body={}))])


def maker() -> CleanMaker:
    return CleanMaker(FactMaker(Identifiers(KEYS, lambda value: "@" not in value), PriceBook()), "test")


def clean_of(body: dict, answers=None):
    value = json.dumps(body).encode()
    draft = maker().draft(decode(value, NOW), WHERE, value, (), POLICIES)
    texts = [f"R{n}" for n in range(len(draft.texts))] if answers is None else answers(draft.texts)
    return maker().finish(draft, [Redacted(text, {}, None) for text in texts])


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        (b"", "empty", ""),
        (None, "empty", ""),
        (b"{no json", "not_json", ""),
        (b"[1, 2]", "wrong_type", "$"),
        (b'{"feature": "chat"}', "missing", "$.tenant"),
        (b'{"tenant": ""}', "out_of_range", "$.tenant"),
        (b'{"tenant": 5}', "wrong_type", "$.tenant"),
        (b'{"tenant": "t", "usage": {"input": -1}}', "out_of_range", "$.usage.input"),
        (b'{"tenant": "t", "usage": {"input": "many"}}', "wrong_type", "$.usage.input"),
        (b'{"tenant": "t", "cost_usd": NaN}', "not_json", ""),
        (b'{"tenant": "t", "cost_usd": 1e999}', "out_of_range", "$.cost_usd"),
        (b'{"tenant": "t", "ts": 0}', "out_of_range", "$.ts"),
        (b'{"tenant": "t", "ts": 4102444800000}', "out_of_range", "$.ts"),
        (b'{"tenant": "t", "status": "exploded"}', "wrong_type", "$.status"),
        (b'{"tenant": "t", "output": "\xff\xfe"}', "bad_unicode", ""),
        (b'{"tenant": "t", "output": "\\ud800\\u0041"}', "bad_unicode", ""),
        (b'{"tenant": "t", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep", ""),
    ],
)
def test_a_bad_record_is_refused_with_a_reason_and_a_path(value, reason, path):
    with pytest.raises(PoisonError) as caught:
        decode(value, NOW)
    assert (caught.value.reason, caught.value.path) == (reason, path)


def test_what_is_said_of_a_bad_record_never_holds_its_value():
    for value in (b'{"tenant": "t", "status": "jane@example.com"}', b'{"tenant": "t", "ts": "jane@example.com"}'):
        with pytest.raises(PoisonError) as caught:
            decode(value, NOW)
        assert "jane" not in str(caught.value)


def test_a_nul_byte_in_a_name_makes_it_a_keyed_hash_and_in_text_it_stays_text():
    clean = clean_of({"tenant": "te\x00nant", "output": "a\x00b"})
    assert clean.fact.tenant.startswith("h_") and len(clean.fact.tenant) == 34
    assert clean.content.output == "R0"


def test_every_text_of_a_record_is_an_answer_of_redaction_or_structure():
    body = {
        "tenant": "acme",
        "input": [{"role": "user", "content": "secret one", "zebra": {"secret key": [4111111111111111, 3, 2.5]}}],
        "output": "secret two",
        "tool_calls": [{"name": "secret three", "arguments": {"q": "secret four"}, "result": "secret five"}],
        "error": {"message": "secret six", "type": "SecretSeven", "code": "secret8"},
        "tags": {"color": "secret nine"},
        "feedback": {"comment": "secret ten", "label": "secret eleven"},
    }
    clean = clean_of(body)
    text = msgspec.json.encode(clean.content).decode()
    assert "secret" not in text.lower() and "4111" not in text and "zebra" not in text
    assert json.loads(clean.content.input)[0]["role"] == "user"


def test_what_was_not_asked_for_is_dropped_and_counted():
    clean = clean_of({"tenant": "t", "zebra": "x", "parameters": {"temperature": 0.5, "stop": ["x"], "seed": True}})
    assert clean.dropped_fields == 3
    assert clean.parameters == {"temperature": 0.5}


def test_people_and_runs_are_keyed_hashes_that_differ_by_tenant():
    one = clean_of({"tenant": "a", "user": "jane", "run": "jane", "trace_id": "jane"}).fact
    two = clean_of({"tenant": "b", "user": "jane"}).fact
    assert len({one.user, one.run, one.trace, two.user, "jane"}) == 5


def test_an_id_that_is_no_uuid_becomes_one_that_says_nothing():
    fact = clean_of({"tenant": "a", "id": "jane-doe-1"}).fact
    assert fact.id[14] == "8" and "jane" not in fact.id
    same = clean_of({"tenant": "a", "id": "6BA7B811-9DAD-11D1-80B4-00C04FD430C8"}).fact
    assert same.id == "6ba7b811-9dad-11d1-80b4-00c04fd430c8"


def test_inline_images_are_replaced_by_their_length():
    texts = Texts()
    template = texts.collect([{"image_url": "data:image/png;base64," + "iVBORw0K" * 100}])
    assert texts.found == []
    assert fill(template, []) == [{"image_url": "<BASE64:822>"}]


def test_text_nested_deeper_than_anyone_writes_is_cut_off():
    value: object = "deep secret"
    for _ in range(200):
        value = [value]
    texts = Texts()
    assert "deep" not in json.dumps(fill(texts.collect(value), texts.found))


def test_a_policy_holds_by_the_time_of_the_event_and_the_first_from_the_beginning():
    policies = Policies(
        [
            (1_000_000, Control(kind="policy", version=1, body={"default": {"metadata_days": 10}})),
            (2_000_000, Control(kind="policy", version=2, body={"default": {"metadata_days": 20}})),
        ]
    )
    assert policies.at(0)[0] == 1
    assert policies.at(2_029_999)[0] == 1
    assert policies.at(2_030_000)[0] == 2


def test_a_policy_that_keeps_no_text_keeps_no_text():
    policies = Policies([(0, Control(kind="policy", version=1, body={"tenant": {"shy": {"content": "none"}}}))])
    value = b'{"tenant": "shy", "output": "secret", "tags": {"a": "secret"}}'
    draft = maker().draft(decode(value, NOW), WHERE, value, (), policies)
    assert draft.texts == [] and maker().finish(draft, []).content is None


def test_a_policy_of_hashes_keeps_length_and_keyed_hash():
    policies = Policies([(0, Control(kind="policy", version=1, body={"default": {"content": "hash"}}))])
    value = b'{"tenant": "shy", "output": "secret"}'
    clean = maker().finish(maker().draft(decode(value, NOW), WHERE, value, (), policies), [])
    assert json.loads(clean.content.output)["length"] == 6 and "secret" not in clean.content.output
