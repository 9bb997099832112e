"""From findings to anomalies: identity, revisions, hysteresis in time. Pure: event time comes in, anomalies go out.

The same finding has the same id however often it is computed: a hash of rule, subject and the start of the window in
which it was first found. Revisions count up by one; nothing is published that does not differ from the revision before.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from pipeline.detection.rule import Finding, Life, Memory
from pipeline.detection.shown import query
from schemas.anomaly import Anomaly, Severity, Span, State

_RANK = {"SEV3": 0, "SEV2": 1, "SEV1": 2}


class Case(msgspec.Struct):
    """One rule's view of one subject; kept while it is open, and for `rejoin_ms` after.

    Attributes:
        state: `waiting` until the hold time has passed, then `open`, then `closed`; `accepted` when it has been open
            for so long that it counts as the new normal: nothing more is said until the finding goes away.
        since: Event time (ms) at which the present state began.
        quiet_since: Event time since which an open case has had no finding; None while it has one.
        last: The revision that was published last.
        memory: What the rule froze.
    """

    state: str = "waiting"
    since: int = 0
    quiet_since: int | None = None
    last: Anomaly | None = None
    memory: Memory = {}

    @property
    def firing(self) -> bool:
        """Whether the finding is open."""
        return self.state == "open"


def identity(rule: str, subject: dict[str, str], window_start_ms: int, *, shadow: bool = False) -> str:
    """32 hexadecimal digits that name a finding; one in shadow is another than one that is told."""
    parts = [rule, str(window_start_ms), *(f"{name}={subject[name]}" for name in sorted(subject))]
    if shadow:
        parts.append("shadow")
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def step(
    life: Life, case: Case, subject: dict[str, str], finding: Finding | None, now_ms: int
) -> tuple[Case | None, Anomaly | None]:
    """Bring a case up to date with what its rule says now.

    Returns:
        The case, None when there is nothing to remember of it, and the revision to publish, if any.
    """
    if case.last is not None and case.last.shadow != life.shadow:
        # What was said in shadow was told to nobody, so it must be said anew; and the other way round.
        return None, close(case, now_ms, "its rule was moved into or out of shadow") if case.firing else None
    if finding is not None:
        return _found(life, case, subject, finding, now_ms)
    if case.state == "open":
        if case.quiet_since is None:
            case.quiet_since = now_ms
        if now_ms - case.quiet_since >= life.clear_ms:
            return case, close(case, now_ms, "back to normal")
        return case, None
    if case.state == "closed":
        return (case if now_ms - case.since < life.rejoin_ms else None), None
    if case.last is None and not case.since:
        return None, None
    if case.quiet_since is None:
        case.quiet_since = now_ms
    patience_ms = life.clear_ms if case.state == "accepted" else life.pause_ms
    return (case if now_ms - case.quiet_since < patience_ms else None), None


def _found(
    life: Life, case: Case, subject: dict[str, str], finding: Finding, now_ms: int
) -> tuple[Case | None, Anomaly | None]:
    case.quiet_since = None
    if case.state == "open":
        assert case.last is not None
        if now_ms - case.since >= life.longest_ms:
            anomaly = close(case, now_ms, "it has become the new normal")
            case.state = "accepted"
            return case, anomaly
        worse = _RANK[finding.severity] > _RANK[case.last.severity]
        grown = finding.ratio is not None and finding.ratio >= life.grow * (case.last.ratio or 1.0)
        if not worse and not grown:
            return case, None
        severity = finding.severity if worse else case.last.severity
        case.last = _anomaly(life, subject, finding, now_ms, "update", case.last, severity)
        return case, case.last
    if case.state == "accepted":
        return case, None
    if case.state == "waiting":
        if not case.since:
            case.since = now_ms
        if now_ms - case.since < life.hold_ms:
            return case, None
    reopened = case.last if case.state == "closed" and now_ms - case.since < life.rejoin_ms else None
    case.state, case.since, case.memory = "open", now_ms, finding.memory
    case.last = _anomaly(life, subject, finding, now_ms, "update" if reopened else "open", reopened, finding.severity)
    return case, case.last


def close(case: Case, now_ms: int, reason: str, details: dict[str, Any] | None = None) -> Anomaly:
    """Resolve an open case; returns the revision that says so."""
    assert case.last is not None
    last = case.last
    minutes = max(0, (now_ms - last.opened_at) // 60_000)
    case.state, case.since, case.quiet_since, case.memory = "closed", now_ms, None, {}
    case.last = msgspec.structs.replace(
        last,
        state="resolved",
        revision=last.revision + 1,
        detected_at=now_ms,
        why=f"Resolved after {minutes} minutes, {reason}. It was: {last.why}",
        suggested_control=None,
        details={**last.details, **(details or {})},
    )
    return case.last


def _anomaly(
    life: Life,
    subject: dict[str, str],
    finding: Finding,
    now_ms: int,
    state: State,
    before: Anomaly | None,
    severity: Severity,
) -> Anomaly:
    return Anomaly(
        id=(identity(life.rule, subject, finding.window.start, shadow=life.shadow) if before is None else before.id),
        rule=life.rule,
        tier=finding.tier or life.tier,
        severity=severity,
        state=state,
        revision=1 if before is None else before.revision + 1,
        subject=subject,
        window=Span(finding.window.start, finding.window.end),
        observed=finding.observed,
        baseline=finding.baseline,
        threshold=finding.threshold,
        ratio=None if finding.ratio is None else round(finding.ratio, 3),
        unit=finding.unit,
        evidence=finding.evidence,
        why=finding.why,
        runbook=life.runbook,
        opened_at=finding.began_at if before is None else before.opened_at,
        detected_at=now_ms,
        suggested_control=finding.suggested_control,
        details=finding.details,
        shadow=life.shadow,
        query=query(life.rule, subject, Span(finding.window.start, finding.window.end)),
    )
