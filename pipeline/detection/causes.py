"""One cause, one finding: which open finding explains another. Reads cases; the casebook decides what becomes of them.

Rules that see the same kind of trouble are a family. Inside a family, in this order:

1. A finding about a provider explains those of its other models, and of whoever sends it a tenth of their calls.
2. A finding about a tenant explains those of its features, users and models; one of a feature those of its models and
   variants.
3. At one key, `cost` and `trouble` are explained by whatever of the family is open already: a provider that is slow
   first and then fails is one outage. `answers` are explained only by a rule that stands earlier in the list: refusals
   explain short answers, but short answers do not explain refusals, which then take the place of the other finding.

4. Nothing that is only a ticket explains a page, or nobody would be woken: the page takes the ticket's place.

So what is told is the broadest subject, once. What it explains is named in its details, as `also`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pipeline.detection.lifecycle import Case
from pipeline.windows.ring import LENGTHS
from pipeline.windows.rolling import Store
from pipeline.windows.watermark import DAY_MINUTES, MINUTE_MS
from schemas.partial import Key

# So long a finding still explains others after its resolution: the longest window, and what it takes to clear.
STANDS_MS: Final = (LENGTHS[-1] + 30) * MINUTE_MS
# A provider explains what happens at whoever sends it at least this share of their calls.
USES_SHARE: Final = 0.1

Name = tuple[str, Key]
Cases = Mapping[Name, Case]

# Families of rules; in `answers` what stands earlier explains what stands later.
FAMILIES: Final[dict[str, tuple[str, ...]]] = {
    "cost": ("cost.spike", "cost.daily", "user.cost", "call.outlier"),
    "trouble": (
        "error.rate", "latency.p95", "provider.degraded", "slo.burn", "rate_limit.storm", "run.latency", "error.novel",
    ),
    "silence": ("traffic.silence",),
    "answers": (
        "safety.regression", "evaluation.drop", "refusal.rate", "schema.validity", "guardrail.rate",
        "retrieval.hit_rate", "feedback.negative", "sentiment.shift", "model.changed", "input.shift", "output.length",
        "output.shift",
    ),
}  # fmt: skip
FAMILY_OF: Final = {rule: family for family, rules in FAMILIES.items() for rule in rules}
# Rules of tier 1 in these families.
PAGES: Final = frozenset(
    (
        "cost.spike", "cost.daily", "error.rate", "latency.p95", "slo.burn", "safety.regression", "evaluation.drop",
    )
)  # fmt: skip
BY_RANK: Final = frozenset(("answers",))
# Inside `answers` only what is a mere consequence of the others: how answers look, not how good they are.
_CONSEQUENCES: Final = frozenset(("output.length", "output.shift", "sentiment.shift"))


def stands(case: Case | None, now_ms: int, for_ms: int = STANDS_MS) -> bool:
    """Whether a finding is open, or was until lately: its children's windows still hold what it was about."""
    if case is None or case.last is None:
        return False
    return case.state in ("open", "accepted") or (case.state == "closed" and now_ms - case.since < for_ms)


def explanation(
    cases: Cases, store: Store, name: Name, minute: int, now_ms: int, *, shadow: bool = False
) -> Name | None:
    """The finding that explains this one; None where it stands for itself.

    One in `shadow` is told to nobody, so it explains only others in shadow.
    """
    for parent in parents(cases, store, name, minute):
        # The day's cost still holds a spike of the morning in the evening.
        for_ms = DAY_MINUTES * MINUTE_MS if name[0] == "cost.daily" else STANDS_MS
        case = cases.get(parent)
        if stands(case, now_ms, for_ms) and (shadow or not _in_shadow(case)):
            return parent
    return None


def _in_shadow(case: Case | None) -> bool:
    return case is not None and case.last is not None and case.last.shadow


def parents(cases: Cases, store: Store, name: Name, minute: int) -> Iterator[Name]:
    """Names of findings that would explain this one, the broadest subject first."""
    for parent in _related(cases, store, name, minute):
        if parent[0] in PAGES or name[0] not in PAGES:
            yield parent


def outranks(name: Name, other: Name) -> bool:
    """Whether a finding is a page and the other a ticket."""
    return name[0] in PAGES and other[0] not in PAGES


def _related(cases: Cases, store: Store, name: Name, minute: int) -> Iterator[Name]:
    rule, key = name
    family = FAMILY_OF.get(rule)
    if family is None:
        return
    rules = FAMILIES[family]
    if family == "trouble":
        for each, other in cases:
            if other[0] == "provider" and other != key and each in rules and _uses(store, key, other, minute):
                yield each, other
    for broader in _broader(key):
        for each in rules:
            yield each, broader
    if family not in BY_RANK:
        yield from ((each, key) for each in rules if each != rule)
    elif rule in _CONSEQUENCES:
        yield from ((each, key) for each in rules[: rules.index(rule)])


def _broader(key: Key) -> Iterator[Key]:
    if key[0] in ("feature", "user", "model", "prompt", "variant", "template"):
        yield ("tenant", key[1])
    if key[0] in ("model", "variant"):
        yield ("feature", key[1], key[2])


def _uses(store: Store, key: Key, provider: Key, minute: int) -> bool:
    """Whether a key is another model of a provider, or somebody who sends it a good part of their calls."""
    if key[0] == "provider":
        return key[1] == provider[1]
    if key[0] == "model":
        return key[3:] == provider[1:]
    if key[0] == "template":
        return key[2:4] == provider[1:]
    if key[0] not in ("tenant", "feature"):
        return False
    own = store.timelines.get(key)
    if own is None:
        return False
    own.seek(minute)
    calls = 0
    for one in store.below(key[1], "model"):
        if one.key[3:] == provider[1:] and (key[0] == "tenant" or one.key[2] == key[2]):
            one.seek(minute)
            calls += one.calls[-1]
    return calls > 0 and calls >= USES_SHARE * own.calls[-1]
