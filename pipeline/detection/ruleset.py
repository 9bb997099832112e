"""The rules in force: every rule's recipe for a dimension and a tenant. Pure.

A rules file sets parameters for a rule as a whole, for one of its dimensions, and both for single tenants. What is more
particular wins: tenant and dimension, tenant, dimension, rule, the default of the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

import msgspec

from pipeline.detection.registry import RULES
from pipeline.detection.rule import KeyRecipe, Life, Recipe

Params = Mapping[str, Any]
# Parameters by rule and dimension; "" stands for all of a rule's dimensions.
Settings = Mapping[str, Mapping[str, Params]]

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True, slots=True)
class Active:
    """A rule that is asked: its recipe, how its findings become anomalies, whether it must warm up at a key."""

    recipe: Recipe
    life: Life
    warms_up: bool = False


class Ruleset:
    """The recipes of one version.

    Args:
        settings: What the file says for everybody.
        tenants: What it says for single tenants.

    Raises:
        msgspec.ValidationError: A parameter that its recipe does not take.
    """

    def __init__(self, settings: Settings | None = None, tenants: Mapping[str, Settings] | None = None) -> None:
        self.settings, self.tenants = settings or {}, tenants or {}
        self._everybody = _resolve([self.settings])
        self._single = {tenant: _resolve([self.settings, theirs]) for tenant, theirs in self.tenants.items()}

    def recipe(self, rule: str, dimension: str, tenant: str = "") -> Recipe:
        """What is in force, whether it is enabled or not.

        Raises:
            KeyError: There is no such rule, or it is not judged for this dimension.
        """
        return self._single.get(tenant, self._everybody)[rule, dimension].recipe

    def active(self, dimension: str, tenant: str = "") -> tuple[Active, ...]:
        """The enabled rules of a dimension, in the registry's order."""
        return self._by_dimension[tenant if tenant in self._single else ""].get(dimension, ())

    def hears_silence(self, dimension: str) -> bool:
        """Whether a rule waits for the silence of anybody's key of a dimension."""
        return dimension in self._silence

    @cached_property
    def _silence(self) -> frozenset[str]:
        resolved = (self._everybody, *self._single.values())
        return frozenset(
            dimension
            for found in resolved
            for (_, dimension), active in found.items()
            if active.recipe.enabled and isinstance(active.recipe, KeyRecipe) and active.recipe.of_silence
        )

    def find(self, kind: type[AnyRecipe], dimension: str, tenant: str = "") -> AnyRecipe | None:
        """One rule's recipe by its type; None where it is not enabled."""
        found = self.recipe(kind.rule, dimension, tenant)
        assert isinstance(found, kind)
        return found if found.enabled else None

    def life(self, rule: str, dimension: str, tenant: str = "") -> Life:
        """How a rule's findings become anomalies; raises as `recipe` does."""
        return self._single.get(tenant, self._everybody)[rule, dimension].life

    @cached_property
    def _by_dimension(self) -> dict[str, dict[str, tuple[Active, ...]]]:
        return {tenant: _enabled(found) for tenant, found in (("", self._everybody), *self._single.items())}


Resolved = dict[tuple[str, str], Active]


def _resolve(layers: list[Settings]) -> Resolved:
    """Every rule's recipe for each of its dimensions; later layers win."""
    found = Resolved()
    for entry in RULES:
        for dimension, default in entry.dimensions.items():
            params: dict[str, Any] = {}
            for layer in layers:
                of_rule = layer.get(entry.name, {})
                params |= {**of_rule.get("", {}), **of_rule.get(dimension, {})}
            recipe = changed(default, params) if params else default
            found[entry.name, dimension] = Active(
                recipe, recipe.life, isinstance(recipe, KeyRecipe) and recipe.warms_up
            )
    return found


def changed(recipe: AnyRecipe, params: Params) -> AnyRecipe:
    """A recipe with other parameters.

    Raises:
        msgspec.ValidationError: One that it does not take, or not with this value.
    """
    plain = {name: getattr(recipe, name) for name in recipe.__struct_fields__}
    return msgspec.convert(msgspec.to_builtins(plain) | dict(params), type(recipe))


def _enabled(found: Resolved) -> dict[str, tuple[Active, ...]]:
    by_dimension: dict[str, list[Active]] = {}
    for (_, dimension), active in found.items():
        if active.recipe.enabled:
            by_dimension.setdefault(dimension, []).append(active)
    return {dimension: tuple(rules) for dimension, rules in by_dimension.items()}


DEFAULT: Final = Ruleset()
