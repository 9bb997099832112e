"""The walk over text: any JSON value to the strings that redaction must see, and back again.

`Texts` collects every string of a record, its dictionary keys included, and every number long enough to be a card or
a telephone number. JSON inside of a string (a tool's arguments and results) is walked as data too, key by key, and
put together again as it was written. A key that says what its value is (`password`, `ssn`) is believed. After
redaction the same walk puts the answers back. What has no meaning as text (inline images and other base64) is
replaced by its kind and length at once. Nothing of the value survives that was not collected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from schemas.vocabulary import STRUCTURE

MAX_DEPTH: Final = 32
TOO_DEEP: Final = "<TOO_DEEP>"
# An integer with fewer digits cannot be a card, an account, a telephone or a social security number.
NUMBER_IS_TEXT: Final = 1_000_000
BLOB_CHARS: Final = 512
_BLOB: Final = re.compile(r"(?:data:[\w/+.-]{0,64};base64,)?[A-Za-z0-9+/_-]{512,}={0,2}")
# JSON in strings in JSON: deeper ones are texts.
MAX_NESTED: Final = 4
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"(?P<key>\s*:)?|-?\d[\d.eE+-]*|[{}\[\],]')
_decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode

# Keys whose value is a secret, whatever it looks like.
_SECRET_KEY: Final = re.compile(
    r"(?:.*[_.-])?(?:pass(?:word|wd|phrase|code)|pwd|secret|(?:api|access|private|secret|auth|signing|encryption|master)[_.-]?key|"
    r"apikey|accesskey|privatekey|secretkey|(?:access|refresh|auth|bearer|session|id|api|csrf|oauth)[_.-]?token|accesstoken|authtoken|"
    r"client[_.-]?secret|clientsecret|authorization|credentials?|pin(?:[_.-]?code)?|cvv2?|cvc2?|security[_.-]?code|otp)",
    re.IGNORECASE,
)
# Keys that say what their value is: redaction sees both together.
_TELLING_KEY: Final = re.compile(
    r"(?:.*[_ .-])?(?:ssn|social|security|passport|licen[cs]e|account|acct|routing|iban|bank|phones?|tel|"
    r"telephone|mobile|cell|fax|zip|postcode|postal|address|street|city|state|birth|dob|birthday|birthdate|age|name|contact|card|owner|holder|patient|customer)"
    r"(?:[_ .-](?:no|nr|num|number|id|code|date|1|2|line1|line2|name))?",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=4_096)
def _said_by(key: str) -> str | None:
    """What a key says of its value, to stand before it; empty: nothing; None: that it is secret."""
    if key in STRUCTURE and key != "name":
        return ""
    if _SECRET_KEY.fullmatch(key):
        return None
    words = _CAMEL.sub("_", key)
    return words.replace("_", " ") + ": " if len(key) <= 64 and _TELLING_KEY.fullmatch(words) else ""


class Texts:
    """Strings of one record, in the order of the walk.

    Attributes:
        found: the strings that redaction must see.
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def collect(self, value: Any) -> Any:
        """Walk a value, remember its strings, and return its template: strings are replaced by their index."""
        return self._walk(value, 0, "")

    def _walk(self, value: Any, depth: int, key: str) -> Any:
        if isinstance(value, str):
            return self._text(value, key, 0)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if abs(value) >= NUMBER_IS_TEXT or isinstance(value, float) or (key and _said_by(key) is None):
                return self._text(str(value), key, 0)
            return value
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        if isinstance(value, list):
            return [self._walk(item, depth + 1, key) for item in value]
        if isinstance(value, dict):
            return _Object(
                (self._text(name := str(key), "", 0), self._walk(item, depth + 1, name)) for key, item in value.items()
            )
        return TOO_DEEP

    def _text(self, value: str, key: str, nested: int) -> Any:
        if not value or value in STRUCTURE or value.isspace():
            return value
        if len(value) >= BLOB_CHARS and _BLOB.fullmatch(value):
            return f"<BASE64:{len(value)}>"
        if value[0] in "{[" and value[-1] in "}]" and nested < MAX_NESTED:
            parts = self._json(value, nested)
            if parts is not None:
                return parts
        said = _said_by(key) if key else ""
        if said is None:
            return _FORCED
        if said:
            self.found.append(said + value)
            return _Slot(len(self.found) - 1, said)
        self.found.append(value)
        return _Slot(len(self.found) - 1)

    def _json(self, value: str, nested: int) -> Any:
        """The template of JSON inside of a string, or None if it is none."""
        try:
            _decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeError):
            return None
        parts: list[Any] = []
        done, key = 0, ""
        keys: list[str] = []  # of the objects and lists around
        for match in _TOKEN.finditer(value):
            token = match.group()
            if token == ",":
                key = keys[-1] if keys else ""
                continue
            if token in "[{":
                # A list's items are what its key says; an object's have keys of their own.
                keys.append(key if token == "[" else "")
                key = keys[-1]
                continue
            if token in "]}":
                keys.pop()
                continue
            if match["key"]:
                quoted = token[: token.rindex('"') + 1]
                name = _decode_text(quoted)
                template, key, size = self._text(name, "", nested + 1), name, len(quoted)
            else:
                if token[0] != '"':
                    if len(token) < 7 and not (key and _said_by(key) is None):
                        continue
                    name, quoted = token, token
                else:
                    name, quoted = _decode_text(token), token
                template, size = self._text(name, key, nested + 1), len(token)
            if template == name and not isinstance(template, _Slot):
                continue  # structure: stays as it is written
            parts.append(value[done : match.start()])
            parts.append(_Quoted(template, name, quoted))
            done = match.start() + size
        parts.append(value[done:])
        return _Json(parts)


