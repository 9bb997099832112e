"""A policy in sentences."""

from pipeline.cli.retention import sentences
from pipeline.control.policy import parse


def test_the_default_policy_is_one_sentence():
    assert list(sentences(parse({}))) == ["Rows without text are kept 365 days; redacted text is kept 30 days."]


def test_what_differs_is_told_by_tenant_and_environment():
    policy = parse(
        {
            "default": {"metadata_days": 90, "content": "hash"},
            "tenant": {"acme": {"metadata_days": 1, "text_days": 7, "content": "full"}, "beta": {"text_days": 0}},
            "environment": {"dev": {"content": "none"}},
        }
    )
    assert list(sentences(policy)) == [
        "Rows without text are kept 90 days; of text only length and keyed hash are kept.",
        "Tenant acme: rows without text 1 day, text 7 days, redacted text is kept.",
        "Tenant beta: no text is kept.",
        "Environment dev: no text is kept.",
        "Where both name something, the tenant's word holds.",
    ]
