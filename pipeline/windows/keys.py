"""Dimensions: which keys a call is counted under, and how a key reads as the subject of a window or an anomaly."""

from __future__ import annotations

from typing import Final

from schemas.partial import Key

# Names of a key's values, by dimension. `provider` and `model` of the `model` dimension tell the judge which
# provider x model a feature depends on.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "tenant": ("tenant",),
    "provider": ("provider", "model"),
    "feature": ("tenant", "feature"),
    "model": ("tenant", "feature", "provider", "model"),
    "user": ("tenant", "user"),
}
# Parents before children: the order in which keys are published and judged.
ORDER: Final = {dimension: place for place, dimension in enumerate(NAMES)}


def keys_of(tenant: str, feature: str, provider: str, model: str) -> tuple[Key, ...]:
    """The keys of a call, its user apart; empty identifiers give no key of their own."""
    keys: list[Key] = [("tenant", tenant)]
    if provider or model:
        keys.append(("provider", provider, model))
    if feature:
        keys.append(("feature", tenant, feature))
    if feature and model:
        keys.append(("model", tenant, feature, provider, model))
    return tuple(keys)


def subject(key: Key) -> dict[str, str]:
    """A key as names and values; empty values are left out."""
    return {name: value for name, value in zip(NAMES[key[0]], key[1:], strict=True) if value}


def tenant_of(key: Key) -> str:
    """The tenant of a key; empty for `provider` keys, which are nobody's."""
    return "" if key[0] == "provider" else key[1]
