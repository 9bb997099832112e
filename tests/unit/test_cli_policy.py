"""A policy and its holds in sentences."""

import msgspec
import pytest

from pipeline.cli.retention_words import hold_sentence, sentences
from pipeline.cli.sight import sights
from pipeline.control.holds import Hold, Placed, Released, Scope
from pipeline.control.policy import Policy, load, parse
from pipeline.errors import UsageError

SEEN = sights()
WHEN = 1_795_000_000_000  # 2026-11-18


def said(body):
    return list(sentences(parse(body), SEEN))


def test_each_class_is_told_with_its_life_its_purpose_and_who_sees_it():
    text, rows, findings, controls, *_ = said({})
    assert text == (
        "Redacted text is kept 30 days, to find out why a call went wrong. Who sees it: investigator (who must say "
        "why); and pipeline and custodian, which keep the tables."
    )
    assert rows.startswith("Rows without text are kept 365 days, to account for cost, latency and errors.")
    assert "auditor, investigator, oncall, finops, each tenant's reader its own" in rows
    assert findings.startswith("Findings, closed windows and late events are kept 400 days,")
    assert "finops" not in findings
    assert controls.startswith("The copy of switches, budgets, policies and holds is kept 3,650 days, to show who")
    assert "Who sees it: auditor, investigator, oncall; and" in controls and "tenant's reader" not in controls


def test_what_differs_is_told_by_tenant_and_environment():
    body = {
        "default": {"metadata_days": 90, "content": "hash"},
        "tenant": {
            "acme": {"metadata_days": 1, "text_days": 7, "content": "full", "purpose": {"text": "to train clerks"}},
            "beta": {"text_days": 0, "anomalies_days": 30},
        },
        "environment": {"dev": {"content": "none"}},
    }
    found = said(body)
    assert found[0].startswith("Of text only length and keyed hash are kept, 30 days, to find out")
    assert found[4:8] == [
        "Tenant acme: text 7 days to train clerks; rows without text 1 day; redacted text is kept.",
        "Tenant beta: no text is kept; findings 30 days.",
        "Environment dev: no text is kept.",
        "Where both name something, the tenant's word holds.",
    ]


def test_no_text_is_one_short_sentence():
    assert said({"default": {"text_days": 0}})[0] == said({"default": {"content": "none"}})[0] == "No text is kept."


def test_text_never_outlives_the_row_that_says_whose_it_is():
    policy = parse({"default": {"metadata_days": 10, "text_days": 30}, "tenant": {"acme": {"metadata_days": 5}}})
    assert policy.life("beta", None)[:2] == (10, 10)
    assert policy.life("acme", None)[:2] == (5, 5)


def test_a_tenants_word_wins_over_an_environments_and_that_over_the_default():
    policy = parse(
        {
            "default": {"text_days": 20},
            "tenant": {"acme": {"text_days": 7}},
            "environment": {"dev": {"text_days": 1, "metadata_days": 3}},
        }
    )
    assert [policy.days("text", tenant, "dev") for tenant in ("acme", "beta")] == [3, 1], "no longer than its row"
    assert policy.days("metadata", "acme", "dev") == 3
    assert policy.days("text", "beta", "prod") == 20
    assert policy.days("anomalies", "acme", "dev") == 400


@pytest.mark.parametrize(
    "body",
    [
        {"default": {"metadata_days": 0}},
        {"default": {"text_days": -1}},
        {"default": {"anomalies_days": 4000}},
        {"environment": {"dev": {"anomalies_days": 4}}},
        {"default": {"purpose": {"everything": "to have it"}}},
        {"default": {"purpose": {"text": "to have it."}}},
        {"default": {"purpose": {"text": " "}}},
        {"default": {"days": 3}},
    ],
)
def test_what_a_policy_cannot_mean_is_refused(body, tmp_path):
    with pytest.raises(msgspec.ValidationError):
        parse(body)


def test_a_policy_file_says_it_all_and_survives_the_log(tmp_path):
    (tmp_path / "policy.toml").write_text(
        '[default]\nmetadata_days = 90\npurpose = { text = "to answer complaints" }\n'
        "[tenant.acme]\nanomalies_days = 30\n[environment.dev]\ntext_days = 0\n"
    )
    policy = load(tmp_path / "policy.toml")
    assert policy.purpose("text", "acme") == "to answer complaints"
    assert policy.purpose("metadata", "acme") == Policy().purpose("metadata", "")
    assert parse(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(policy)))) == policy
    (tmp_path / "policy.toml").write_text("[default\n")
    with pytest.raises(UsageError, match="cannot be used"):
        load(tmp_path / "policy.toml")


def test_a_hold_is_told_without_saying_who_is_held():
    hold = Hold("4f2a91bc", Placed(Scope("acme", users=("mark",), from_ms=WHEN), "case 17", "legal"), WHEN)
    assert hold_sentence(hold) == (
        "Hold 4f2a91bc, placed 2026-11-18 by legal, keeps the rows of tenant acme of one person "
        "from 2026-11-18T11:06:40Z: case 17."
    )
    over = msgspec.structs.replace(hold, released=Released("closed", "legal"), released_at=WHEN)
    assert hold_sentence(over).endswith(" Released 2026-11-18 by legal: closed.")
