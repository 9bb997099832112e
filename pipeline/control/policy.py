"""Policies: how long whose records are kept, and what is redacted how in their text. Pure: records come from Kafka.

A policy version takes effect 30 s after its append time, and an event is judged by the version in force at its own
`received_at`, never by when it is processed. The first version holds from the beginning. What is stored keeps the life
that it was stored with: only `tokentrail retention apply` lets a shorter policy bite on it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from pipeline.errors import UsageError
from schemas.control import EFFECT_DELAY_MS, Action, Control

ContentMode = Literal["full", "hash", "none"]
MODES: Final[tuple[ContentMode, ...]] = ("full", "hash", "none")  # from open to closed

# text       redacted text, and the hashes that stand for it
# metadata   one row a call, evaluation, feedback, heartbeat or dead letter, without text
# anomalies  findings, closed windows, late events: what was computed from records
# controls   the copy of switches, budgets, policies and holds
Class = Literal["text", "metadata", "anomalies", "controls"]
CLASSES: Final[tuple[Class, ...]] = ("text", "metadata", "anomalies", "controls")
MAX_DAYS: Final = 3_650
_TABLES: Final[Mapping[Class, tuple[str, ...]]] = {
    "text": ("call_content",),
    "metadata": ("calls", "evaluations", "feedback", "heartbeats", "dead_letters", "replays", "repricings"),
    "anomalies": ("anomalies", "windows", "late_events"),
    "controls": ("controls_log",),
}
CLASS_OF: Final[Mapping[str, Class]] = {table: name for name, tables in _TABLES.items() for table in tables}


class RedactionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is looked for in a tenant's or an environment's text, and what stands in its place.

    Attributes:
        entities: Types that are looked for; none said: all that the engine finds.
        without: Types that are left as they are, with the reason in the policy's file.
        action: What is done with a type that `actions` does not name: `replace`, `mask`, `drop`, `pseudonym`,
            `encrypt`.
        actions: The same by type.
        keep_last: Characters at the end of a masked value that stay, 0 to 4.
        key: Where the key of `encrypt` is: `file:PATH` (mode 0600) or `env:NAME`, base64 of 32 bytes.
        canary: Where the canary is: a value of 8 characters or more that must never be seen in redacted text.
        names: False: the model that finds names is not asked, patterns alone.
    """

    entities: tuple[str, ...] | None = None
    without: tuple[str, ...] | None = None
    action: Action | None = None
    actions: dict[str, Action] = {}
    keep_last: int | None = None
    key: str | None = None
    canary: str | None = None
    names: bool | None = None

    def __post_init__(self) -> None:
        if self.keep_last is not None and not 0 <= self.keep_last <= 4:
            raise ValueError(f"keep_last is {self.keep_last}; it must be from 0 to 4")
        for name, said in (("key", self.key), ("canary", self.canary)):
            if said is not None and not said.startswith(("file:", "env:")):
                raise ValueError(f"{name} is a reference, file:PATH or env:NAME, and never the value itself")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for one tenant, one environment, or for all that are not named.

    Attributes:
        metadata_days: Life of rows without text, 1 to 3650 days.
        text_days: Life of text, 0 to 3650 days; 0: none is kept. Text never outlives the row that says whose it is.
        anomalies_days: Life of findings, windows and late events. Of an environment they do not know.
        controls_days: Life of the copy of controls.
        content: How much of a text is kept.
        purpose: By class, what it is kept for, as it completes the sentence "It is kept ...": "to find errors".
        redaction: What is replaced in text, and by what.
    """

    metadata_days: int | None = None
    text_days: int | None = None
    anomalies_days: int | None = None
    controls_days: int | None = None
    content: ContentMode | None = None
    purpose: dict[Class, str] = {}
    redaction: RedactionRule | None = None

    def __post_init__(self) -> None:
        for name in CLASSES:
            days, least = self.days(name), 0 if name == "text" else 1
            if days is not None and not least <= days <= MAX_DAYS:
                raise ValueError(f"{name}_days is {days}; it must be from {least} to {MAX_DAYS}")
        for name, said in self.purpose.items():
            if not said.strip() or said != said.strip() or "\n" in said or said.endswith("."):
                raise ValueError(f'the purpose of {name} must be one line, as in "to find errors", without a full stop')

    def days(self, name: Class) -> int | None:
        """The life of a class, where this rule says one."""
        found: int | None = getattr(self, f"{name}_days")
        return found


_DEFAULT: Final = Rule(
    metadata_days=365,
    text_days=30,
    anomalies_days=400,
    controls_days=MAX_DAYS,
    content="full",
    purpose={
        "text": "to find out why a call went wrong",
        "metadata": "to account for cost, latency and errors",
        "anomalies": "to compare a day with a year ago, and to show what was reported",
        "controls": "to show who switched what, and why",
    },
)


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of the policy: the default, and what differs by tenant and by environment (a tenant's word wins)."""

    default: Rule = _DEFAULT
    tenant: dict[str, Rule] = {}
    environment: dict[str, Rule] = {}

    def __post_init__(self) -> None:
        for tenant in (*self.tenant, ""):
            for environment in (*self.environment, None):
                self.redaction(tenant, environment)  # raises where it cannot be meant
        for name, rule in self.environment.items():
            if rule.anomalies_days is not None or rule.controls_days is not None:
                raise ValueError(f"environment {name}: windows, anomalies and controls know no environment")

    def life(self, tenant: str, environment: str | None) -> tuple[int, int, ContentMode]:
        """(metadata days, text days, content mode) for a tenant in an environment."""
        layers = self._layers(tenant, environment)
        content = next(rule.content for rule in layers if rule.content is not None)
        return self.days("metadata", tenant, environment), self.days("text", tenant, environment), content

    def days(self, name: Class, tenant: str, environment: str | None = None) -> int:
        """Life of a class for a tenant in an environment; text goes with its row at the latest."""
        layers = self._layers(tenant, environment)
        found = next(days for rule in layers if (days := rule.days(name)) is not None)
        return min(found, self.days("metadata", tenant, environment)) if name == "text" else found

    def redaction(self, tenant: str, environment: str | None = None) -> RedactionRule:
        """What holds for a tenant's text: each field as the closest layer that says it; actions type by type."""
        rules = [layer.redaction for layer in self._layers(tenant, environment) if layer.redaction is not None]
        actions: dict[str, Action] = {}
        for rule in reversed(rules):
            if rule.action is not None:
                actions = {}  # a closer word on everything ends what was said farther off about single types
            actions |= rule.actions
        found = RedactionRule(
            entities=_first(rule.entities for rule in rules),
            without=_first(rule.without for rule in rules),
            action=_first(rule.action for rule in rules),
            actions=actions,
            keep_last=_first(rule.keep_last for rule in rules),
            key=_first(rule.key for rule in rules),
            canary=_first(rule.canary for rule in rules),
            names=_first(rule.names for rule in rules),
        )
        if found.key is None and "encrypt" in (found.action, *actions.values()):
            raise ValueError(f"the policy encrypts for {tenant or 'everybody'}, but names no key")
        return found

    def purpose(self, name: Class, tenant: str, environment: str | None = None) -> str:
        """What a class is kept for."""
        return next(rule.purpose[name] for rule in self._layers(tenant, environment) if name in rule.purpose)

    def _layers(self, tenant: str, environment: str | None) -> Iterator[Rule]:
        """From the closest to the farthest."""
        if tenant in self.tenant:
            yield self.tenant[tenant]
        if environment in self.environment:
            yield self.environment[environment]
        yield self.default
        yield _DEFAULT


T = TypeVar("T")


def _first(said: Iterable[T | None]) -> T | None:
    return next((one for one in said if one is not None), None)


def load(path: Path | None) -> Policy:
    """The policy in a TOML file; without a file, the default (365 days of metadata, 30 of text, 400 of findings).

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
