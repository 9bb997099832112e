"""Secrets: keys and tokens of issuers (`tokens`), what has a form of its own, and what is said to be a secret.

Where a value has neither prefix nor form, only the words before it tell, so an assignment counts (`password = ...`,
`api_key: ...`) if the value does not look like code, a placeholder or a word.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import regex

from pipeline.redaction.kinds.shape import ANY_CASE, Shape, Sought
from pipeline.redaction.kinds.tokens import ALONE, entropy_bits, is_random, tokens

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


def secrets() -> list[Sought]:
    """Each kind of secret."""
    return [
        *tokens(),
        Sought("JWT", (Shape("json web token", ALONE + _JWT, 0.95, _is_jwt),)),
        Sought(
            "PRIVATE_KEY",
            (
                Shape("whole key", rf"{_BEGIN}[\s\S]{{1,20000}}?{_END}", 1.0),
                Shape("cut key", rf"{_BEGIN}(?:[A-Za-z0-9+/=\s\\:,._-]|\\[nr]){{16,20000}}", 0.9),
                Shape("end of a key", rf"(?:[A-Za-z0-9+/=]{{16,100}}(?:\s|\\[nr]){{1,4}}){{1,400}}{_END}", 0.9),
            ),
            whole_text=True,
        ),
        Sought(
            "CONNECTION_STRING",
            (
                Shape(
                    "address with a password",
                    rf"(?:jdbc:)?(?:{_SCHEMES})(?:\+[a-z0-9_]+)?://[^\s:@/\"'<>]{{0,80}}:[^\s\"'<>]{{1,256}}@[^\s\"'<>)\]]{{2,256}}",
                    0.95, _is_password_in_address, ANY_CASE,
                ),
                Shape(
                    "list of settings",
                    r"(?:DefaultEndpointsProtocol|Server|Data Source|Host|Endpoint|AccountName|User ID|Uid|Username|User)=[^\n\"'<>;]{1,200};"
                    r"(?:[^\n\"'<>;]{1,200};){0,12}?[ ]?(?:Password|Pwd|AccountKey|SharedAccessKey)=[^\n\"'<>;]{2,200}(?:;[A-Za-z ]{1,40}=[^\s\"'<>;]{1,200}){0,8}",
                    0.9, None, ANY_CASE,
                ),
                Shape("jdbc with a password", r"jdbc:[a-z0-9]+:[^\s\"'<>]{1,300}?password=[^\s\"'<>&;]{2,200}", 0.9, None, ANY_CASE),
            ),
        ),
        Sought(
            "URL_CREDENTIALS",
            (Shape(
                "user and password in an address",
                r"(?:https?|ftps?|sftp|ssh|git|wss?|socks5?|svn)(?:\+[a-z]+)?://[^\s:@/\"'<>?#]{1,80}:[^\s@/\"'<>]{1,256}@[^\s\"'<>)\]]{2,256}",
                0.95, _is_password_in_address, ANY_CASE,
            ),),
        ),
        Sought(
            "BEARER_TOKEN",
            (
                Shape("bearer", r"\bbearer[ \t]+(?P<v>[A-Za-z0-9._~+/-]{16,}={0,2})", 0.8, is_random, ANY_CASE),
                Shape("header", r"\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:token|apikey|key)[ \t]+(?P<v>[A-Za-z0-9._~+/=-]{12,})", 0.8, is_random, ANY_CASE),
                Shape("key header", r"\bx-(?:api-key|auth-token|access-token|amz-security-token|vault-token|goog-api-key)[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?P<v>[A-Za-z0-9._~+/=-]{12,})", 0.8, is_random, ANY_CASE),
            ),
        ),
        Sought(
            "BASIC_AUTH",
            (Shape("basic", r"\bbasic[ \t]+(?P<v>[A-Za-z0-9+/]{8,}={0,2})", 0.8, _is_user_and_password, ANY_CASE),),
        ),
        Sought("SECRET", (Shape("said to be secret", rf"(?<![A-Za-z0-9]){_ASSIGNED}", 0.7, _is_said_secret, ANY_CASE),
                        Shape("said in a compound", rf"[A-Za-z0-9]+[_-](?:{_NAMES})[\"'`]?[ \t]{{0,4}}(?::=?|=|=>)[ \t]{{0,4}}[\"'`]?(?P<v>[^\s\"'`<>{{}}]{{8,200}})", 0.7, _is_said_secret, ANY_CASE))),
        Sought("AWS_SECRET_KEY", (Shape(
            "forty characters behind its name",
            r"(?:aws|secret)[\w .\"':=/-]{0,40}?[\"'\s:=](?P<v>[A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])", 0.9,
            lambda text, start, end: entropy_bits(text[start:end]) > 4.0 and not text[start:end].isalpha(), ANY_CASE),)),
    ]  # fmt: skip


def _is_user_and_password(text: str, start: int, end: int) -> bool:
    value = text[start:end]
    try:
        decoded = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return ":" in decoded and decoded.isprintable()
