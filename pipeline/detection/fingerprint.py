"""Keyed fingerprints of what a call did, made before redaction, so that `guard` sees loops without seeing text.

`measure` calls `loop_marks`. What is the same in two rounds of a loop must be equal here, and progress must not: tool
arguments are compared as JSON with sorted keys, and what changes in every round without meaning anything (request ids,
UUIDs, time stamps, hexadecimal digests, attempt counters) is replaced. Bare numbers and dates stay: page 3 is not page
2. A mark is two hashes, `strict.loose`; the loose one also ignores case, spacing and the value of numbers, for near
repeats. Nothing here keeps or returns text.

Cost: about 25 ns a character; of long texts only head, tail and length are hashed.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pipeline.detection.messages import as_json, calls_in, is_stand_in, messages_of, said, tail_results
from schemas.event import Event, ToolCall
from schemas.fact import Loop

# Ends the mark of a tool call of which only the name is known (content mode `none`).
NAME_ONLY: Final = "~"

# Tool arguments and results; answers and questions.
MAX_CHARS: Final = 8_192
MAX_TEXT_CHARS: Final = 2_048
MAX_DEPTH: Final = 16

# Where something volatile may stand: looked for first, because the exact pattern costs ten times as much.
_CANDIDATE: Final = re.compile(r"[0-9a-fA-FxTZ:.+-]{7,}+")
_VOLATILE: Final = re.compile(
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    r"|\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|(?<!\d)\d\d?:\d\d:\d\d(?:\.\d+)?"
    r"|(?<![\d.])1\d{9}(?:\d{3}){0,3}(?:\.\d+)?(?!\d)"
    r"|0x[0-9A-Fa-f]{4,}"
    r"|(?<![0-9A-Fa-f])(?=[a-fA-F]*\d)[0-9a-fA-F]{16,}"
)
_LOOSE: Final = bytes(
    ord("0") if byte in b"123456789" else ord(" ") if byte in b"\t\r\n" else byte + 32 if 65 <= byte <= 90 else byte
    for byte in range(256)
)
_RUNS: Final = re.compile(rb"00+|  +")
_VOLATILE_KEYS: Final = frozenset(
    "id call_id tool_call_id tool_use_id request_id requestid correlation_id trace_id traceid span_id session_id nonce "
    "idempotency_key timestamp ts time now date_time datetime created_at updated_at attempt attempts retry retries "
    "retry_count try counter sequence elapsed elapsed_ms duration duration_ms latency latency_ms took took_ms".split()
)
# `id` and `time` can be what a tool is asked for; they are volatile in results only.
_ASKED_FOR: Final = frozenset({"id", "time", "now", "date_time", "datetime", "session_id", "duration", "sequence"})
_VOLATILE_ARGUMENTS: Final = _VOLATILE_KEYS - _ASKED_FOR
_ERROR: Final = re.compile(
    r"^[^\w{]*(?:error|exception|traceback|failed|failure|fatal|http\s*[45]\d\d\b|timed? ?out|permission denied)"
    r"|\"(?:error|errors|exception)\"\s*:\s*(?!null|\"\"|\[\]|false)"
    r"|\"status\"\s*:\s*\"(?:error|failed)\"",
    re.IGNORECASE,
)


def loop_marks(event: Event, key: bytes) -> Loop | None:
    """Fingerprints of one call; None when it has nothing to compare.

    Args:
        event: The event, text and all.
        key: Secret of the tenant; equal texts have equal marks only under the same key.
    """
    marks = _Marks(key)
    calls = event.tool_calls or calls_in(event.output)
    messages = messages_of(event.input)
    own = [call.result for call in calls if call.result is not None]
    results = [_result(value) for value in own or tail_results(messages)]
    output = said(event.output)
    tail = said(messages[-1]) if messages else ""
    if not (calls or results or output or tail):
        return None
    return Loop(
        actions=tuple(_action(call, marks) for call in calls),
        results=tuple(marks.of(b"r", text) for text in results),
        own_results=bool(own),
        output=marks.of(b"o", _canonical(output, MAX_TEXT_CHARS)) if output else None,
        input_tail=marks.of(b"i", _canonical(tail, MAX_TEXT_CHARS)) if tail else None,
        tool_errors=sum(_ERROR.search(text[:400]) is not None for text in results),
        input_messages=len(messages),
    )


def _action(call: ToolCall, marks: _Marks) -> str:
    mark = marks.of(b"a" + (call.name or "").encode("utf-8", "surrogatepass"), _arguments(call))
    return mark if call.arguments is not None else mark + NAME_ONLY


class _Marks:
    """Keyed hashes: 64 bits of the text, a dot, 32 bits of the loose text."""

    def __init__(self, key: bytes) -> None:
        self._key = key[:64]

    def of(self, kind: bytes, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        strict = blake2b(kind + b"\x1f" + data, digest_size=8, key=self._key)
        loosely = _RUNS.sub(_first, data.translate(_LOOSE))
        loose = blake2b(kind + b"\x1e" + loosely, digest_size=4, key=self._key)
        return f"{strict.hexdigest()}.{loose.hexdigest()}"


def _first(match: re.Match[bytes]) -> bytes:
    return match[0][:1]


# -- what is compared


def _without_volatile(text: str) -> str:
    return _CANDIDATE.sub(_replace, text)


def _replace(match: re.Match[str]) -> str:
    return _VOLATILE.sub("#", match[0])


def _arguments(call: ToolCall) -> str:
    """Canonical arguments; equal for equal meaning, whatever the order of keys."""
    value = call.arguments
    if isinstance(value, str):
        if len(value) > MAX_CHARS:
            return _canonical(value)
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return _canonical(value)
    return "" if value is None else _json(_settled(value, _VOLATILE_ARGUMENTS, 0))


def _result(value: Any) -> str:
    """Canonical result of a tool."""
    if isinstance(value, str):
        if len(value) <= MAX_CHARS and value[:1] in ("{", "["):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return _canonical(value)
        else:
            return _canonical(value)
    if isinstance(value, dict | list):
        return _json(_settled(value, _VOLATILE_KEYS, 0))
    return _canonical(str(value))


def _settled(value: Any, volatile: frozenset[str], depth: int) -> Any:
    """A JSON value without what changes in every round."""
    if is_stand_in(value):
        return value
    if isinstance(value, str):
        return _without_volatile(value) if len(value) <= MAX_CHARS else _canonical(value)
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return "<deep>"
        return {
            key: "#" if key.lower() in volatile else _settled(item, volatile, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list):
        return "<deep>" if depth >= MAX_DEPTH else [_settled(item, volatile, depth + 1) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 1e9:
        # An epoch in seconds or milliseconds, perhaps.
        return _VOLATILE.sub("#", str(value))
    return value


def _json(value: Any) -> str:
    return _cut(as_json(value))


def _canonical(text: str, most: int = MAX_CHARS) -> str:
    return _without_volatile(_cut(text, most)).strip()


def _cut(text: str, most: int = MAX_CHARS) -> str:
    """Long texts by head, tail and length: what differs only in the middle rarely has the same length."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\x1f{len(text)}\x1f{text[-half:]}"
