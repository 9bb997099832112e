"""The walk over text: any JSON value to the strings that redaction must see, and back again.

`Texts` collects every string of a record, its dictionary keys included, and every number long enough to be a card or
a telephone number. JSON inside of a string (a tool's arguments and results) is walked as data too, key by key, and
put together again as it was written. A key that says what its value is (`password`, `ssn`) is believed: a secret is
treated at once, as the policy has it. After redaction the same walk puts the answers back. What has no meaning as text
(inline images and other base64) is replaced by its kind and length at once. Nothing of the value survives that was not
collected.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline.intake import quoted
from pipeline.intake.keyed import said_by
from pipeline.intake.strings import MAX_DEPTH
from pipeline.redaction import PLAIN, Treatment
from schemas.vocabulary import STRUCTURE

TOO_DEEP: Final = "<TOO_DEEP>"
# An integer with fewer digits cannot be a card, an account, a telephone or a social security number.
NUMBER_IS_TEXT: Final = 1_000_000
BLOB_CHARS: Final = 512
_BLOB: Final = re.compile(r"(?:data:[\w/+.-]{0,64};base64,)?[A-Za-z0-9+/_-]{512,}={0,2}")
# JSON in strings in JSON: deeper ones are texts.
MAX_NESTED: Final = 4
_SHORTEST_NUMBER: Final = 7
_encode = msgspec.json.Encoder().encode


class Texts:
    """Strings of one record, in the order of the walk.

    Args:
        treatment: what is done with a value that its key says to be secret.

    Attributes:
        found: the strings that redaction must see.
    """

    def __init__(self, treatment: Treatment = PLAIN) -> None:
        self.found: list[str] = []
        self._treatment = treatment

    def collect(self, value: Any) -> Any:
        """Walk a value, remember its strings, and return its template: strings are replaced by their index."""
        return self._walk(value, 0, "")

    def _walk(self, value: Any, depth: int, key: str) -> Any:
        if isinstance(value, str):
            return self._text(value, key, 0)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            if abs(value) >= NUMBER_IS_TEXT or isinstance(value, float) or said_by(key) is None:
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
        said = said_by(key)
        if said is None and self._treatment.wants(SECRET):
            return _Treated(self._treatment.instead(SECRET, value))
        if len(value) >= BLOB_CHARS and _BLOB.fullmatch(value):
            return f"<BASE64:{len(value)}>"
        if nested < MAX_NESTED and (parts := self._json(value, nested)) is not None:
            return parts
        if said:
            self.found.append(said + value)
            return _Slot(len(self.found) - 1, said)
        self.found.append(value)
        return _Slot(len(self.found) - 1)

    def _json(self, value: str, nested: int) -> Any:
        """The template of JSON inside of a string, or None if it is none."""
        found = quoted.values(value)
        if found is None:
            return None
        parts: list[Any] = []
        done = 0
        for one in found:
            if one.kind == "number" and len(one.value) < _SHORTEST_NUMBER and said_by(one.key) is not None:
                continue
            template = self._text(one.value, one.key, nested + 1)
            if template == one.value and not isinstance(template, _Slot):
                continue  # structure: stays as it is written
            parts += (value[done : one.start], _Quoted(template, one, value[one.start : one.end]))
            done = one.end
        parts.append(value[done:])
        return _Json(parts)


class _Slot:
    """A text's place; `prefix` stands before it in what redaction sees, and is taken off again."""

    __slots__ = ("index", "prefix")

    def __init__(self, index: int, prefix: str = "") -> None:
        self.index = index
        self.prefix = prefix


class _Treated:
    """What stands in the place of a value that its key says to be secret."""

    __slots__ = ("instead",)

    def __init__(self, instead: str) -> None:
        self.instead = instead


SECRET: Final = "SECRET"


class _Object(list[tuple[Any, Any]]):
    """A JSON object whose keys may be slots too."""


class _Quoted:
    """A value of JSON text: its template, what was found, and how that was written."""

    __slots__ = ("found", "template", "written")

    def __init__(self, template: Any, found: quoted.Found, written: str) -> None:
        self.template = template
        self.found = found
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
    if isinstance(template, _Treated):
        if counts is not None:
            counts[SECRET] += 1
        return template.instead
    if isinstance(template, _Json):
        return "".join(part if isinstance(part, str) else _written(part, answers, counts) for part in template.parts)
    if isinstance(template, _Object):
        filled: dict[Any, Any] = {}
        for key, item in template:
            name = fill(key, answers, counts)
            # Two keys may read the same once they are redacted; neither value may be lost for that.
            again = 1
            while name in filled:
                again += 1
                name = f"{fill(key, answers)} ({again})"
            filled[name] = fill(item, answers, counts)
        return filled
    if isinstance(template, list):
        return [fill(item, answers, counts) for item in template]
    return template


def _written(part: _Quoted, answers: Sequence[str], counts: Counter[str] | None) -> str:
    filled = fill(part.template, answers, counts)
    if filled == part.found.value:
        return part.written
    return filled if part.found.kind == "plain" else _encode(filled).decode()
