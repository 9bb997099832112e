"""Secrets: keys and tokens by the prefixes and lengths that their issuers document, and what is said to be a secret.

A token with a prefix is found by that prefix wherever it stands. Where an issuer has no prefix, only the words before
the value tell, so an assignment counts (`password = ...`, `api_key: ...`) if the value does not look like code, a
placeholder or a word. Lengths are lower bounds: issuers lengthen their tokens without notice, and the rest of a run of
token characters belongs to it.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from typing import Any, Final

import regex

from pipeline.redaction.kinds.base import Kind, Shape

_B: Final = r"(?<![A-Za-z0-9])"  # nothing that could belong to the token stands before it
_T: Final = r"[A-Za-z0-9_-]"  # characters of base64url, what most tokens are made of

# entity -> its shapes. Sources: the issuers' own pages on keys and secret scanning, see docs/reference/secrets.md.
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
    "PYPI_TOKEN": (rf"pypi-Ag{_T}{{50,}}",),
    "RUBYGEMS_KEY": (r"rubygems_[0-9a-f]{48}",),
    "CRATES_TOKEN": (r"cio[A-Za-z0-9]{32}(?![A-Za-z0-9])",),
    "NUGET_KEY": (r"oy2[a-z0-9]{43}(?![A-Za-z0-9])",),
    "DOCKER_TOKEN": (rf"dckr_(?:pat|oat)_{_T}{{20,}}",),
    "HUGGINGFACE_TOKEN": (r"hf_[A-Za-z0-9]{30,}", r"api_org_[A-Za-z0-9]{30,}"),
    "REPLICATE_TOKEN": (r"r8_[A-Za-z0-9]{35,}",),
    "GROQ_KEY": (r"gsk_[A-Za-z0-9]{40,}",),
    "XAI_KEY": (r"xai-[A-Za-z0-9]{60,}",),
    "PERPLEXITY_KEY": (r"pplx-[A-Za-z0-9]{40,}",),
    "NVIDIA_KEY": (rf"nvapi-{_T}{{40,}}",),
    "LANGFUSE_KEY": (r"sk-lf-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",),
    "LANGSMITH_KEY": (r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}", r"ls__[0-9a-f]{32}"),
    "PINECONE_KEY": (r"pcsk_[A-Za-z0-9_]{40,}",),
    "TAVILY_KEY": (rf"tvly-(?:dev-|prod-)?{_T}{{24,}}",),
    "DIGITALOCEAN_TOKEN": (r"do[oprt]_v1_[0-9a-f]{64}",),
    "HEROKU_KEY": (r"HRKU-(?:[A-Za-z0-9_-]{36,})",),
    "DATABRICKS_TOKEN": (r"dapi[0-9a-f]{32}(?:-\d+)?(?![A-Za-z0-9])",),
    "VAULT_TOKEN": (rf"hv[sbr]\.{_T}{{20,}}",),
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
    "SENTRY_TOKEN": (r"sntry[su]_[A-Za-z0-9+/=_-]{40,}",),
    "DYNATRACE_TOKEN": (r"dt0[a-z]\d{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}",),
    "PLANETSCALE_TOKEN": (r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9=._-]{32,}",),
    "SUPABASE_KEY": (r"sbp_[0-9a-f]{40}", rf"sb_secret_{_T}{{20,}}"),
    "POSTMAN_KEY": (r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",),
    "DOPPLER_TOKEN": (r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}",),
    "PULUMI_TOKEN": (r"pul-[0-9a-f]{40}",),
    "FLY_TOKEN": (r"fm\d[ar]?_[A-Za-z0-9+/]{60,}={0,3}", rf"fo1_{_T}{{40,}}"),
    "AGE_KEY": (r"AGE-SECRET-KEY-1[A-Z0-9]{58}",),
}  # fmt: skip

_JWT: Final = r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"
_BEGIN: Final = r"-----BEGIN[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_END: Final = r"-----END[ A-Z0-9]{0,40}PRIVATE KEY(?: BLOCK)?-----"
# Words that say a value is secret; between them and the value stand what code, configuration and prose put there.
_NAMES: Final = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|(?:api|access|auth|private|secret|encryption|signing|account|master|admin|"
    r"license|subscription|storage)[_ .-]?key|apikey|token|credential|client[_ .-]?secret"
)
_ASSIGNED: Final = (
    rf"(?:{_NAMES})(?:[_ .-]?(?:id|key|value|string|hash|base64))?s?[\"'`*)\]]{{0,3}}[ \t]{{0,4}}"
    r"(?:(?::=?|=|=>|->|\bis\b:?|\bwas\b:?)[ \t]{0,4}){1,2}[\"'`*]{0,3}"
    r"(?P<v>[^\s\"'`<>{}]{6,200})"
)
_SCHEMES: Final = (
    r"postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver|oracle|clickhouse|cockroachdb|snowflake|"
    r"cassandra|couchbase|neo4j|bolt|nats|kafka|ldaps?|smtps?|imaps?|sqlalchemy|redshift|db2|influxdb|memcached"
)
_IS: Final = regex.compile(r"\b(?:is|was):?\s*$")


def _is_jwt(text: str, start: int, end: int) -> bool:
    head = text[start:end].split(".", 1)[0]
    try:
        decoded = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False
    return decoded.startswith(b'{"') and b'":' in decoded


def entropy_bits(value: str) -> float:
    """Shannon entropy of a value's characters, bits a character."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values())


