"""What a policy says is what is done: per tenant, per type, by version; and the way back for whoever holds the key."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter

import msgspec
import pytest

from pipeline.control.policy import Policies, RedactionRule, parse
from pipeline.detection.redaction_canary import canary_seen
from pipeline.errors import UsageError
from pipeline.intake.texts import Texts, fill
from pipeline.intake.treatments import Treatments, treatment
from pipeline.keys import Keys, resolve
from pipeline.redaction import REPLACED, Finding, RedactionConfig, Redactor, apply
from pipeline.redaction.seal import Seal
from pipeline.redaction.treat import PLAIN, Treatment
from schemas.control import Control
from schemas.fact import Fact
from schemas.position import Position

KEYS = Keys(b"k" * 32)
TEXT = "call 202-555-0173 or 202.555.0173"
PHONES = [Finding("PHONE_NUMBER", 5, 17, 0.6), Finding("PHONE_NUMBER", 21, 33, 0.6)]


def made(rule: RedactionRule, tenant: str = "acme") -> Treatment:
    return treatment(rule, tenant, KEYS)


def test_each_action_does_what_its_name_says() -> None:
    assert apply(TEXT, PHONES, made(RedactionRule()))[0] == "call <PHONE_NUMBER> or <PHONE_NUMBER>"
    assert apply(TEXT, PHONES, made(RedactionRule(action="drop")))[0] == "call  or "
    masked, counts = apply(TEXT, PHONES, made(RedactionRule(action="mask", keep_last=4)))
    assert (masked, counts) == ("call ********0173 or ********0173", {"PHONE_NUMBER": 2})
    only_cards = made(RedactionRule(entities=("CREDIT_CARD",)))
    assert apply(TEXT, PHONES, only_cards) == (TEXT, {})
    assert apply(TEXT, PHONES, made(RedactionRule(without=("PHONE_NUMBER",)))) == (TEXT, {})


def test_the_same_number_has_the_same_token_within_a_tenant_and_another_elsewhere() -> None:
    rule = RedactionRule(action="pseudonym")
    ours = apply(TEXT, PHONES, made(rule))[0].split(" or ")
    theirs = apply(TEXT, PHONES, made(rule, "other"))[0]
    assert ours[0].removeprefix("call ") == ours[1]
    assert ours[1].startswith("<PHONE_NUMBER:") and ours[1] not in theirs and "0173" not in ours[1]


def test_whoever_holds_the_key_can_open_what_was_encrypted_for_its_tenant_and_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = os.urandom(32)
    monkeypatch.setenv("SEAL", base64.b64encode(key).decode())
    done, _ = apply(TEXT, PHONES, made(RedactionRule(action="encrypt", key="env:SEAL")))
    assert "0173" not in done and done.count("<PHONE_NUMBER:!") == 2
    assert Seal(key, "env:SEAL").open_all("acme", done) == (TEXT, 2, 0)
    for wrong in (Seal(key, "env:OTHER"), Seal(os.urandom(32), "env:SEAL")):
        assert wrong.open_all("acme", done) == (done, 0, 2)
    assert Seal(key, "env:SEAL").open_all("other", done)[1] == 0
    assert Seal(key, "env:SEAL").open_all("acme", done.replace("PHONE_NUMBER", "US_SSN"))[1] == 0


def test_a_key_that_is_not_there_makes_values_be_replaced() -> None:
    done, _ = apply(TEXT, PHONES, made(RedactionRule(action="encrypt", key="env:NOT_SET_ANYWHERE")))
    assert done == "call <PHONE_NUMBER> or <PHONE_NUMBER>"
    with pytest.raises(UsageError, match="empty"):
        resolve("env:NOT_SET_ANYWHERE")


@pytest.mark.parametrize(
    "body",
    [
        {"default": {"redaction": {"action": "shred"}}},
        {"default": {"redaction": {"action": "encrypt"}}},
        {"default": {"redaction": {"keep_last": 9}}},
        {"default": {"redaction": {"key": "c2VjcmV0"}}},
        {"tenant": {"acme": {"redaction": {"actions": {"US_SSN": "encrypt"}}}}},
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(body: dict[str, object]) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        parse(body)


def test_the_closest_word_wins_and_the_version_in_force_at_receipt_decides() -> None:
    first = {"default": {"redaction": {"action": "drop", "actions": {"US_SSN": "mask"}}}}
    second = {**first, "tenant": {"acme": {"redaction": {"actions": {"PHONE_NUMBER": "mask"}}}}}
    policies = Policies(
        [(0, Control(kind="policy", version=1, body=first)), (100_000, Control(kind="policy", version=2, body=second))]
    )
    treatments = Treatments(KEYS)
    before = treatments.of(*policies.at(100_000), "acme", None)[3]
    after = treatments.of(*policies.at(130_000), "acme", None)[3]
    other = treatments.of(*policies.at(130_000), "other", None)[3]
    assert [t.instead("PHONE_NUMBER", "12345") for t in (before, after, other)] == ["", "*****", ""]
    assert after.instead("US_SSN", "123") == "***" and after.instead("PERSON", "Jo") == ""
    assert treatments.of(1, parse({}), "x", None)[3] is PLAIN


def test_one_redactor_serves_several_tenants_policies() -> None:
    redactor = Redactor(RedactionConfig(ner=False), processes=0)
    redactor.start()
    treats = [PLAIN, made(RedactionRule(action="mask")), made(RedactionRule(without=("EMAIL_ADDRESS", "URL")))]
    texts = [(tenant, "mail jane.doe@example.com") for tenant in ("a", "b", "c")]
    done = redactor.redact_many_sync(texts, treats)
    assert [one.text for one in done] == ["mail <EMAIL_ADDRESS>", "mail " + "*" * 20, texts[2][1]]
    assert [dict(one.counts) for one in done] == [{"EMAIL_ADDRESS": 1}, {"EMAIL_ADDRESS": 1}, {}]
    redactor.close()


def test_a_canary_that_would_be_stored_replaces_its_text_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "marble-otter-4471")
    watch = made(RedactionRule(canary="env:CANARY"))
    redactor = Redactor(RedactionConfig(ner=False), processes=0)
    redactor.start()
    texts = ["it is marble-otter-4471!", "it is marble-\u200botter-４４71!", "nothing here"]
    done = redactor.redact_many_sync([("acme", text) for text in texts], [watch] * 3)
    assert [(one.text, one.failed) for one in done] == [(REPLACED, "canary"), (REPLACED, "canary"), (texts[2], None)]
    redactor.close()


DATA = {
    "ssn": "123456789", "user": {"password": "hunter2", "pin": 4711, "fullName": "John Smith"}, "keys": ["a", {"api_key": "k"}],
    "text": json.dumps({"email": "jane@example.com", "deep": json.dumps([1, 2.50, 4111111111111111])}), "ok": True, "n": None,
}  # fmt: skip


def test_json_in_a_string_is_walked_as_data_and_put_together_as_it_was_written() -> None:
    for text in (json.dumps(DATA), json.dumps(DATA, indent=2), json.dumps(DATA, separators=(" , ", " : "))):
        texts = Texts()
        template = texts.collect([{"role": "tool", "content": text}])
        assert {"ssn: 123456789", "full Name: John Smith", "jane@example.com", "4111111111111111"} <= set(texts.found)
        assert not any("hunter2" in t or t == "4711" for t in texts.found)
        counts: Counter[str] = Counter()
        back = json.loads(fill(template, texts.found, counts)[0]["content"])
        assert counts == {"SECRET": 3}
        assert back["user"] == {"password": "<SECRET>", "pin": "<SECRET>", "fullName": "John Smith"}
        assert back | {"user": 0, "keys": 0} == DATA | {"user": 0, "keys": 0}


def test_a_value_that_its_key_says_to_be_secret_is_treated_as_the_policy_has_it() -> None:
    for policy, stands in (
        (Treatment(action="drop"), ""),
        (Treatment(actions={"SECRET": "mask"}, keep_last=2), "*****r2"),
        (Treatment(without=frozenset({"SECRET"})), "hunter2"),
    ):
        texts = Texts(policy)
        template = texts.collect({"password": "hunter2"})
        assert dict(fill(template, texts.found)) == {"password": stands}


def test_a_tenant_without_names_is_not_asked_about_and_shares_no_answer_with_one_that_is() -> None:
    redactor = Redactor(RedactionConfig(hyperscan=False), processes=0)
    redactor.start()
    text = "The report by Robert Johnson went to jane@example.com"
    without, with_ = Treatment(names=False), Treatment()
    done = redactor.redact_many_sync([("acme", text)] * 4, [without, with_, without, with_])
    redactor.close()
    bare, named = (
        "The report by Robert Johnson went to <EMAIL_ADDRESS>",
        "The report by <PERSON> went to <EMAIL_ADDRESS>",
    )
    assert [one.text for one in done] == [bare, named, bare, named]


def test_what_is_no_json_is_one_text_and_an_answer_replaced_whole_stays_whole() -> None:
    texts = Texts()
    assert fill(texts.collect('{"a": 1'), texts.found) == '{"a": 1' and texts.found == ['{"a": 1']
    texts = Texts()
    template = texts.collect('{"phone": "202-555-0173", "x": "y"}')
    assert (
        fill(template, [REPLACED] * len(texts.found))
        == '{"<REDACTION_FAILED>": "<REDACTION_FAILED>", "<REDACTION_FAILED>": "<REDACTION_FAILED>"}'
    )


def test_a_canary_pages_once_for_a_tenant_and_hour_whatever_is_replayed() -> None:
    def fact(tenant: str, received_at: int, offset: int) -> Fact:
        return Fact(
            type="call",
            position=Position(1, 0, offset),
            first=0,
            received_at=received_at,
            ts=received_at,
            tenant=tenant,
        )

    pages = [canary_seen(fact("acme", at, n), 1) for n, at in enumerate((3_600_000, 7_100_000, 7_300_000))]
    assert pages[0].id == pages[1].id != pages[2].id
    assert canary_seen(fact("other", 3_600_000, 0), 1).id != pages[0].id
    assert (pages[0].rule, pages[0].tier, pages[0].evidence) == ("redaction.canary", 1, ("1/0/0",))
