"""The walk over text: any JSON value to the strings that redaction must see, and back again.

`Texts` collects every string of a record, its dictionary keys included, and every number long enough to be a card or a
telephone number. After redaction the same walk puts the answers back. What has no meaning as text (inline images and
other base64) is replaced by its kind and length at once. Nothing of the value survives that was not collected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from schemas.vocabulary import STRUCTURE

MAX_DEPTH: Final = 32
TOO_DEEP: Final = "<TOO_DEEP>"
# An integer with fewer digits cannot be a card, an account, a telephone or a social security number.
NUMBER_IS_TEXT: Final = 1_000_000
BLOB_CHARS: Final = 512
_BLOB: Final = re.compile(r"(?:data:[\w/+.-]{0,64};base64,)?[A-Za-z0-9+/_-]{512,}={0,2}")


class Texts:
    """Strings of one record, in the order of the walk."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def collect(self, value: Any) -> Any:
        """Walk a value, remember its strings, and return its template: strings are replaced by their index."""
        return self._walk(value, 0)

    def _walk(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._text(str(value)) if abs(value) >= NUMBER_IS_TEXT or isinstance(value, float) else value
        if depth >= MAX_DEPTH:
            return TOO_DEEP
        if isinstance(value, list):
            return [self._walk(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return _Object((self._text(str(key)), self._walk(item, depth + 1)) for key, item in value.items())
        return TOO_DEEP

    def _text(self, value: str) -> Any:
        if not value or value in STRUCTURE or value.isspace():
            return value
        if len(value) >= BLOB_CHARS and _BLOB.fullmatch(value):
            return f"<BASE64:{len(value)}>"
        self.found.append(value)
        return _Slot(len(self.found) - 1)


class _Slot:
    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class _Object(list[tuple[Any, Any]]):
    """A JSON object whose keys may be slots too."""


def fill(template: Any, answers: list[str]) -> Any:
    """Put redacted strings into a template made by `Texts.collect`."""
    if isinstance(template, _Slot):
        return answers[template.index]
    if isinstance(template, _Object):
        return {fill(key, answers): fill(item, answers) for key, item in template}
    if isinstance(template, list):
        return [fill(item, answers) for item in template]
    return template


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
