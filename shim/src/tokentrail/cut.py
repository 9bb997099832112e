"""Bring an event under the size that a Kafka record may have, and say in the event what was cut.

Texts go first, the longest before the others, and keep their head; then whole fields. Numbers and identifiers are never
cut. For what was cut, `cut` states path, length in characters and keyed hash, so that an auditor can prove a text kept
elsewhere to be the one that was sent.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from .content import Hasher

MARKER = "…<CUT>"
_TEXT_FIELDS = ("output", "input", "tool_calls")
_NEVER_REMOVED = ("id", "tenant", "run", "session", "kind")
_OTHER_TEXTS = (("error", "message"), ("feedback", "comment"))
_MIN_TEXT_BYTES = 1_024
"""A text is not cut below this; if that is not enough, whole fields go."""
_MIN_FIELD_BYTES = 256
_SLACK_BYTES = 32
_MAX_PATH_CHARS = 200
_SAFE_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class _Text(NamedTuple):
    size_bytes: int
    path: str
    place: dict[str, Any] | list[Any]
    key: Any


def fit(body: dict[str, Any], limit_bytes: int, hasher: Hasher) -> bytes | None:
    """The JSON of `body` in at most `limit_bytes` bytes, or None where that cannot be.

    Args:
        body: An event of JSON's own types; its texts are replaced in place.
        limit_bytes: Size of the JSON object in bytes of UTF-8.
        hasher: Makes the keyed hashes of what is cut.
    """
    encoded = orjson.dumps(body)
    if len(encoded) <= limit_bytes:
        return encoded
    sources = {name: orjson.dumps(value) for name, value in body.items()}
    excess_bytes = sum(len(name) + len(source) + 8 for name, source in sources.items()) - limit_bytes
    notes: list[dict[str, Any]] = []
    body["cut"] = notes
    _cut_texts(body, excess_bytes + _SLACK_BYTES, notes, hasher)
    encoded = orjson.dumps(body)
    for name in _by_size(sources):
        if len(encoded) <= limit_bytes:
            return encoded
        del body[name]
        notes[:] = [note for note in notes if re.split(r"[.\[]", note["path"])[0] != name]
        notes.append(_note(_step(name), sources[name].decode(), hasher))
        encoded = orjson.dumps(body)
    return encoded if len(encoded) <= limit_bytes else None


def _by_size(sources: dict[str, bytes]) -> list[str]:
    """The fields that may be removed: texts first (many small messages can be too much as well), the largest first."""
    large = [name for name in sources if len(sources[name]) >= _MIN_FIELD_BYTES and name not in _NEVER_REMOVED]
    large.sort(key=lambda name: -len(sources[name]))
    return [name for name in large if name in _TEXT_FIELDS] + [name for name in large if name not in _TEXT_FIELDS]


def _note(path: str, text: str, hasher: Hasher) -> dict[str, Any]:
    return {"path": path[:_MAX_PATH_CHARS], "length": len(text), "hash": hasher(text)}


def _cut_texts(body: dict[str, Any], excess_bytes: int, notes: list[dict[str, Any]], hasher: Hasher) -> None:
    texts: list[_Text] = []
    for name in _TEXT_FIELDS:
        if name in body:
            _find(texts, body[name], name, body, name)
    for name, part in _OTHER_TEXTS:
        if isinstance(body.get(name), dict) and part in body[name]:
            _find(texts, body[name][part], f"{name}.{part}", body[name], part)
    for size_bytes, path, place, key in sorted(texts, key=lambda one: -one.size_bytes):
        if excess_bytes <= 0:
            return
        note = _note(path, place[key], hasher)
        note_bytes = len(orjson.dumps(note)) + 1
        spare_bytes = size_bytes - note_bytes - len(MARKER.encode())
        if spare_bytes <= _MIN_TEXT_BYTES:
            return  # the texts from here on are too short to win anything
        place[key] = _head(place[key], max(spare_bytes - excess_bytes, _MIN_TEXT_BYTES)) + MARKER
        notes.append(note)
        excess_bytes -= size_bytes - _size(place[key]) - note_bytes


def _find(texts: list[_Text], value: Any, path: str, place: dict[str, Any] | list[Any], key: Any) -> None:
    """Collect every text under `value` that is worth cutting."""
    if isinstance(value, str):
        if len(value) > _MIN_TEXT_BYTES // 6:  # one character takes at most six bytes in JSON
            size_bytes = _size(value)
            if size_bytes > _MIN_TEXT_BYTES:
                texts.append(_Text(size_bytes, path, place, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _find(texts, one, f"{path}[{index}]", value, index)
    elif isinstance(value, dict):
        for name, one in value.items():
            _find(texts, one, f"{path}.{_step(name)}", value, name)


def _step(name: str) -> str:
    """A key as part of a path. It is the application's own word: what is no plain name is not repeated."""
    return name if _SAFE_KEY.fullmatch(name) else "*"


def _size(text: str) -> int:
    """Bytes of `text` inside JSON, escapes included."""
    return len(orjson.dumps(text)) - 2


def _head(text: str, limit_bytes: int) -> str:
    """The longest head, or a little less, that takes at most `limit_bytes` in JSON."""
    head = text[:limit_bytes]
    size_bytes = _size(head)
    while size_bytes > limit_bytes:
        head = head[: min(len(head) - 1, len(head) * limit_bytes // size_bytes)]
        size_bytes = _size(head)
    return head