def _is_random(text: str, start: int, end: int) -> bool:
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
_PLACEHOLDERS: Final = regex.compile(
    r"(?i)(?-i:x{4,}|X{4,})|\*{3,}|\.{3}|your[-_. ]?(?:api|pass|secret|key|token|own|pwd|user|name|db|host)|^your|example|placeholder|dummy|change.?me|insert|replace|redacted|my.?(?:secret|pass|key|"
    r"token|api)|1234567890abcdef|0123456789|abcdefghij|^(?:abc|xyz|foo|bar|test)\w{0,6}$|<|\{|\$\("
)


def _is_placeholder(value: str) -> bool:
    return _PLACEHOLDERS.search(value) is not None or len(set(value.lower())) < 5


# Code on the right of an assignment: a call, an attribute, an index, a variable, a type.
_CODE: Final = regex.compile(
    r"[()\[\]$&|;]|^[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+,?$|->|=>|::|^[%@#/\\]|^(?:https?|file)://|^[\w./-]+\.(?:py|js|ts|json|ya?ml|"
    r"txt|md|html?|php|java|go|rs|sh|env|pem|key)$"
)


def _is_said_secret(text: str, start: int, end: int) -> bool:
    """Whether what stands behind `password =` and its like is a value: not code, no placeholder, no plain word."""
    value = text[start:end].rstrip(".,;:!?)*")
    quoted = start > 0 and text[start - 1] in "\"'`"
    in_prose = _IS.search(text, max(0, start - 8), start) is not None
    if len(value) < 6 or _is_placeholder(value) or (_CODE.search(value) and not quoted and not in_prose):
        return False
    if quoted and _CODE.search(value) and regex.search(r"[()$]|^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|^https?:", value):
        return False
    has_digit, has_letter = any(c.isdigit() for c in value), any(c.isalpha() for c in value)
    has_sign = any(not c.isalnum() and c not in "_-./" for c in value)
    mixed = has_digit and any(c.isupper() for c in value) and any(c.islower() for c in value)
    if not mixed and regex.fullmatch(r"[A-Za-z]+(?:[_.-][A-Za-z]+)*\d{0,2}", value) and len(value) < 20:
        # A word or a name of a variable; in prose and with a digit it is a password as people choose them.
        return has_digit and not quoted and in_prose
    return (has_digit and has_letter) or (has_sign and has_letter) or (len(value) >= 20 and entropy_bits(value) > 3.5)


def _is_password_in_address(text: str, start: int, end: int) -> bool:
    """Whether `scheme://user:password@host` holds a password that is one."""
    password = text[start:end].split("://", 1)[1].rsplit("@", 1)[0].partition(":")[2]
    return (
        bool(password)
        and regex.fullmatch(r"[<\[{$%].*|\*+|x+|X+|\.+|(?i:password|pass|pwd|passwd|secret|your\S*|token)", password)
        is None
    )


