"""Rules in words and in TOML: what can be set, what it means, what is set."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from pipeline.detection.registry import RULES, Entry
from pipeline.detection.rule import Recipe
from pipeline.detection.ruleset import Ruleset

TIERS: Final = {1: "page", 2: "ticket", 3: "review"}
_ATTRIBUTE: Final = re.compile(r"(\w+): (.*)")


def meanings(recipe: type[Recipe]) -> dict[str, str]:
    """What each parameter of a recipe means; a rule's own before those that all have."""
    found: dict[str, str] = {}
    for kind in recipe.__mro__:
        if issubclass(kind, Recipe) and kind.__doc__:
            for name, text in _attributes(inspect.cleandoc(kind.__doc__)):
                found.setdefault(name, text)
    common = set(Recipe.__struct_fields__) if recipe is not Recipe else set()
    return {name: found.get(name, "") for name in sorted(recipe.__struct_fields__, key=lambda name: name in common)}


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    _, _, section = docstring.partition("Attributes:\n")
    name, text = "", ""
    for line in section.splitlines():
        if not line.startswith("    "):
            break
        match = _ATTRIBUTE.fullmatch(line.strip()) if not line.startswith("     ") else None
        if match is not None:
            if name:
                yield name, text
            name, text = match[1], match[2]
        else:
            text = f"{text} {line.strip()}"
    if name:
        yield name, text


def summary(entry: Entry) -> str:
    """The first sentence of a rule's own file."""
    module = inspect.getmodule(entry.recipe)
    text = " ".join((inspect.getdoc(module) or "").split("\n\n")[0].split())
    text = text.partition("`: ")[2] or text
    return text[:1].upper() + text[1:].removesuffix(" Pure.")


def value(given: Any) -> str:
    """A parameter's value as TOML."""
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, msgspec.Struct):
        given = {name: item for name, item in msgspec.to_builtins(given).items() if item is not None}
    if isinstance(given, Mapping):
        return "{ " + ", ".join(f"{name} = {value(item)}" for name, item in given.items()) + " }"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    return json.dumps(given)


def set_parameters(ruleset: Ruleset, rule: str, dimension: str, tenant: str = "") -> dict[str, Any]:
    """What of a rule differs from its defaults, by parameter."""
    recipe = ruleset.recipe(rule, dimension, tenant)
    default = next(entry.dimensions[dimension] for entry in RULES if entry.name == rule)
    return {
        name: given for name in recipe.__struct_fields__ if (given := getattr(recipe, name)) != getattr(default, name)
    }


def template() -> str:
    """A rules file with every parameter of every rule at its default, commented out."""
    common = meanings(Recipe)
    lines = [
        "# Rules of tokentrail: what stands here changes the defaults. Look for mistakes in a file with",
        "# `tokentrail rules check FILE`, see what it would have found with `tokentrail rules test FILE --on HISTORY`,",
        "# and put it into force with `tokentrail rules apply FILE`.",
        '# One tenant only: [tenants.NAME."RULE"]. One dimension of a rule only: ["RULE".DIMENSION].',
        "#",
        "# What every rule can be told:",
        *(f"#   {name}: {text}" for name, text in common.items()),
    ]
    for entry in RULES:
        first = next(iter(entry.dimensions.values()))
        lines += ["", f"# {summary(entry)}"]
        lines += [f"# A {TIERS[entry.recipe.tier]}; judged for {', '.join(entry.dimensions)}.", f'["{entry.name}"]']
        for name, text in meanings(entry.recipe).items():
            if name not in common:
                lines.append(f"# {text}")
            lines.append(f"# {name} = {value(getattr(first, name))}")
        for dimension, recipe in entry.dimensions.items():
            other = [name for name in recipe.__struct_fields__ if getattr(recipe, name) != getattr(first, name)]
            if other:
                lines.append(f'# ["{entry.name}".{dimension}]')
                lines += [f"# {name} = {value(getattr(recipe, name))}" for name in other]
    return "\n".join(lines) + "\n"
