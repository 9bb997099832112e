"""A known value of every type that a recogniser finds, for the self-test at the start of an engine. All are made up.

Tokens are put together here from their prefix and a filler, so that no scanner of repositories takes this file for a leak.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

_FILLERS: Final = {
    "a": "q7Zt2Lw9Xc4Vb8Nm1Kj6Hg3Fd5Sa0Pk", "h": "3f9a1c7e5b8d2046", "u": "Q7ZT2LWXC4VBNM3KJ6HGFD5SA", "l": "qztlwxcvbnmkjhgfdsap",
    "d": "7294186053", "U": "Q7ZT2LW9XC4VB8NM1KJ6HG3FD5SA0PK",
}  # fmt: skip
_FILL: Final = re.compile(r"\{(\d+)([ahuldU])\}")
_TOKENS: Final = {
    "OPENAI_KEY": "sk-proj-{48a}", "ANTHROPIC_KEY": "sk-ant-api03-{93a}", "OPENROUTER_KEY": "sk-or-v1-{64h}", "AWS_ACCESS_KEY_ID": "AKIA{16u}",
    "AWS_BEDROCK_KEY": "ABSK{60a}", "GOOGLE_API_KEY": "AIza{35a}", "GOOGLE_OAUTH": "GOCSPX-{28a}", "GITHUB_TOKEN": "ghp_{36a}",
    "GITLAB_TOKEN": "glpat-{20a}", "SLACK_TOKEN": "xoxb-{12d}-{13d}-{24a}", "SLACK_WEBHOOK": "https://hooks.slack.com/services/T{9U}/B{9U}/{24a}",
    "STRIPE_KEY": "sk_live_{24a}", "TWILIO_KEY": "SK{32h}", "SENDGRID_KEY": "SG.{22a}.{43a}", "MAILGUN_KEY": "key-{32h}", "MAILCHIMP_KEY": "{32h}-us12",
    "BREVO_KEY": "xkeysib-{64h}-{16a}", "NPM_TOKEN": "npm_{36a}", "PYPI_TOKEN": "pypi-AgEIcHlwaS5vcmc{80a}", "RUBYGEMS_KEY": "rubygems_{48h}",
    "CRATES_TOKEN": "cio{32a}", "NUGET_KEY": "oy2{43l}", "DOCKER_TOKEN": "dckr_pat_{27a}", "HUGGINGFACE_TOKEN": "hf_{34a}", "REPLICATE_TOKEN": "r8_{37a}",
    "GROQ_KEY": "gsk_{52a}", "XAI_KEY": "xai-{80a}", "PERPLEXITY_KEY": "pplx-{48a}", "NVIDIA_KEY": "nvapi-{64a}",
    "LANGFUSE_KEY": "sk-lf-{8h}-{4h}-{4h}-{4h}-{12h}", "LANGSMITH_KEY": "lsv2_pt_{32h}_{10h}", "PINECONE_KEY": "pcsk_{60a}", "TAVILY_KEY": "tvly-{32a}",
    "DIGITALOCEAN_TOKEN": "dop_v1_{64h}", "HEROKU_KEY": "HRKU-{60a}", "DATABRICKS_TOKEN": "dapi{32h}", "VAULT_TOKEN": "hvs.{90a}",
    "TERRAFORM_TOKEN": "{14a}.atlasv1.{67a}", "AZURE_SECRET": "{3a}8Q~{34a}", "SHOPIFY_TOKEN": "shpat_{32h}", "SQUARE_TOKEN": "sq0atp-{22a}",
    "PAYPAL_TOKEN": "access_token$production${16l}${32h}", "TELEGRAM_TOKEN": "{10d}:AA{33a}", "DISCORD_TOKEN": "M{25a}.G{5a}.{38a}",
    "NOTION_TOKEN": "ntn_{46a}", "LINEAR_KEY": "lin_api_{40a}", "FIGMA_TOKEN": "figd_{43a}", "AIRTABLE_TOKEN": "pat{14a}.{64h}",
    "ATLASSIAN_TOKEN": "ATATT3xFfGF0{180a}", "GRAFANA_TOKEN": "glsa_{32a}_{8h}", "NEWRELIC_KEY": "NRAK-{27U}", "SENTRY_TOKEN": "sntrys_{60a}",
    "DYNATRACE_TOKEN": "dt0c01.{24U}.{64U}", "PLANETSCALE_TOKEN": "pscale_tkn_{43a}", "SUPABASE_KEY": "sbp_{40h}", "POSTMAN_KEY": "PMAK-{24h}-{34h}",
    "DOPPLER_TOKEN": "dp.pt.{43a}", "PULUMI_TOKEN": "pul-{40h}", "PACKAGIST_TOKEN": "packagist_out_{68h}", "FLY_TOKEN": "fo1_{43a}", "AGE_KEY": "AGE-SECRET-KEY-1{58U}",
    "CONNECTION_STRING": "postgres://app:{14a}@db.internal:5432/main", "URL_CREDENTIALS": "https://deploy:{12a}@git.internal/x",
}  # fmt: skip


def _filled(template: str) -> str:
    def fill(match: re.Match[str]) -> str:
        size, kind = int(match[1]), _FILLERS[match[2]]
        return (kind * (size // len(kind) + 1))[:size]

    return _FILL.sub(fill, template)


def _jwt() -> str:
    head, body = (
        base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"4711"}')
    )
    return f"{head}.{body}.{_filled('{43a}')}"


_KEY_NAME: Final = "PRIVATE KEY"

KNOWN: Final[Mapping[str, tuple[str, str, str]]] = {
    "EMAIL_ADDRESS": ("Write to ", "jane.doe@example.com", " today."),
    "CREDIT_CARD": ("My card is ", "4111 1111 1111 1111", "."),
    "PHONE_NUMBER": ("Call me at ", "(202) 555-0173", " please."),
    "IP_ADDRESS": ("The host ", "192.168.17.45", " is down."),
    "URL": ("See ", "https://example.com/page", " for it."),
    "US_SSN": ("My ssn is ", "536-22-8145", "."),
    "US_ITIN": ("My itin is ", "912-70-1234", "."),
    "US_PASSPORT": ("My passport is ", "A12345678", "."),
    "US_BANK_NUMBER": ("My bank account is ", "123456789012", "."),
    "US_DRIVER_LICENSE": ("My driver's license is ", "H12345678", "."),
    "UK_NHS": ("NHS number ", "943 476 5919", "."),
    "IBAN_CODE": ("Pay to ", "DE89 3704 0044 0532 0130 00", "."),
    "CRYPTO": ("Wallet ", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", " ok"),
    "MAC_ADDRESS": ("It is ", "00:1A:2B:3C:4D:5E", " there"),
    "MEDICAL_LICENSE": ("DEA ", "BB1388568", " ok"),
    "UUID": ("id ", "7f3e8c1a-9b2d-4e5f-a6b7-c8d9e0f1a2b3", " ok"),
    "DATE_TIME": ("On ", "12/05/1999", " it was"),
    "DATE_OF_BIRTH": ("date of birth: ", "12/05/1979", " ok"),
    "AGE": ("She is ", "45", " years old."),
    "STREET_ADDRESS": ("Send it to ", "221 Baker Street", " please"),
    "ZIP_CODE": ("zip code ", "94105", " ok"),
    "LOCATION": ("We flew to ", "Portugal", " once."),
    "PERSON": ("Ask Mr. ", "Johnson", " about it."),
    "JWT": ("token ", _jwt(), " ok"),
    "PRIVATE_KEY": ("key:\n", f"-----BEGIN {_KEY_NAME}-----\n{_filled('{64a}')}\n-----END {_KEY_NAME}-----", "\nok"),
    "BEARER_TOKEN": ("Authorization: Bearer ", _filled("{40a}"), " ok"),
    "BASIC_AUTH": ("Authorization: Basic ", base64.b64encode(b"user:correct-horse-9").decode(), " ok"),
    "SECRET": ("my password is ", "Tr0ub4dor&3x", " ok"),
    "AWS_SECRET_KEY": ("aws_secret_access_key = ", _filled("{40a}"), " ok"),
    **{entity: ("It is ", _filled(template), " ok") for entity, template in _TOKENS.items()},
}
"""Type -> (text before, value, text after)."""
