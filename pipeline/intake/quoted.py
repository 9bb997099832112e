"""JSON inside of a string, value by value where each stands, so that it can be put together as it was written. Pure.

A document, a document a line, or the lines of an event stream (`data: {...}`).
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

import msgspec

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(?P<key>\s*:)?|-?\d[\d.eE+-]*|[{}\[\],]')
_EVENT: Final = re.compile(r"(?:event|id|retry|data)?:[^\S\n]*")
_decode = msgspec.json.Decoder().decode
_decode_text = msgspec.json.Decoder(str).decode


class Found(NamedTuple):
    """A key, a string or a number in JSON text, or what stands on a line of an event stream that is no JSON.

    Attributes:
        start: where it begins, in characters of the text, quotes included.
        end: where it ends.
        value: what it says.
        key: the key that says what it is; empty where there is none.
        kind: how it is written.
    """

    start: int
    end: int
    value: str
    key: str
    kind: Literal["string", "number", "plain"] = "string"


def values(text: str) -> list[Found] | None:
    """Keys, strings and numbers of JSON text, in order; None if the text is none."""
    bare = text.strip()
    if bare[:1] in ("{", "[") and bare[-1:] in ("}", "]") and _is_json(bare):
        return _values(text, 0, len(text))
    if "\n" not in bare or '{"' not in bare:
        return None
    found: list[Found] = []
    documents = 0
    start = 0
    for line in text.split("\n"):
        first, end = start, start + len(line)
        start = end + 1
        if not line.strip():
            continue
        field = _EVENT.match(line)
        first += field.end() if field else 0
        part = text[first:end].strip()
        if part[:1] in ("{", "[") and part[-1:] in ("}", "]") and _is_json(part):
            found += _values(text, first, end)
            documents += 1
        elif field is None:
            return None
        elif part:
            found.append(Found(first, end, text[first:end], "", "plain"))
    return found if documents else None


def _is_json(text: str) -> bool:
    try:
        _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _values(text: str, first: int, last: int) -> list[Found]:
    found: list[Found] = []
    key = ""
    keys: list[str] = []  # of the objects and lists around
    for match in _TOKEN.finditer(text, first, last):
        token = match.group()
        if token == ",":
            key = keys[-1] if keys else ""
        elif token in "[{":
            # A list's items are what its key says; an object's have keys of their own.
            keys.append(key if token == "[" else "")
            key = keys[-1]
        elif token in "]}":
            keys.pop()
        elif match["key"]:
            quoted = token[: token.rindex('"') + 1]
            name = _decode_text(quoted)
            found.append(Found(match.start(), match.start() + len(quoted), name, ""))
            key = name
        elif token[0] == '"':
            found.append(Found(match.start(), match.end(), _decode_text(token), key))
        else:
            found.append(Found(match.start(), match.end(), token, key, "number"))
    return found
