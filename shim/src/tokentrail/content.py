"""What is left of an event's text in the content modes `hash` and `none`, and the keyed hash that stands for a text.

In these modes an event is built from an allow-list: a field that the contract does not know might hold text, and
redaction would drop it anyway. Numbers, names and codes stay. Mode `full` never comes here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any

import orjson

from .plain import repair

MODES = ("full", "hash", "none")
"""From the most open to the strictest."""

_AS_IT_IS = frozenset(
    "kind id ts tenant environment team service feature user session run step parent trace_id span_id provider model "
    "response_model operation prompt_name prompt_version variant streaming prompt_size_bytes content usage latency_ms "
    "ttft_ms retries cache_hit cost_usd status finish_reason schema_valid output_label tags backfill".split()
)
_PARTS = {
    "error": frozenset(("type", "code", "http_status", "retry_after_s")),
    "feedback": frozenset(("rating", "label", "outcome", "call")),
    "evaluation": frozenset(("name", "score", "label", "call")),
    "retrieval": frozenset(("requested", "hits", "sources")),
}
_CALL_IDS = ("tool_call_id", "tool_use_id", "call_id")
_MAX_ROLE_CHARS = 32
_MAX_PARAMETER_CHARS = 64


class Hasher:
    """Keyed BLAKE2b of 16 bytes: equal texts have equal hashes, and without the key no guess can be tried."""

    def __init__(self, key: bytes | str | None) -> None:
        if not isinstance(key, (bytes, str, type(None))):
            raise TypeError(f"hash_key must be bytes or str, not {type(key).__name__}")
        raw = parse_key(key) if key else os.urandom(32)
        self._key = raw if len(raw) <= 64 else hashlib.blake2b(raw).digest()

    def __call__(self, text: str | bytes) -> str:
        """32 hexadecimal digits."""
        data = repair(text).encode() if isinstance(text, str) else text
        return hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest()


def parse_key(key: bytes | str) -> bytes:
    """The bytes of a key given as bytes, hexadecimal or base64 (16 bytes or more), or else as text in UTF-8."""
    if isinstance(key, bytes):
        return key
    text = key.strip()
    for decode in (bytes.fromhex, _base64):
        try:
            raw = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(raw) >= 16:
            return raw
    return repair(text).encode()


def _base64(text: str) -> bytes:
    return base64.b64decode(text, altchars=b"-_" if "-" in text or "_" in text else None, validate=True)


def strictest(own: str, asked: object) -> str:
    """The stricter of the trail's mode and the one that an event asks for; an unknown word changes nothing."""
    if isinstance(asked, str) and asked in MODES and MODES.index(asked) > MODES.index(own):
        return asked
    return own


def without_text(body: dict[str, Any], mode: str, hasher: Hasher) -> dict[str, Any]:
    """The event of plain JSON types `body` without its text.

    Args:
        body: An event as JSON's own types.
        mode: `hash` leaves a length in characters and a keyed hash for each text, `none` leaves nothing.
        hasher: Makes the keyed hashes.
    """
    made = {name: value for name, value in body.items() if name in _AS_IT_IS}
    for name, kept in _PARTS.items():
        if isinstance(body.get(name), dict):
            made[name] = {part: value for part, value in body[name].items() if part in kept}
    if isinstance(body.get("guardrails"), list):
        made["guardrails"] = [
            {part: value for part, value in one.items() if part in ("name", "triggered")}
            for one in body["guardrails"]
            if isinstance(one, dict)
        ]
    if isinstance(body.get("parameters"), dict):
        made["parameters"] = {name: value for name, value in body["parameters"].items() if _is_setting(value)}
    made["content"] = mode
    for name in ("input", "output"):
        if mode == "hash" and body.get(name) is not None:
            messages = body[name] if isinstance(body[name], list) else [body[name]]
            made[name] = [_message(one, hasher) for one in messages]
    if isinstance(body.get("tool_calls"), list):
        made["tool_calls"] = [_tool(one, mode, hasher) for one in body["tool_calls"] if isinstance(one, dict)]
    return made


def _is_setting(value: Any) -> bool:
    return len(value) <= _MAX_PARAMETER_CHARS if isinstance(value, str) else isinstance(value, (bool, int, float))


def _stand_in(value: Any, hasher: Hasher) -> dict[str, Any]:
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return {"length": len(text), "hash": hasher(text)}


def _message(message: Any, hasher: Hasher) -> dict[str, Any]:
    """Role, length and hash. A message of role, content and a call's id has the hash of its content.

    Ids of tool calls are new in every call: with them, the same result twice would not be the same any more.
    """
    if not isinstance(message, dict):
        return _stand_in(message, hasher)
    role = "tool" if _is_result(message) else message.get("role")
    rest = {name: _without_ids(value) for name, value in message.items() if name not in ("role", *_CALL_IDS)}
    made = _stand_in(rest["content"] if list(rest) == ["content"] else rest, hasher)
    return {"role": role, **made} if isinstance(role, str) and len(role) <= _MAX_ROLE_CHARS else made


def _is_result(message: dict[str, Any]) -> bool:
    """Whether a message brings a tool's result under another role, as some providers have it."""
    parts = message.get("content")
    return message.get("type") == "function_call_output" or (
        isinstance(parts, list) and any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)
    )


def _without_ids(value: Any) -> Any:
    """Content without the ids of tool calls in its parts."""
    if not isinstance(value, list):
        return value
    return [
        {name: held for name, held in part.items() if name not in _CALL_IDS} if isinstance(part, dict) else part
        for part in value
    ]


def _tool(call: dict[str, Any], mode: str, hasher: Hasher) -> dict[str, Any]:
    made: dict[str, Any] = {name: call[name] for name in ("name", "id") if name in call}
    if mode == "hash":
        for name in ("arguments", "result"):
            if call.get(name) is not None:
                made[name] = _stand_in(call[name], hasher)
    return made
