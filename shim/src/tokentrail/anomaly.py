"""The anomaly as subscribers read it (`tokentrail.anomaly.v1`). Fields that are not known yet are kept in `more`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson


@dataclass(frozen=True)
class SuggestedControl:
    """What an operator may switch to stop the harm; nothing is switched without a policy."""

    kind: str
    selector: Mapping[str, str]
    reason: str = ""


@dataclass(frozen=True)
class Anomaly:
    """One revision of one finding.

    Times are milliseconds since 1970. `observed`, `baseline` and `threshold` are in `unit`.

    Attributes:
        id: The same finding has the same id, however often it is computed or told.
        rule: Name of the rule.
        tier: 1 page, 2 ticket, 3 review.
        severity: `SEV1`, `SEV2` or `SEV3`.
        state: `open`, `update` or `resolved`.
        revision: Counts up by one; keep the highest of an id.
        subject: Whom or what it is about, by name.
        window_start: Begin of the stretch of event time under test.
        window_end: Its end, exclusive.
        observed: What was measured.
        baseline: What was to be expected.
        threshold: From where it is wrong.
        ratio: Observed over baseline.
        unit: Of these numbers.
        evidence: Positions or ids of calls.
        why: One plain sentence with numbers.
        runbook: Where the rule's page is.
        opened_at: When it seems to have begun.
        detected_at: When the rule said so.
        suggested_control: What would stop the harm.
        details: Numbers that help to look further.
        shadow: The rule is being tried out; nobody else is told.
        query: A command or SQL that shows the calls it is about.
        more: Whatever else the record holds.
    """

    id: str
    rule: str
    tier: int
    severity: str
    state: str
    revision: int
    subject: Mapping[str, str]
    window_start: int
    window_end: int
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
    details: Mapping[str, Any] = field(default_factory=dict)
    shadow: bool = False
    query: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        """The tenant it is about; empty where it is about none."""
        return self.subject.get("tenant", "")


_KNOWN = frozenset(one.name for one in fields(Anomaly)) - {"window_start", "window_end", "more"} | {"schema", "window"}


def read(value: bytes | str) -> Anomaly:
    """An anomaly out of a record's value.

    Raises:
        ValueError: It is none.
    """
    record = orjson.loads(value)
    if not isinstance(record, dict):
        raise ValueError("no JSON object")
    try:
        control = record.get("suggested_control")
        window: dict[str, int] = record["window"]
        evidence: list[str] = record["evidence"]
        return Anomaly(
            id=str(record["id"]),
            rule=str(record["rule"]),
            severity=str(record["severity"]),
            state=str(record["state"]),
            unit=str(record["unit"]),
            why=str(record["why"]),
            runbook=str(record["runbook"]),
            observed=_number(record["observed"]),
            baseline=_number(record["baseline"]),
            threshold=_number(record["threshold"]),
            ratio=_number(record["ratio"]),
            tier=int(record["tier"]),
            revision=int(record["revision"]),
            subject=dict(record["subject"]),
            window_start=int(window["start"]),
            window_end=int(window["end"]),
            evidence=tuple(map(str, evidence)),
            opened_at=int(record["opened_at"]),
            detected_at=int(record["detected_at"]),
            suggested_control=None
            if control is None
            else SuggestedControl(str(control["kind"]), dict(control["selector"]), str(control.get("reason", ""))),
            details=dict(record.get("details") or {}),
            shadow=bool(record.get("shadow", False)),
            query=str(record.get("query", "")),
            more={
                name: value for name, value in record.items() if name not in _KNOWN and name not in ("schema", "window")
            },
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no anomaly of this contract: {error!r}") from None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
