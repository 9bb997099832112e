"""Canaries: values that must not get past redaction, one for each field the event contract has.

The walk goes over the structs themselves, so that a new field is planted without anyone thinking of it.
"""

from __future__ import annotations

import itertools
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import inspect

from schemas.event import Event

# Fields that the contract lets be read (a path's last names); everything else is hashed or text.
READABLE = {
    "tenant", "environment", "team", "service", "feature", "provider", "model", "response_model", "operation",
    "prompt_name", "prompt_version", "variant", "output_label", "tool_calls[].name", "guardrails[].name", "tags{key}",
}  # fmt: skip
# Where text is kept in full, once redacted: the only other place a harmless identifier may be seen.
TEXT_COLUMNS = ("input", "output", "tool_calls", "other")

Kind = Literal["sentence", "email", "card", "ssn", "ip", "harmless"]


@dataclass(frozen=True)
class Canary:
    """One planted value: what kind, in which field, the whole of it, and the part that must not be seen."""

    kind: Kind
    field: str
    value: str
    needle: str


def luhn(number: int) -> str:
    """A card number that passes its check: 15 digits and the right sixteenth."""
    digits = f"4{number:014d}"
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return digits + str((10 - total % 10) % 10)


_count = itertools.count(1)


def make(kind: Kind, field: str) -> Canary:
    """A canary that stands nowhere else."""
    number = next(_count)
    if kind == "harmless":
        value = f"zebraquokka-{number:05d}"
        return Canary(kind, field, value, value)
    if kind == "sentence":
        needle = f"maria.lopez{number:05d}@example.com"
        return Canary(kind, field, f"Please write to {needle}, thank you.", needle)
    shapes = {
        "email": f"jane.doe{number:05d}@example.com",
        "card": luhn(123_450_000_000 + number * 7_919),
        "ssn": f"{517 + number % 200}-{10 + number % 89}-{1000 + number}",
        "ip": f"10.{number // 250 + 11}.{number % 250 + 1}.77",
    }
    return Canary(kind, field, shapes[kind], shapes[kind])


def string_fields() -> list[str]:
    """Every path of the event that can hold a string: `a.b`, `a[].b`, `a{value}`, and places inside free JSON."""
    return sorted(set(_walk(inspect.type_info(Event), "")))


def _walk(info: Any, path: str) -> Iterator[str]:
    if isinstance(info, inspect.StructType):
        for field in info.fields:
            yield from _walk(field.type, f"{path}.{field.name}".lstrip("."))
    elif isinstance(info, inspect.UnionType):
        for option in info.types:
            yield from _walk(option, path)
    elif isinstance(info, inspect.ListType):
        yield from _walk(info.item_type, f"{path}[]")
    elif isinstance(info, inspect.DictType):
        yield f"{path}{{key}}"
        yield from _walk(info.value_type, f"{path}{{value}}")
    elif isinstance(info, inspect.StrType):
        yield path
    elif isinstance(info, inspect.AnyType):
        yield path
        yield from (f"{path}{inside}" for inside in (".messages", ".parts", ".key", ".number_list"))


def plant(field: str, value: str) -> dict[str, Any]:
    """A usable event with one canary in it."""
    event: dict[str, Any] = {"tenant": "acme", "kind": "call", "model": "gpt-4o", "provider": "openai"}
    if field.startswith("evaluation"):
        event["kind"] = "evaluation"
    elif field.startswith("feedback"):
        event["kind"] = "feedback"
    free = {
        ".messages": [{"role": "user", "content": value, "name": value}],
        ".parts": [{"role": "assistant", "content": [{"type": "text", "text": value}, {"image_url": {"url": value}}]}],
        ".key": {"arguments": {value: {"deep": {value: 1}}}},
        ".number_list": [[1, True, None, [value, 2.5]]],
    }
    for suffix, shape in free.items():
        if field.endswith(suffix) and field != suffix:
            return _set(event, field.removesuffix(suffix), shape)
    return _set(event, field, value)


def _set(event: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, dot, rest = path.partition(".")
    inner: Any = (
        value if not dot else _set({"name": "x"} if "guardrails" in head or "tool" in head else {}, rest, value)
    )
    if head.endswith("{key}"):
        event[head.removesuffix("{key}")] = {value: "x"}
    elif head.endswith("{value}"):
        event[head.removesuffix("{value}")] = {"some": inner}
    elif head.endswith("[]"):
        event[head.removesuffix("[]")] = [inner]
    else:
        event[head] = inner
    if head == "cut[]":
        event["cut"][0] = {"path": "input", "length": 3, "hash": "00", **event["cut"][0]}
        event["cut"][0].pop("name", None)
    return event


def usable(event: dict[str, Any]) -> bool:
    """Whether the contract takes the event; the others are planted too, and become dead letters."""
    try:
        msgspec.json.decode(json.dumps(event).encode(), type=Event)
    except msgspec.ValidationError:
        return False
    return True


def all_kinds() -> tuple[Kind, ...]:
    """A sentence with personal data, personal data in the characters of an identifier, a harmless identifier."""
    return typing.get_args(Kind)
