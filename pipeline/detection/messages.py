"""Where things stand in messages as OpenAI, Anthropic and Google shape them: tool calls, tool results, what was said.

Reads only, keeps nothing. In content mode `hash` a producer leaves `{"length", "hash"}` where a text was: such a
stand-in reads as its hash, which is all there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec

from schemas.event import ToolCall

MAX_DEPTH: Final = 16
# Of the newest messages, so many may be tool results; a call rarely has more parallel tools.
MAX_RESULTS: Final = 32
# Hexadecimal digits as other letters: a hash that stands for a text must not be taken for a volatile id.
_LETTERS: Final = str.maketrans("0123456789abcdefABCDEF", "ghijklmnopqrstuvwxyzGH")


def is_stand_in(value: Any) -> bool:
    """Whether a value is what a producer leaves of a text in content mode `hash`."""
    return isinstance(value, dict) and "hash" in value and value.keys() <= {"length", "hash", "role"}


def messages_of(value: Any) -> list[Any]:
    """The messages of an input."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        for name in ("messages", "contents", "input"):
            if isinstance(value.get(name), list):
                found: list[Any] = value[name]
                return found
    return [] if value is None else [value]


def answered(messages: list[Any]) -> tuple[list[Any], list[ToolCall], int]:
    """What the input ends with, where it ends with tool results.

    Returns:
        The results in order, the tool calls that they answer (none where the input does not show them), and how many
        messages stand before those calls.
    """
    results: list[Any] = []
    place = len(messages)
    while place and len(results) < MAX_RESULTS:
        found = _results_of(messages[place - 1])
        if not found:
            break
        results = found + results
        place -= 1
    if not results:
        return [], [], place
    calls: list[ToolCall] = []
    while place and len(calls) < MAX_RESULTS:
        asked = calls_in(messages[place - 1])
        if not asked:
            break
        calls = asked + calls
        place -= 1
        if not _is_call(messages[place]):
            break
    return results, calls, place


def calls_in(output: Any) -> list[ToolCall]:
    """Tool calls inside messages, where the event does not list them."""
    calls = []
    for message in output if isinstance(output, list) else [output]:
        if not isinstance(message, dict):
            continue
        listed = message.get("tool_calls")
        for call in listed if isinstance(listed, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict):
                calls.append(ToolCall(str(function.get("name")), function.get("arguments")))
        if _is_call(message):
            calls.append(ToolCall(str(message.get("name")), message.get("arguments")))
        old = message.get("function_call")
        if isinstance(old, dict):
            calls.append(ToolCall(str(old.get("name")), old.get("arguments")))
        content = message.get("content") or message.get("parts")
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            google = part.get("functionCall") or part.get("function_call")
            if part.get("type") == "tool_use":
                calls.append(ToolCall(str(part.get("name")), part.get("input")))
            elif isinstance(google, dict):
                calls.append(ToolCall(str(google.get("name")), google.get("args")))
    return calls


def told(messages: Sequence[Any]) -> Iterator[str]:
    """What the model was told by people and tools, the newest first: messages that are not its own."""
    for message in reversed(messages):
        if isinstance(message, str):
            yield message
        elif isinstance(message, dict) and message.get("role") not in ("assistant", "model"):
            content = message.get("content")
            if isinstance(content, str):
                yield content
            else:
                yield said(message) or "\n".join(map(str, _results_of(message)))


def role_of(messages: list[Any]) -> Literal["", "user", "assistant", "other"]:
    """Who said the last message; a bare text is a person's."""
    if not messages:
        return ""
    last = messages[-1]
    role = last.get("role") if isinstance(last, dict) else "user"
    if role in ("user", "human"):
        return "user"
    return "assistant" if role in ("assistant", "model", "ai") else "other"


def _is_call(message: Any) -> bool:
    return isinstance(message, dict) and message.get("type") == "function_call"


def said(value: Any, depth: int = 0) -> str:
    """The text of messages, without roles, names, types and ids."""
    if isinstance(value, str):
        return value
    if value is None or depth >= MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "\n".join(text for item in value if (text := said(item, depth + 1)))
    if isinstance(value, dict):
        if is_stand_in(value):
            return str(value["hash"]).translate(_LETTERS)
        for name in ("content", "text", "parts", "output", "message"):
            if value.get(name) is not None:
                return said(value[name], depth + 1)
        return "" if {"role", "tool_calls", "type"} & value.keys() else as_json(value)
    return str(value)


def as_json(value: Any) -> str:
    """A JSON value as text with sorted keys."""
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
        return repr(value)


def _results_of(message: Any) -> list[Any]:
    """Tool results in one message; empty when it is no tool message."""
    if not isinstance(message, dict):
        return []
    if message.get("role") in ("tool", "function"):
        if is_stand_in(message):
            return [{"length": message.get("length"), "hash": message["hash"]}]
        return [_content(message.get("content", message.get("parts")))]
    if message.get("type") == "function_call_output":
        return [message.get("output")]
    parts = message.get("content") or message.get("parts")
    if not isinstance(parts, list):
        return []
    found = []
    for part in parts:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "tool_result":
            text = _content(part.get("content"))
            found.append(f"error: {text}" if part.get("is_error") else text)
        elif "functionResponse" in part or "function_response" in part:
            answer = part.get("functionResponse") or part.get("function_response")
            found.append(answer.get("response") if isinstance(answer, dict) else answer)
    return found


def _content(value: Any) -> Any:
    """A message's content as one text where it is made of text parts."""
    return said(value) if isinstance(value, list) else value
