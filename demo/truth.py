"""Planted against found: which incident a finding belongs to, which follow from one, and which are invented. Pure.

A finding is *the* finding of an incident when rule and subject are those that a person would page for:

    loop    `loop.runaway` on the run
    cost    `cost.spike` on the tenant as a whole
    slow    `latency.p95` on the provider's model

Findings on parts of the same subject at the same time are explained by it (a feature of the tenant whose cost doubles,
what a stuck agent costs, a feature that waits for the slow provider), and so is a ticket on the provider before its
page. All others are invented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from demo.scenario import HOUR_MS, MINUTE_MS, Feature, Incident, Scenario

# When it began is an estimate out of the window: a finding may put it somewhat before the truth.
EARLY_MS: Final = HOUR_MS
# The longest windows are two hours, and still hold the incident for as long after its end.
LATE_MS: Final = 2 * HOUR_MS + 30 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Found:
    """An anomaly as a subscriber first saw it.

    Attributes:
        id: Its identity; further revisions of it are not counted again.
        rule: Which rule.
        subject: What it is about.
        opened_ms: Event time (ms of the day) at which it says that it began.
        detected_ms: Event time (ms of the day) at which the rule knew.
        received_s: When the subscriber had it, on a monotonic clock; None where nothing was sent over a wire.
        why: Its sentence.
    """

    id: str
    rule: str
    subject: Mapping[str, str]
    opened_ms: int
    detected_ms: int
    received_s: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one planted incident.

    Attributes:
        incident: What was planted.
        found: Its finding, None where it was missed.
        delay_event_s: From the incident's beginning to its detection, in event time.
        delay_wall_s: From sending its first moment to receiving its anomaly, in wall time.
    """

    incident: Incident
    found: Found | None
    delay_event_s: float | None = None
    delay_wall_s: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The comparison.

    Attributes:
        outcomes: One for each planted incident.
        explained: Findings that follow from an incident.
        invented: Findings that nothing planted explains.
    """

    outcomes: tuple[Outcome, ...]
    explained: tuple[Found, ...]
    invented: tuple[Found, ...]

    @property
    def holds(self) -> bool:
        """True when everything planted was found and nothing was invented."""
        return not self.invented and all(outcome.found is not None for outcome in self.outcomes)


def compare(
    scenario: Scenario,
    findings: Iterable[Found],
    run_hash: Callable[[str, str], str],
    sent_s: Callable[[int], float] | None = None,
) -> Verdict:
    """Compare what was planted with what was found.

    Args:
        scenario: What was played.
        findings: In the order of their arrival; only the first of an id counts.
        run_hash: The keyed hash by which facts know a run, from tenant and run.
        sent_s: When a moment of the day (ms) was sent, on the clock of `Found.received_s`.
    """
    first: dict[str, Found] = {}
    for found in findings:
        first.setdefault(found.id, found)
    outcomes, taken = [], set[str]()
    for incident in scenario.incidents:
        match = next((found for found in first.values() if _is_the_finding(incident, found, run_hash)), None)
        outcomes.append(_outcome(incident, match, sent_s))
        if match is not None:
            taken.add(match.id)
    explained: list[Found] = []
    invented: list[Found] = []
    for found in first.values():
        if found.id not in taken:
            follows = any(_follows(scenario, incident, found, run_hash) for incident in scenario.incidents)
            (explained if follows else invented).append(found)
    return Verdict(tuple(outcomes), tuple(explained), tuple(invented))


def _outcome(incident: Incident, found: Found | None, sent_s: Callable[[int], float] | None) -> Outcome:
    if found is None:
        return Outcome(incident, None)
    wall_s = None
    if sent_s is not None and found.received_s is not None:
        wall_s = round(found.received_s - sent_s(incident.start_ms), 2)
    return Outcome(incident, found, (found.detected_ms - incident.start_ms) / 1_000, wall_s)


def _is_the_finding(incident: Incident, found: Found, run_hash: Callable[[str, str], str]) -> bool:
    if not _at_the_time(incident, found):
        return False
    subject = found.subject
    if incident.kind == "loop":
        return found.rule == "loop.runaway" and subject.get("run") == run_hash(incident.tenant, incident.run)
    if incident.kind == "cost":
        return found.rule == "cost.spike" and dict(subject) == {"tenant": incident.tenant}
    slow = {"provider": incident.provider, "model": incident.model}
    return found.rule == "latency.p95" and dict(subject) == slow


def _follows(scenario: Scenario, incident: Incident, found: Found, run_hash: Callable[[str, str], str]) -> bool:
    if not _at_the_time(incident, found):
        return False
    subject, same_tenant = found.subject, found.subject.get("tenant") == incident.tenant
    if incident.kind == "loop":
        # What the stuck run costs its feature and its user.
        if found.rule == "cost.spike":
            return same_tenant and subject.get("feature", incident.feature) == incident.feature
        if found.rule == "user.cost":
            return same_tenant
        return found.rule == "loop.runaway" and subject.get("run") == run_hash(incident.tenant, incident.run)
    if incident.kind == "cost":
        return found.rule == "cost.spike" and same_tenant
    return found.rule in ("latency.p95", "provider.degraded") and _waits_for(scenario, incident, subject)


def _waits_for(scenario: Scenario, incident: Incident, subject: Mapping[str, str]) -> bool:
    """Whether a subject's calls go to the slow model."""
    if "provider" in subject or "model" in subject:
        named = subject.get("provider", incident.provider), subject.get("model", incident.model)
        return named == (incident.provider, incident.model)
    features = [
        feature
        for tenant in scenario.tenants
        for feature in tenant.features
        if subject.get("tenant") == tenant.name and subject.get("feature", feature.name) == feature.name
    ]
    return any(_uses(feature, incident) for feature in features)


def _uses(feature: Feature, incident: Incident) -> bool:
    return (feature.offer.provider, feature.offer.model) == (incident.provider, incident.model)


def _at_the_time(incident: Incident, found: Found) -> bool:
    """Detected since the incident began and not long after its end, about something that began no earlier than it."""
    began_then = found.opened_ms >= incident.start_ms - EARLY_MS
    return began_then and incident.start_ms <= found.detected_ms <= incident.end_ms + LATE_MS