class _Slot:
    """A text's place; `prefix` stands before it in what redaction sees, and is taken off again."""

    __slots__ = ("index", "prefix")

    def __init__(self, index: int, prefix: str = "") -> None:
        self.index = index
        self.prefix = prefix


class _Forced:
    """A value that its key says to be secret."""


_FORCED: Final = _Forced()
SECRET: Final = "SECRET"


class _Object(list[tuple[Any, Any]]):
    """A JSON object whose keys may be slots too."""


class _Quoted:
    """A string or number of JSON text: its template, its value, and how it was written."""

    __slots__ = ("template", "value", "written")

    def __init__(self, template: Any, value: str, written: str) -> None:
        self.template = template
        self.value = value
        self.written = written


class _Json:
    """JSON inside of a string, in parts: as it is written, and what has to be filled in."""

    __slots__ = ("parts",)

    def __init__(self, parts: list[Any]) -> None:
        self.parts = parts


def fill(template: Any, answers: Sequence[str], counts: Counter[str] | None = None) -> Any:
    """Put redacted strings into a template made by `Texts.collect`.

    Args:
        template: of one value.
        answers: the redacted strings, in the order of `Texts.found`.
        counts: takes note of what was replaced because of its key.
    """
    if isinstance(template, _Slot):
        answer = answers[template.index]
        # Where the prefix itself was touched, or the text replaced whole, the answer stands as it is.
        return answer.removeprefix(template.prefix) if template.prefix else answer
    if template is _FORCED:
        if counts is not None:
            counts[SECRET] += 1
        return f"<{SECRET}>"
    if isinstance(template, _Json):
        return "".join(part if isinstance(part, str) else _written(part, answers, counts) for part in template.parts)
    if isinstance(template, _Object):
        return {fill(key, answers, counts): fill(item, answers, counts) for key, item in template}
    if isinstance(template, list):
        return [fill(item, answers, counts) for item in template]
    return template


def _written(part: _Quoted, answers: Sequence[str], counts: Counter[str] | None) -> str:
    filled = fill(part.template, answers, counts)
    return part.written if filled == part.value else _encode(filled).decode()


def strings(value: Any, depth: int = 0) -> Iterator[str]:
    """Every string in a JSON value, for what only reads text (lengths, refusals), not for what is kept."""
    if isinstance(value, str):
        yield value
    elif depth < MAX_DEPTH and isinstance(value, list):
        for item in value:
            yield from strings(item, depth + 1)
    elif depth < MAX_DEPTH and isinstance(value, dict):
        for item in value.values():
            yield from strings(item, depth + 1)
