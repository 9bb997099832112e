"""What is compared exactly: a value without what changes in every round and means nothing. Pure; keeps no text.

Replaced are request ids, UUIDs, time stamps, hexadecimal digests, epochs and attempt counters. Bare numbers and dates
stay: page 3 is not page 2. In a tool's *arguments* an identifier can be what is asked for. It stays when it stands
under a name that says so (`id`, `order_id`, `sha`), or when the model was told it before: by a person, or by a tool's
result.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from pipeline.detection.messages import as_json, is_stand_in
from schemas.event import ToolCall

# Tool arguments and results; answers and questions.
MAX_CHARS: Final = 8_192
MAX_TEXT_CHARS: Final = 2_048
MAX_DEPTH: Final = 16

# Where something volatile may stand: looked for first, because the exact pattern costs ten times as much.
_CANDIDATE: Final = re.compile(r"[0-9a-fA-FxTZ:.+-]{7,}+")
# Nothing volatile is without one (but for one in 10**13 UUIDs).
_DIGIT: Final = re.compile(r"\d")
_IDENTIFIER: Final = (
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
    r"|0x[0-9A-Fa-f]{4,}"
    r"|(?<![0-9A-Fa-f])(?=[a-fA-F]*\d)[0-9a-fA-F]{16,}"
)
_MOMENT: Final = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|(?<!\d)\d\d?:\d\d:\d\d(?:\.\d+)?"
    r"|(?<![\d.])1\d{9}(?:\d{3}){0,3}(?:\.\d+)?(?!\d)"
)
_VOLATILE: Final = re.compile(f"(?P<moment>{_MOMENT})|{_IDENTIFIER}")
_VOLATILE_KEYS: Final = frozenset(
    "id call_id tool_call_id tool_use_id request_id requestid correlation_id trace_id traceid span_id session_id nonce "
    "idempotency_key timestamp ts time now date_time datetime created_at updated_at attempt attempts retry retries "
    "retry_count try counter sequence elapsed elapsed_ms duration duration_ms latency latency_ms took took_ms".split()
)
# `id` and `time` can be what a tool is asked for; they are volatile in results only.
_ASKED_FOR: Final = frozenset({"id", "time", "now", "date_time", "datetime", "session_id", "duration", "sequence"})
_VOLATILE_ARGUMENTS: Final = _VOLATILE_KEYS - _ASKED_FOR
_NAMES_SOMETHING: Final = re.compile(r"(?:^|[_-])(?:id|ids|uuid|guid|key|sha|commit|hash|ref)$|[a-z]I[dD]s?$")

# Whether the model was told an identifier before it used it.
WasTold = Callable[[str], bool]


def nobody_told(_: str) -> bool:
    """For where nothing is known of what the model was told."""
    return False


def arguments(call: ToolCall, was_told: WasTold = nobody_told) -> tuple[str, Any]:
    """(canonical text, value without volatile fields) of a tool's arguments, whatever the order of their keys."""
    value = call.arguments
    if isinstance(value, str):
        if len(value) > MAX_CHARS:
            return canonical(value), value
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return canonical(value), value
    if value is None:
        return "", None
    settled = _settled(value, _VOLATILE_ARGUMENTS, was_told, False, 0)
    return _cut(as_json(settled)), settled


def result(value: Any) -> tuple[str, Any]:
    """(canonical text, value without volatile fields) of a tool's result."""
    if isinstance(value, str):
        if len(value) <= MAX_CHARS and value[:1] in ("{", "["):
            try:
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                return canonical(value), value
        else:
            return canonical(value), value
    if isinstance(value, dict | list):
        settled = _settled(value, _VOLATILE_KEYS, nobody_told, False, 0)
        return _cut(as_json(settled)), settled
    return canonical(str(value)), value


def canonical(text: str, most: int = MAX_CHARS) -> str:
    """A text without what is volatile; of a long one head, tail and length."""
    return _without_volatile(_cut(text, most), nobody_told, False).strip()


def _without_volatile(text: str, was_told: WasTold, is_name: bool) -> str:
    def replace(match: re.Match[str]) -> str:
        return _VOLATILE.sub(settle, match[0])

    def settle(match: re.Match[str]) -> str:
        if match.lastgroup is None and (is_name or was_told(match[0])):
            return match[0]
        return "#"

    return _CANDIDATE.sub(replace, text) if _DIGIT.search(text) is not None else text


def _settled(value: Any, volatile: frozenset[str], was_told: WasTold, is_name: bool, depth: int) -> Any:
    """A JSON value without what changes in every round; `is_name` where its key says that it names something."""
    if is_stand_in(value):
        return value
    if isinstance(value, str):
        return _without_volatile(value, was_told, is_name) if len(value) <= MAX_CHARS else canonical(value)
    if isinstance(value, dict):
        if depth >= MAX_DEPTH:
            return "<deep>"
        asks = volatile is _VOLATILE_ARGUMENTS
        return {
            key: "#"
            if key.lower() in volatile
            else _settled(item, volatile, was_told, asks and _NAMES_SOMETHING.search(key) is not None, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        if depth >= MAX_DEPTH:
            return "<deep>"
        return [_settled(item, volatile, was_told, is_name, depth + 1) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 1e9 and not is_name:
        # An epoch in seconds or milliseconds, perhaps.
        return _VOLATILE.sub("#", str(value))
    return value


def _cut(text: str, most: int = MAX_CHARS) -> str:
    """Long texts by head, tail and length: what differs only in the middle rarely has the same length."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\x1f{len(text)}\x1f{text[-half:]}"
