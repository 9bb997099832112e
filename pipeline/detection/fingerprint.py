"""Keyed fingerprints of what a call did, made before redaction, so that `guard` sees loops without seeing text.

`measure` calls `loop_marks`. What is the same in two rounds of a loop must be equal here, and progress must not. A mark
is two hashes, `strict.loose`: the strict one of what `canonical` leaves, the loose one also without case, spacing, and
whatever holds a digit or a slash. A shape (`shapes`) says beyond that how near two steps are. Nothing here keeps or
returns text.

Cost: about 25 ns a character for a mark, 50 for a shape; of long texts only head, tail and length are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec

from pipeline.detection.canonical import MAX_TEXT_CHARS, arguments, canonical, result
from pipeline.detection.messages import answered, calls_in, is_stand_in, messages_of, role_of, said, told
from pipeline.detection.shapes import Looked, look, name_bits, tag, writes
from pipeline.detection.words import sample
from schemas.event import Event, ToolCall
from schemas.fact import Loop, Shape

# Ends the mark of a tool call of which only the name is known (content mode `none`).
NAME_ONLY: Final = "~"

# Of arguments, what may name one of many: an identifier, a number of some digits, the last part of a path. Shorter ones
# are found everywhere by chance.
_NAMED: Final = re.compile(r"(?<![\w.@-])(?=[\w.@-]{4})[A-Za-z_.@-]*+\d[\w.@-]*+")
MOST_TOLD: Final = 8
MOST_TOLD_CHARS: Final = 100_000

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
    late, asked, before = answered(messages) if not own else ([], [], 0)
    output = said(event.output)
    tail = said(messages[-1]) if messages and not late else ""
    if not (calls or own or late or output or tail):
        return None
    # Where the input shows earlier requests, the next call's will show this one.
    actions, action_shape = marks.actions(calls, messages, shaped=not asked)
    asked_marks, asked_shape = marks.actions(asked, messages[:before], shaped=True)
    results, result_shape, errors, words = marks.results(own or late)
    output_mark, output_shape, said_words = marks.text(b"o", output, shaped=not calls)
    tail_mark, tail_shape, _ = marks.text(b"i", tail, shaped=not calls and bool(output))
    return Loop(
        actions=actions,
        results=results,
        own_results=bool(own),
        output=output_mark,
        input_tail=tail_mark,
        tool_errors=errors,
        input_messages=len(messages),
        asked=asked_marks,
        action_shape=action_shape,
        asked_shape=asked_shape,
        result_shape=result_shape,
        output_shape=output_shape,
        tail_shape=tail_shape,
        tail_role=role_of(messages) if tail_shape is not None else "",
        answer_words=sample(words or said_words, marks.key),
    )


class _Marks:
    """Marks and shapes under one key."""

    def __init__(self, key: bytes) -> None:
        self.key = key[:64]

    def actions(
        self, calls: Sequence[ToolCall], messages: Sequence[Any], *, shaped: bool
    ) -> tuple[tuple[str, ...], Shape | None]:
        """A mark for each call, and their shape together; `messages` is what the model had read by then."""
        if not calls:
            return (), None
        settled = [(call, *arguments(call, partial(_was_told, messages))) for call in calls]
        looked = [look(value, self.key) for _, _, value in settled]
        marks = tuple(
            self._of(b"a" + _bytes(call.name or ""), text, one.loose) + (NAME_ONLY if call.arguments is None else "")
            for (call, text, _), one in zip(settled, looked, strict=True)
        )
        if not shaped:
            return marks, None
        whole = looked[0] if len(looked) == 1 else look([value for _, _, value in settled], self.key)
        names = [
            name
            for _, text, value in settled
            if not is_stand_in(value)
            for name in _NAMED.findall(text)
            if _names_one(name)
        ][:MOST_TOLD]
        told_names = told_of(messages, names) if names else set[str]()
        shape = msgspec.structs.replace(
            whole.shape,
            tag=tag(calls, self.key),
            told=name_bits(told_names, self.key),
            made_up=bool(names) and not told_names and any(told(messages)),
            writes=writes(calls),
        )
        return marks, shape

    def results(self, values: Sequence[Any]) -> tuple[tuple[str, ...], Shape | None, int, list[str]]:
        """A mark for each result, their shape together, how many of them look like errors, and their words."""
        if not values:
            return (), None, 0, []
        marks, settled, errors = [], [], 0
        for value in values:
            text, plain = result(value)
            looked = look(plain, self.key)
            marks.append(self._of(b"r", text, looked.loose))
            settled.append((plain, looked))
            errors += _ERROR.search(text[:400]) is not None
        one: Looked = settled[0][1] if len(settled) == 1 else look([plain for plain, _ in settled], self.key)
        return tuple(marks), one.shape, errors, one.words

    def text(self, kind: bytes, text: str, *, shaped: bool) -> tuple[str | None, Shape | None, list[str]]:
        """The mark of what was said, and its shape and words where they are wanted."""
        if not text:
            return None, None, []
        looked = look(text, self.key)
        mark = self._of(kind, canonical(text, MAX_TEXT_CHARS), looked.loose)
        return (mark, looked.shape, looked.words) if shaped else (mark, None, [])

    def _of(self, kind: bytes, text: str, loose: str) -> str:
        """64 keyed bits of the text, a dot, 32 of the loose text."""
        strict = blake2b(kind + b"\x1f" + _bytes(text), digest_size=8, key=self.key)
        loosely = blake2b(kind + b"\x1e" + _bytes(loose), digest_size=4, key=self.key)
        return f"{strict.hexdigest()}.{loosely.hexdigest()}"


def _names_one(name: str) -> bool:
    """Whether it can name one of many: a year or a small number stands in every text."""
    return len(name) > 4 or not name.isdigit()


def told_of(messages: Sequence[Any], names: Iterable[str]) -> set[str]:
    """Those of some identifiers that people or tools have named to the model."""
    missing, found = set(names), set[str]()
    chars = 0
    for text in told(messages):
        found |= {name for name in missing if _stands_in(name, text)}
        missing -= found
        chars += len(text)
        if not missing or chars > MOST_TOLD_CHARS:
            break
    return found


def _stands_in(name: str, text: str) -> bool:
    """Whether an identifier stands in a text by itself, not as a part of a longer one."""
    place = text.find(name)
    while place >= 0:
        end = place + len(name)
        if not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum()):
            return True
        place = text.find(name, place + 1)
    return False


def _was_told(messages: Sequence[Any], name: str) -> bool:
    return name in told_of(messages, (name,))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
