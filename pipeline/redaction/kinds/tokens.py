"""Keys and tokens by the prefixes and lengths that their issuers write (docs/reference/secrets.md says which are sure).

A token with a prefix is found by that prefix wherever it stands. Lengths are lower bounds: issuers lengthen their
tokens without notice, and the rest of a run of token characters belongs to it.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import regex

from pipeline.redaction.kinds.shape import Shape, Sought

ALONE: Final = r"(?<![A-Za-z0-9])"  # nothing that could belong to the token stands before it
_T: Final = r"[A-Za-z0-9_-]"  # characters of base64url, what most tokens are made of

# entity -> its shapes. Where each is from, and which could not be looked up: docs/reference/secrets.md.
_PREFIXED: Final[dict[str, tuple[str, ...]]] = {
    "OPENAI_KEY": (rf"sk-(?:proj|svcacct|admin|None)-{_T}{{20,}}", r"sk-[A-Za-z0-9]{20,}(?:T3BlbkFJ[A-Za-z0-9]{20,})?"),
    "ANTHROPIC_KEY": (rf"sk-ant-(?:[a-z]{{2,8}}\d{{2}}-)?{_T}{{20,}}",),
    "OPENROUTER_KEY": (r"sk-or-(?:v\d-)?[A-Za-z0-9]{32,}",),
    "AWS_ACCESS_KEY_ID": (r"(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|AROA|APKA|ASCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
                          r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    "AWS_BEDROCK_KEY": (r"ABSK[A-Za-z0-9+/]{40,}={0,2}", r"bedrock-api-key-[A-Za-z0-9+/=_-]{20,}"),
    "GOOGLE_API_KEY": (rf"AIza{_T}{{35,}}", rf"AQ\.Ab{_T}{{30,}}"),
    "GOOGLE_OAUTH": (r"ya29\.[A-Za-z0-9._-]{20,}", rf"GOCSPX-{_T}{{20,}}", rf"1//0{_T}{{30,}}"),
    "GITHUB_TOKEN": (r"gh[pousr]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{22,}"),
    "GITLAB_TOKEN": (r"gl(?:pat|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|oas|wt)-[A-Za-z0-9_.-]{20,}",
                     r"GR1348941[A-Za-z0-9_-]{20,}"),
    "SLACK_TOKEN": (r"xox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}", r"xapp-\d-[A-Za-z0-9-]{10,}", r"xwfp-[A-Za-z0-9-]{10,}"),
    "SLACK_WEBHOOK": (r"(?:https?://)?hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}",),
    "STRIPE_KEY": (r"(?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{10,}", r"whsec_[A-Za-z0-9+/=]{20,}"),
    "TWILIO_KEY": (r"(?:SK|AC)[0-9a-f]{32}(?![A-Za-z0-9])",),
    "SENDGRID_KEY": (rf"SG\.{_T}{{16,}}\.{_T}{{16,}}",),
    "MAILGUN_KEY": (r"key-[0-9a-f]{32}(?![A-Za-z0-9])", r"[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}(?![A-Za-z0-9])"),
    "MAILCHIMP_KEY": (r"[0-9a-f]{32}-us\d{1,2}(?!\d)",),
    "BREVO_KEY": (r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}",),
    "NPM_TOKEN": (r"npm_[A-Za-z0-9]{36,}",),
    "PYPI_TOKEN": (rf"pypi-Ag{_T}{{50,}}", rf"pypi-{_T}{{85,}}"),
    "RUBYGEMS_KEY": (r"rubygems_[0-9a-f]{48}",),
    "CRATES_TOKEN": (r"cio[A-Za-z0-9]{32}(?![A-Za-z0-9])",),
    "NUGET_KEY": (r"oy2[a-z0-9]{43}(?![A-Za-z0-9])",),
    "DOCKER_TOKEN": (rf"dckr_(?:pat|oat)_{_T}{{15,}}",),
    "HUGGINGFACE_TOKEN": (r"hf_[A-Za-z0-9]{30,}", r"api_org_[A-Za-z0-9]{30,}"),
    "REPLICATE_TOKEN": (r"r8_[A-Za-z0-9]{35,}",),
    "GROQ_KEY": (r"gsk_[A-Za-z0-9]{40,}",),
    "XAI_KEY": (r"xai-[A-Za-z0-9]{20,}",),
    "PERPLEXITY_KEY": (r"pplx-[A-Za-z0-9]{40,}",),
    "NVIDIA_KEY": (rf"nvapi-{_T}{{40,}}",),
    "LANGFUSE_KEY": (r"sk-lf-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",),
    "LANGSMITH_KEY": (r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", r"ls__[0-9a-f]{32}"),
    "PINECONE_KEY": (r"pcsk_[A-Za-z0-9_]{40,}",),
    "TAVILY_KEY": (rf"tvly-(?:dev-|prod-)?{_T}{{24,}}",),
    "DIGITALOCEAN_TOKEN": (r"do[oprt]_v1_[0-9a-f]{64}",),
    "HEROKU_KEY": (r"HRKU-(?:[A-Za-z0-9_-]{36,})",),
    "DATABRICKS_TOKEN": (r"dapi[0-9a-f]{32}(?:-\d+)?(?![A-Za-z0-9])",),
    "VAULT_TOKEN": (rf"hv[sbr]\.{_T}{{20,}}", r"[sbr]\.[A-Za-z0-9]{24}(?![A-Za-z0-9_(\[]|\.\w)"),
    "TERRAFORM_TOKEN": (rf"[A-Za-z0-9]{{14}}\.atlasv1\.{_T}{{40,}}",),
    "AZURE_SECRET": (r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{30,}", r"AccountKey=(?P<v>[A-Za-z0-9+/]{60,}={0,2})",
                     r"SharedAccessKey=(?P<v>[A-Za-z0-9+/]{30,}={0,2})", r"[?&;]sig=(?P<v>[A-Za-z0-9%+/_-]{40,}=?)"),
    "SHOPIFY_TOKEN": (r"shp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{32,}",),
    "SQUARE_TOKEN": (rf"sq0[a-z]{{3}}-{_T}{{22,}}", rf"EAAA[a-zA-Z]{_T}{{50,}}"),
    "PAYPAL_TOKEN": (r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",),
    "TELEGRAM_TOKEN": (r"\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",),
    "DISCORD_TOKEN": (r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
                      r"mfa\.[A-Za-z0-9_-]{80,}",
                      r"(?:https?://)?(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,}"),
    "NOTION_TOKEN": (r"ntn_[A-Za-z0-9]{40,}", r"secret_[A-Za-z0-9]{43}(?![A-Za-z0-9])"),
    "LINEAR_KEY": (r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}",),
    "FIGMA_TOKEN": (rf"fig[dopu]_{_T}{{40,}}",),
    "AIRTABLE_TOKEN": (r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}",),
    "ATLASSIAN_TOKEN": (r"ATATT3[A-Za-z0-9_=-]{60,}", r"ATCTT3[A-Za-z0-9_=-]{60,}", r"ATBB[A-Za-z0-9]{24,}"),
    "GRAFANA_TOKEN": (r"glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}", r"glc_[A-Za-z0-9+/]{32,}={0,2}"),
    "NEWRELIC_KEY": (r"NRAK-[A-Z0-9]{27}", r"NRJS-[a-f0-9]{19}", r"NRII-[A-Za-z0-9_-]{32}"),
    "SENTRY_TOKEN": (r"sntry[aisu]_[A-Za-z0-9+/=_-]{40,}",),
    "DYNATRACE_TOKEN": (r"dt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}",),
    "PLANETSCALE_TOKEN": (r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9=._-]{32,}",),
    "SUPABASE_KEY": (r"sbp_(?:[a-z0-9]{2,8}_)?[0-9a-f]{40}", rf"sb_secret_{_T}{{20,}}"),
    "POSTMAN_KEY": (r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",),
    "DOPPLER_TOKEN": (r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}",),
    "PULUMI_TOKEN": (r"pul-[0-9a-f]{40}",),
    "FLY_TOKEN": (r"fm\d[ar]?_[A-Za-z0-9+/]{60,}={0,3}", rf"fo1_{_T}{{40,}}"),
    "PACKAGIST_TOKEN": (r"packagist_[a-z]{3}_[0-9a-f]{68}",),
    "AGE_KEY": (r"AGE-SECRET-KEY-1[A-Z0-9]{58}",),
}  # fmt: skip


def entropy_bits(value: str) -> float:
    """Shannon entropy of a value's characters, bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def is_random(text: str, start: int, end: int) -> bool:
    """Token characters that no person typed as a word: digits among them, or upper and lower case without a pattern."""
    value = text[start:end]
    if _BLANK.search(value) or len(set(value)) < 7:
        return False
    tail = regex.split(r"[-_.:/$]", value)[-1]
    telling = max(tail, value[-20:], key=len)
    if len(value) >= 16 and value.isalnum() and value.isupper():
        return True  # all capitals: an identifier of twenty characters needs no digit
    return entropy_bits(telling) > 2.3 and (any(c.isdigit() for c in telling) or entropy_bits(telling) > 3.2)


# What stands in documentation where a token would; a token with a prefix is otherwise taken for one, examples too.
_BLANK: Final = regex.compile(r"(?i)(?:^|[-_.<])(?:your|example|placeholder)(?:[-_.>]|$)|x{6,}|\*{3,}|\.{3}$")


def tokens() -> list[Sought]:
    """Each issuer's keys."""
    return [
        Sought(
            entity,
            tuple(Shape(f"{entity.lower()} {i + 1}", ALONE + p, 0.95, is_random) for i, p in enumerate(patterns)),
        )
        for entity, patterns in _PREFIXED.items()
    ]
