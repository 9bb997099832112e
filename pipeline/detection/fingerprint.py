"""An event's text to keyed fingerprints, before redaction, so that loops are seen where no text is. Pure.

Two answers have the same fingerprint when they say the same apart from what is new every time anyway: ids, times and
hashes inside them. Of a question only fields that name one occurrence (a request id, a timestamp) are left out: another
order number is another question, and page 2 after page 1 is progress.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any, Final

import msgspec

from schemas.event import Event, ToolCall
from schemas.fact import Loop

# Fields that name one occurrence of a thing, never what is asked or answered.
VOLATILE_KEYS: Final = frozenset(
    "tool_call_id tool_use_id call_id request_id requestid trace_id span_id correlation_id idempotency_key nonce "
    "timestamp ts created created_at updated_at checked_at fetched_at took_ms elapsed elapsed_ms duration_ms "
    "latency_ms".split()
)
_VOLATILE: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUID
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"  # time of ISO 8601
    r"|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b"  # hexadecimal id
    r"|\b1[4-9]\d{8}(?:\d{3}(?:\d{3})?)?\b"  # seconds, milliseconds or microseconds since 1970
    r"|\b(?:call|req|run|msg|toolu|chatcmpl)[_-][A-Za-z0-9_-]{8,}",  # providers' own ids
    re.IGNORECASE,
)
_SPACE: Final = re.compile(r"\s+")
_ERROR: Final = re.compile(
    r"\b(?:error|exception|traceback|failed|failure|denied|not found|timed? ?out)\b", re.IGNORECASE
)
MAX_DEPTH: Final = 32
# A fingerprint of the beginning and the end of a very long text is as good, and bounded.
LONGEST_CHARS: Final = 20_000

_encode = msgspec.json.Encoder(order="sorted").encode


def loop_marks(event: Event, key: bytes) -> Loop | None:
    """Fingerprints of one call; None when it holds nothing that could repeat.

    Args:
        event: The call.
        key: The tenant's fingerprint key.
    """
    calls = event.tool_calls or _calls_in(event.output)
    own = [call.result for call in calls if call.result is not None]
    messages = event.input if isinstance(event.input, list) else [] if event.input is None else [event.input]
    results = own or _tail_results(messages)
    output = _said(event.output)
    if not calls and not results and not output and not messages:
        return None
    return Loop(
        actions=tuple(mark([call.name, call.arguments], key, asked=True) for call in calls),
        results=tuple(mark(result, key) for result in results),
        own_results=bool(own),
        output=mark(output, key) if output else None,
        input_tail=mark(_content(messages[-1]), key) if messages else None,
        tool_errors=sum(_looks_like_error(result) for result in results),
        input_messages=len(messages),
    )


def mark(value: Any, key: bytes, *, asked: bool = False) -> str:
    """Keyed hash of what a value says: 16 hexadecimal digits. `asked`: it is a question, whose ids matter."""
    return blake2b(_encode(canonical(value, asked)), key=key, digest_size=8).hexdigest()


def canonical(value: Any, asked: bool = False, depth: int = 0) -> Any:
    """A value without what is new every time: volatile fields, white space, JSON in text; in answers ids and times."""
    if isinstance(value, str):
        return _text(value, asked, depth)
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        if value.keys() == {"length", "hash"}:
            return value  # a text that the producer kept as its hash: that hash is all there is
        return {
            str(name): canonical(item, asked, depth + 1)
            for name, item in value.items()
            if str(name).lower() not in VOLATILE_KEYS
        }
    if isinstance(value, list):
        return [canonical(item, asked, depth + 1) for item in value]
    return value


def _text(text: str, asked: bool, depth: int) -> Any:
    if len(text) > LONGEST_CHARS:
        text = text[: LONGEST_CHARS // 2] + text[-LONGEST_CHARS // 2 :]
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and depth < MAX_DEPTH:
        try:
            return canonical(json.loads(stripped), asked, depth + 1)
        except (ValueError, RecursionError):
            pass
    return _SPACE.sub(" ", stripped if asked else _VOLATILE.sub("*", stripped))


def _tail_results(messages: list[Any]) -> list[Any]:
    """Tool results at the end of the input: after the last thing the model said."""
    found: list[Any] = []
    for message in reversed(messages):
        if not isinstance(message, dict) or message.get("role") in ("assistant", "model"):
            break
        if message.get("role") in ("tool", "function"):
            found.append(_content(message))
        elif isinstance(message.get("content"), list):
            found += [
                part.get("content")
                for part in reversed(message["content"])
                if isinstance(part, dict) and part.get("type") == "tool_result"
            ]
    return found[::-1]


def _calls_in(output: Any) -> list[ToolCall]:
    """Tool calls inside output messages, in the shapes of OpenAI and Anthropic, where the event lists none."""
    calls = []
    for message in output if isinstance(output, list) else []:
        if not isinstance(message, dict):
            continue
        for call in message.get("tool_calls") or []:
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                calls.append(ToolCall(str(function.get("name")), function.get("arguments")))
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            if isinstance(part, dict) and part.get("type") == "tool_use":
                calls.append(ToolCall(str(part.get("name")), part.get("input")))
    return calls


def _said(output: Any) -> Any:
    """What the model said in words; None when it only called tools."""
    if isinstance(output, str):
        return output.strip()
    if isinstance(output, list):
        said = [_content(message) for message in output]
        return [text for text in said if text] or None
    return output


def _content(message: Any) -> Any:
    return message.get("content") if isinstance(message, dict) else message


def _looks_like_error(result: Any) -> bool:
    if isinstance(result, dict) and (result.get("is_error") or result.get("error")):
        return True
    return isinstance(result, str) and _ERROR.search(result[:200]) is not None
