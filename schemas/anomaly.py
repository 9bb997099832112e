"""The anomaly (`tokentrail.anomaly.v1`): what subscribers of `llm.anomalies` read."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["open", "update", "resolved"]
Severity = Literal["SEV1", "SEV2", "SEV3"]


class Span(msgspec.Struct, frozen=True):
    """A stretch of event time, milliseconds since 1970, end exclusive."""

    start: int
    end: int


class SuggestedControl(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator may switch to stop the harm; nothing is switched without a policy."""

    kind: str
    selector: dict[str, str]
    reason: str = ""


class Anomaly(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="schema", tag="tokentrail.anomaly.v1"):
    """One revision of one finding.

    `id` is a hash of rule, subject and window start, so that the same finding has the same id however often it is
    computed; a reader keeps the highest `revision` for an id. `observed`, `baseline` and `threshold` are in `unit`.
    `opened_at` and `detected_at` are event time in milliseconds: when the window under test began to be wrong by the
    rule, and the watermark at which the rule said so. One in `shadow` is recorded and tells nobody: its rule is being
    tried out. `query` is a command that shows what it is about.
    """

    id: str
    rule: str
    tier: Literal[1, 2, 3]
    severity: Severity
    state: State
    revision: int
    subject: dict[str, str]
    window: Span
    observed: float | None
    baseline: float | None
    threshold: float | None
    ratio: float | None
    unit: str
    evidence: tuple[str, ...]
    why: str
    runbook: str
    opened_at: int
    detected_at: int
    suggested_control: SuggestedControl | None = None
    details: dict[str, Any] = {}
    shadow: bool = False
    query: str = ""
