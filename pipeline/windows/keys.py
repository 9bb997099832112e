"""Sources and keys: what a fact is counted as, under which keys that is added up, and how a key reads.

`meter` counts a call once, as what it is in all its identifiers, and once for its user; the judge adds that up under
the tenant, the feature, the model and so on. So a call costs the same however many dimensions there are.
"""

from __future__ import annotations

from typing import Final

from schemas.fact import Fact
from schemas.partial import Bucket, Key, Quality, Shape, Source

# Names of a key's values, by dimension. `provider` and `model` of the `model` dimension tell the judge which
# provider x model a feature depends on. Parents before children: the order in which keys are judged and published.
NAMES: Final[dict[str, tuple[str, ...]]] = {
    "provider": ("provider", "model"),
    "tenant": ("tenant",),
    "feature": ("tenant", "feature"),
    "model": ("tenant", "feature", "provider", "model"),
    "prompt": ("tenant", "prompt_name", "prompt_version"),
    "variant": ("tenant", "feature", "variant"),
    "user": ("tenant", "user"),
    "canary": ("tenant", "feature", "provider", "model"),
    "redaction": ("tenant",),
    "template": ("tenant", "provider", "model", "template"),
}
ORDER: Final = {dimension: place for place, dimension in enumerate(NAMES)}
# What is counted beyond numbers: how good answers are, and how they are distributed.
WITH_QUALITY: Final = frozenset(("feature", "prompt", "variant"))
# Kinds of facts that are counted by their route.
_BY_ROUTE: Final = frozenset(("call", "judged", "canary"))


def source_of(fact: Fact) -> Source:
    """What a call, an evaluation, a feedback or a canary is counted as."""
    kind = fact.type
    return (
        kind if kind in ("call", "canary") else "judged",
        fact.tenant,
        fact.feature or "",
        fact.provider or "",
        fact.model or fact.response_model or "",
        fact.prompt_name or "",
        fact.prompt_version or "",
        fact.variant or "",
        fact.environment or "",
        fact.team or "",
    )


def bucket_for(source: Source) -> Bucket:
    """An empty bucket that counts what can be counted of a source."""
    return Bucket(quality=Quality(), shape=Shape()) if source[0] in ("call", "judged") else Bucket()


def keys_of(source: Source) -> tuple[Key, ...]:
    """The keys that a source is added up under; empty identifiers give no key of their own.

    What is said about calls without naming a feature counts for the tenant's answers as a whole: a feature without a
    name.
    """
    kind = source[0]
    if kind not in _BY_ROUTE:
        return (source,)
    _, tenant, feature, provider, model, prompt, version, variant = source[:8]
    if kind == "canary":
        return (("canary", tenant, feature, provider, model),)
    keys: list[Key] = []
    if kind == "call":
        if provider or model:
            keys.append(("provider", provider, model))
        keys.append(("tenant", tenant))
    if feature or kind == "judged":
        keys.append(("feature", tenant, feature))
    if feature and model and kind == "call":
        keys.append(("model", tenant, feature, provider, model))
    if prompt:
        keys.append(("prompt", tenant, prompt, version))
    if variant:
        keys.append(("variant", tenant, feature, variant))
    return tuple(keys)


def spent_on(source: Source) -> tuple[str, str, str, str] | None:
    """(environment, team, feature, model) that calls of a source are spent on; None where it counts no calls."""
    if source[0] != "call":
        return None
    _, _, feature, _, model, _, _, _, environment, team = source
    return environment, team, feature, model


def subject(key: Key) -> dict[str, str]:
    """A key as names and values; empty values are left out."""
    return {name: value for name, value in zip(NAMES[key[0]], key[1:], strict=True) if value}


def tenant_of(key: Key) -> str:
    """The tenant of a key; empty for `provider` keys, which are nobody's."""
    return "" if key[0] == "provider" else key[1]
