"""Policies: how long whose records are kept, and how much of their text. Pure; records come from `llm.controls`.

A policy version takes effect 30 s after its append time, and an event is judged by the version in force at its own
`received_at`, never by when it is processed. The first version holds from the beginning.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from pipeline.errors import UsageError
from schemas.control import EFFECT_DELAY_MS, Control

ContentMode = Literal["full", "hash", "none"]
MODES: Final[tuple[ContentMode, ...]] = ("full", "hash", "none")  # from open to closed


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for one tenant, or for all that are not named. Lives in days, 1 to 3650; no text at all is 0 days."""

    metadata_days: int | None = None
    text_days: int | None = None
    content: ContentMode | None = None

    def __post_init__(self) -> None:
        for name, days, least in (("metadata_days", self.metadata_days, 1), ("text_days", self.text_days, 0)):
            if days is not None and not least <= days <= 3650:
                raise ValueError(f"{name} is {days}; it must be from {least} to 3650")


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy: the default, and what differs by tenant and by environment (a tenant's word wins)."""

    default: Rule = Rule(metadata_days=365, text_days=30, content="full")
    tenant: dict[str, Rule] = {}
    environment: dict[str, Rule] = {}

    def life(self, tenant: str, environment: str | None) -> tuple[int, int, ContentMode]:
        """(metadata days, text days, content mode) for a tenant in an environment."""
        layers = (self.tenant.get(tenant), self.environment.get(environment or ""), self.default, Policy().default)
        days = next(rule.metadata_days for rule in layers if rule is not None and rule.metadata_days is not None)
        text = next(rule.text_days for rule in layers if rule is not None and rule.text_days is not None)
        content = next(rule.content for rule in layers if rule is not None and rule.content is not None)
        return days, text, content


def load(path: Path | None) -> Policy:
    """The policy in a TOML file; without a file, the default (365 days of metadata, 30 of text).

    Raises:
        UsageError: The file cannot be read, is no TOML, or says something that a policy cannot mean.
    """
    if path is None:
        return Policy()
    try:
        return parse(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"The policy file {path} cannot be used: {error}.") from error


def parse(body: Mapping[str, Any]) -> Policy:
    """A policy out of its plain form (a TOML table, or the body of a control).

    Raises:
        msgspec.ValidationError: An unknown field or a value out of range.
    """
    return msgspec.convert(dict(body), Policy)


class Policies:
    """All versions, and which one held when.

    Args:
        records: (append time in ms, control) of kind `policy`, in log order.
    """

    def __init__(self, records: Iterable[tuple[int, Control]]) -> None:
        versions = {control.version: (at_ms, parse(control.body)) for at_ms, control in records}
        self._versions = [
            (0 if place == 0 else at_ms + EFFECT_DELAY_MS, number, policy)
            for place, (number, (at_ms, policy)) in enumerate(sorted(versions.items()))
        ]

    def __bool__(self) -> bool:
        return bool(self._versions)

    def at(self, received_at: int) -> tuple[int, Policy]:
        """(version, policy) in force at a broker's append time in milliseconds.

        Raises:
            LookupError: There is no policy at all; `tokentrail migrate` writes the first.
        """
        for effective_ms, number, policy in reversed(self._versions):
            if effective_ms <= received_at:
                return number, policy
        raise LookupError("llm.controls holds no policy; run `tokentrail migrate`")

    def latest(self) -> tuple[int, Policy] | None:
        """The highest version, in force or not."""
        return self._versions[-1][1:] if self._versions else None


def stricter(one: ContentMode, other: ContentMode) -> ContentMode:
    """The more closed of two content modes."""
    return MODES[max(MODES.index(one), MODES.index(other))]