def secrets() -> list[Any]:
    """A recogniser for each kind of secret."""
    found = [
        Kind(entity, [Shape(f"{entity.lower()} {i + 1}", _B + p, 0.95, _is_random) for i, p in enumerate(patterns)])
        for entity, patterns in _PREFIXED.items()
    ]
    nocase = regex.MULTILINE | regex.IGNORECASE
    return [
        *found,
        Kind("JWT", [Shape("json web token", _B + _JWT, 0.95, _is_jwt)]),
        Kind(
            "PRIVATE_KEY",
            [
                Shape("whole key", rf"{_BEGIN}[\s\S]{{1,20000}}?{_END}", 1.0),
                Shape("cut key", rf"{_BEGIN}(?:[A-Za-z0-9+/=\s\\:,._-]|\\[nr]){{16,20000}}", 0.9),
                Shape("end of a key", rf"(?:[A-Za-z0-9+/=]{{16,100}}(?:\s|\\[nr]){{1,4}}){{1,400}}{_END}", 0.9),
            ],
            whole_text=True,
        ),
        Kind(
            "CONNECTION_STRING",
            [
                Shape(
                    "address with a password",
                    rf"(?:jdbc:)?(?:{_SCHEMES})(?:\+[a-z0-9_]+)?://[^\s:@/\"'<>]{{0,80}}:[^\s\"'<>]{{1,256}}@[^\s\"'<>)\]]{{2,256}}",
                    0.95, _is_password_in_address, nocase,
                ),
                Shape(
                    "list of settings",
                    r"(?:DefaultEndpointsProtocol|Server|Data Source|Host|Endpoint|AccountName|User ID|Uid|Username|User)=[^\n\"'<>;]{1,200};"
                    r"(?:[^\n\"'<>;]{1,200};){0,12}?[ ]?(?:Password|Pwd|AccountKey|SharedAccessKey)=[^\n\"'<>;]{2,200}(?:;[A-Za-z ]{1,40}=[^\s\"'<>;]{1,200}){0,8}",
                    0.9, None, nocase,
                ),
                Shape("jdbc with a password", r"jdbc:[a-z0-9]+:[^\s\"'<>]{1,300}?password=[^\s\"'<>&;]{2,200}", 0.9, None, nocase),
            ],
        ),
        Kind(
            "URL_CREDENTIALS",
            [Shape(
                "user and password in an address",
                r"(?:https?|ftps?|sftp|ssh|git|wss?|socks5?|svn)(?:\+[a-z]+)?://[^\s:@/\"'<>?#]{1,80}:[^\s@/\"'<>]{1,256}@[^\s\"'<>)\]]{2,256}",
                0.95, _is_password_in_address, nocase,
            )],
        ),
        Kind(
            "BEARER_TOKEN",
            [
                Shape("bearer", r"\bbearer[ \t]+(?P<v>[A-Za-z0-9._~+/-]{16,}={0,2})", 0.8, _is_random, nocase),
                Shape("header", r"\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:token|apikey|key)[ \t]+(?P<v>[A-Za-z0-9._~+/=-]{12,})", 0.8, _is_random, nocase),
                Shape("key header", r"\bx-(?:api-key|auth-token|access-token|amz-security-token|vault-token|goog-api-key)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<v>[A-Za-z0-9._~+/=-]{12,})", 0.8, _is_random, nocase),
            ],
        ),
        Kind(
            "BASIC_AUTH",
            [Shape("basic", r"\bbasic[ \t]+(?P<v>[A-Za-z0-9+/]{8,}={0,2})", 0.8, _is_user_and_password, nocase)],
        ),
        Kind("SECRET", [Shape("said to be secret", rf"(?<![A-Za-z0-9]){_ASSIGNED}", 0.7, _is_said_secret, nocase),
                        Shape("said in a compound", rf"[A-Za-z0-9]+[_-](?:{_NAMES})[\"'`]?[ \t]{{0,4}}(?::=?|=|=>)[ \t]{{0,4}}[\"'`]?(?P<v>[^\s\"'`<>{{}}]{{8,200}})", 0.7, _is_said_secret, nocase)]),
        Kind("AWS_SECRET_KEY", [Shape(
            "forty characters behind its name",
            r"(?:aws|secret)[\w .\"':=/-]{0,40}?[\"'\s:=](?P<v>[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])", 0.9,
            lambda text, start, end: entropy_bits(text[start:end]) > 4.0 and not text[start:end].isalpha(), nocase)]),
    ]  # fmt: skip


def _is_user_and_password(text: str, start: int, end: int) -> bool:
    value = text[start:end]
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return ":" in decoded and decoded.isprintable()
