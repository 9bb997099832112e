"""How a value gets into a record: the words around it, tricks of writing, and the field that it stands in."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.plants import personal, secrets
from tests.plants.leaks import plain

ALL = {**personal.KINDS, **secrets.KINDS}
BEFORE = ["Please use ", "Here it is: ", "the value was ", "Note - ", "user said: ", "", "I sent you "]
AFTER = [" thanks!", ", is that right?", ".", " and then it failed", "\nNext line.", "", "; what now?"]
FULL_WIDTH = {ord(c): chr(ord(c) - ord("0") + 0xFF10) for c in "0123456789"}
ALIKE = str.maketrans("aeopcxy", "аеорсху")
TRICKS = ("plain", "plain", "plain", "full-width digits", "zero-width", "look-alikes")
# A trick is played where the value can still be read by a person or a program that normalises it.
WHOLE = {"private key"}


def tricked(value: str, kind: str, trick: str, rng: random.Random) -> str:
    """A value written in another way."""
    if kind in WHOLE or trick == "plain":
        return value
    if trick == "full-width digits":
        return value.translate(FULL_WIDTH)
    if trick == "zero-width":
        for _ in range(3):
            at = rng.randrange(1, len(value))
            value = value[:at] + rng.choice("\u200b\u200c\u2060\ufeff\u00ad") + value[at:]
        return value
    letters = [i for i, c in enumerate(value) if ord(c) in ALIKE]
    for at in rng.sample(letters, min(2, len(letters))):
        value = value[:at] + value[at].translate(ALIKE) + value[at + 1 :]
    return value


def sentence(rng: random.Random, kind: str) -> tuple[str, str, str]:
    """(text, value as it is, trick) with one planted value."""
    before, make = ALL[kind]
    value, trick = make(rng), rng.choice(TRICKS)
    if "address" in kind or "connection" in kind or "header" in kind or kind == "street":
        trick = "plain" if trick == "look-alikes" else trick
    end = '"' if before.endswith('"') else ""
    written = tricked(value, kind, trick, rng)
    if not any(value[i : i + 8] in plain(written) for i in range(max(1, len(value) - 7))):
        written, trick = value, "plain"  # so many look-alikes that nothing of it could be seen
    text = rng.choice(BEFORE) + before + written + end + rng.choice(AFTER)
    return text, value, trick


FIELDS = ("input", "output", "parts", "arguments", "result json", "nested json", "key", "error", "comment", "tag")


def event(rng: random.Random, text: str, field: str, number: int) -> dict[str, Any]:
    """A usable event with a text in one of its fields."""
    one: dict[str, Any] = {"tenant": f"tenant-{number % 5}", "kind": "call", "model": "gpt-4o", "provider": "openai"}
    if field == "input":
        one["input"] = [{"role": "user", "content": text}]
    elif field == "output":
        one["output"] = [{"role": "assistant", "content": text}]
    elif field == "parts":
        one["input"] = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    elif field == "arguments":
        one["tool_calls"] = [{"name": "send", "arguments": {"note": text, "n": [1, {"deep": text}]}}]
    elif field == "result json":
        one["tool_calls"] = [{"name": "send", "result": json.dumps({"ok": True, "said": [text, None, 2.5]})}]
    elif field == "nested json":
        one["input"] = [{"role": "tool", "content": json.dumps({"body": json.dumps({"text": text})})}]
    elif field == "key":
        one["tool_calls"] = [{"name": "send", "arguments": {text: 1}}]
    elif field == "error":
        one |= {"status": "error", "error": {"type": "APIError", "message": text}}
    elif field == "comment":
        one |= {"kind": "feedback", "feedback": {"rating": 1, "comment": text}}
    else:
        one["tags"] = {"note": text}
    return one
