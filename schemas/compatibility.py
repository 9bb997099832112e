"""Whether a JSON Schema still means what an earlier one meant, for those who write and those who read by it. Pure.

Released schemas stand in `schemas/released`. A contract may grow; it breaks somebody when a field is removed, holds
other types, is required where it was not or not always there where it was, or loses a value of an enumeration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

RELEASED: Final = Path(__file__).parent / "released"
# Bounds that must not become tighter, and which way is tighter.
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

Schema = Mapping[str, Any]


def breaks(old: Schema, new: Schema) -> list[str]:
    """What of the old schema the new one breaks, one line each; empty when nothing."""
    return sorted(set(_breaks(old, new, old, new, "", frozenset())))


def _breaks(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    names = (str(old.get("$ref", "")), str(new.get("$ref", "")))
    if any(names) and names in seen:
        return
    seen |= {names}
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    where = path or "the record"
    before, after = _types(old, old_root), _types(new, new_root)
    if before and after and before != after:
        yield f"{where}: held {_words(before)}, holds {_words(after)}"
        return
    for name in _LOWER:
        if name in new and (name not in old or new[name] > old[name]):
            yield f"{where}: {name} is tighter"
    for name in _UPPER:
        if name in new and (name not in old or new[name] < old[name]):
            yield f"{where}: {name} is tighter"
    if "enum" in old and set(map(str, old["enum"])) - set(map(str, new.get("enum", old["enum"]))):
        yield f"{where}: lost a value of its enumeration"
    if "const" in old and new.get("const") != old["const"]:
        yield f"{where}: was always {old['const']}"
    yield from _object(old, new, old_root, new_root, path, seen)
    if isinstance(old.get("items"), Mapping) and isinstance(new.get("items"), Mapping):
        yield from _breaks(old["items"], new["items"], old_root, new_root, f"{path}[]", seen)
    for part, other in _variants(old, new, old_root, new_root):
        yield from _breaks(part, other, old_root, new_root, path, seen)


def _object(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    mine, theirs = old.get("properties", {}), new.get("properties", {})
    required, was_required = set(new.get("required", ())), set(old.get("required", ()))
    for name, schema in mine.items():
        at = f"{path}.{name}".lstrip(".")
        if name not in theirs:
            yield f"{at}: was removed"
        else:
            yield from _breaks(schema, theirs[name], old_root, new_root, at, seen)
    for name in sorted(required - was_required):
        yield f"{f'{path}.{name}'.lstrip('.')}: is required now"
    for name in sorted(was_required - required):
        yield f"{f'{path}.{name}'.lstrip('.')}: is not always there any more"
    if old.get("additionalProperties", True) is not False and new.get("additionalProperties", True) is False:
        yield f"{path or 'the record'}: takes no further fields any more"


def _variants(old: Schema, new: Schema, old_root: Schema, new_root: Schema) -> Iterator[tuple[Schema, Schema]]:
    """Variants of the same type, where both have several."""
    for part in old.get("anyOf", ()):
        kinds = _types(part, old_root)
        for other in new.get("anyOf", ()):
            if _types(other, new_root) == kinds:
                yield part, other
                break


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for name in schema["$ref"].lstrip("#/").split("/"):
            found = found[name]
        schema = found
    return schema


def _types(schema: Schema, root: Schema) -> frozenset[str]:
    schema = _resolved(schema, root)
    if "anyOf" in schema:
        return frozenset().union(*(_types(one, root) for one in schema["anyOf"]))
    kind = schema.get("type")
    if isinstance(kind, str):
        return frozenset((kind,))
    if isinstance(kind, list):
        return frozenset(kind)
    values = schema.get("enum", [schema["const"]] if "const" in schema else ())
    return frozenset(
        {str: "string", int: "integer", float: "number", bool: "boolean"}.get(type(one), "null") for one in values
    )


def _words(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))
