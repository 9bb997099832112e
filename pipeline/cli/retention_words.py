"""A policy, and the holds beside it, in sentences: what is kept, for how long, what for, and who sees it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pipeline.cli.sight import Sight
from pipeline.cli.times import iso_ms
from pipeline.control.holds import Hold, Scope
from pipeline.control.policy import CLASSES, Class, Policy, Rule

_WHAT: Final[Mapping[Class, str]] = {
    "text": "Redacted text",
    "metadata": "Rows without text",
    "anomalies": "Findings, closed windows and late events",
    "controls": "The copy of switches, budgets, policies and holds",
}
_SHORT: Final[Mapping[Class, str]] = {
    "text": "text", "metadata": "rows without text", "anomalies": "findings", "controls": "the copy of controls",
}  # fmt: skip
_MODES: Final = {
    "full": "redacted text is kept",
    "hash": "of text only length and keyed hash are kept",
    "none": "no text is kept",
}


def sentences(policy: Policy, seen: Mapping[Class, Sight]) -> Iterator[str]:
    """What holds for all, class by class, then what differs by tenant and by environment."""
    for name in CLASSES:
        days, mode = policy.days(name, ""), policy.life("", None)[2]
        if name == "text" and mode == "hash":
            said = f"Of text only length and keyed hash are kept, {_days(days)}"
        elif name == "text" and (mode == "none" or not days):
            yield "No text is kept."
            continue
        else:
            said = f"{_WHAT[name]} {'is' if name in ('text', 'controls') else 'are'} kept {_days(days)}"
        yield f"{said}, {policy.purpose(name, '')}. {seen[name]}"
    yield from _differences("Tenant", policy.tenant)
    yield from _differences("Environment", policy.environment)
    if policy.tenant and policy.environment:
        yield "Where both name something, the tenant's word holds."
    yield "What is stored keeps the life that it was stored with; a shorter one bites by `tokentrail retention apply`."


def hold_sentence(hold: Hold) -> str:
    """A hold: what it keeps, since when, why and by whose word; and its end, where it has one."""
    placed = hold.placed
    said = (
        f"Hold {hold.id}, placed {iso_ms(hold.placed_at)[:10]} by {placed.by}, keeps {scope_words(hold.scope)}: "
        f"{placed.reason}."
    )
    if hold.released is not None and hold.released_at is not None:
        said += f" Released {iso_ms(hold.released_at)[:10]} by {hold.released.by}: {hold.released.reason}."
    return said


def scope_words(scope: Scope) -> str:
    """What a scope covers; of persons, runs and calls it does not say which, because nobody can know that from it."""
    whose = [
        word
        for word, named in (("one person", scope.users), ("one run", scope.runs), ("one call", scope.ids))
        if named is not None
    ]
    said = f"the rows of tenant {scope.tenant}" + (f" of {' and '.join(whose)}" if whose else "")
    if scope.from_ms is not None:
        said += f" from {iso_ms(scope.from_ms)}"
    if scope.to_ms is not None:
        said += f" until {iso_ms(scope.to_ms)}"
    return said


def _differences(kind: str, rules: Mapping[str, Rule]) -> Iterator[str]:
    for name in sorted(rules):
        yield f"{kind} {name}: {'; '.join(_parts(rules[name]))}."


def _parts(rule: Rule) -> Iterable[str]:
    for name in CLASSES:
        days = rule.days(name)
        said = [] if days is None else [_SHORT[name], _days(days)] if days else ["no text is kept"]
        if name in rule.purpose:
            said = [*(said or [f"the purpose of {_SHORT[name]} is"]), rule.purpose[name]]
        if said:
            yield " ".join(said)
    if rule.content is not None:
        yield _MODES[rule.content]


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count:,} days"
