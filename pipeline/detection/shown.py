"""The command that shows what a finding is about: calls, evaluations or feedback of its subject in its window. Pure.

Every anomaly carries one (`Anomaly.query`), ready to be pasted. Values are quoted: they are safe names or keyed hashes,
but a subject is data and never part of a command by itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from schemas.anomaly import Span

LIMIT: Final = 50
# Calls come late.
MARGIN_MS: Final = 600_000
# Subject names that are columns of the tables.
COLUMNS: Final = (
    "tenant", "environment", "team", "service", "feature", "provider", "model", "user", "run", "session",
    "prompt_name", "prompt_version", "variant",
)  # fmt: skip
_MADE_OF: Final = {
    "calls": "least(ts, received_at) AS at, id, feature, model, status, error_type, latency_ms, input_tokens, "
    "output_tokens, cost_usd, tool_names, run, user",
    "evaluations": "least(ts, received_at) AS at, about, name, score, label, feature, model",
    "feedback": "least(ts, received_at) AS at, about, rating, label, feature, model",
}
# Evaluations and feedback do not say so much of whom they are about.
_LACKING: Final = {"evaluations": ("provider",), "feedback": ("provider",)}


class Look(NamedTuple):
    """Where to look: the table, what else must hold, and what comes first."""

    table: str = "calls"
    condition: str = ""
    order: str = "at DESC"


_LOOKS: Final[Mapping[str, Look]] = {
    "cost.": Look(order="cost_usd DESC NULLS LAST"),
    "budget.": Look(order="cost_usd DESC NULLS LAST"),
    "user.cost": Look(order="cost_usd DESC NULLS LAST"),
    "call.outlier": Look(order="cost_usd DESC NULLS LAST"),
    "run.velocity": Look(order="cost_usd DESC NULLS LAST"),
    "latency.": Look(order="latency_ms DESC NULLS LAST"),
    "run.latency": Look(order="latency_ms DESC NULLS LAST"),
    "provider.degraded": Look(order="latency_ms DESC NULLS LAST"),
    "slo.": Look(order="latency_ms DESC NULLS LAST"),
    "error.": Look(condition="status != 'ok'"),
    "rate_limit.": Look(condition="status = 'rate_limited'"),
    "refusal.": Look(condition="(status = 'refused' OR refusal)"),
    "guardrail.": Look(condition="guardrails_triggered > 0"),
    "schema.": Look(condition="schema_valid = false"),
    "retrieval.": Look(condition="isNotNull(retrieval_requested)", order="retrieval_hits"),
    "price.": Look(condition="cost_source = 'unknown'"),
    "redaction.": Look(condition="notEmpty(redaction_failures)"),
    "redaction.canary": Look(condition="mapContains(redaction_failures, 'canary')"),
    "output.length": Look(order="output_chars"),
    "evaluation.": Look("evaluations", order="score"),
    "safety.": Look("evaluations", order="score"),
    "sentiment.": Look("evaluations", order="score"),
    "feedback.": Look("feedback", order="rating"),
    "loop.": Look(order="at"),
}


def query(rule: str, subject: Mapping[str, str], window: Span) -> str:
    """The command for a rule's finding about a subject in a window."""
    if rule == "loss.detected":
        return "tokentrail verify"
    if rule == "traffic.silence":
        return f"tokentrail query cost --by hour --since 24h --tenant {shlex.quote(subject.get('tenant', ''))}"
    return f"tokentrail query {shlex.quote(sql(rule, subject, window))}"


def sql(rule: str, subject: Mapping[str, str], window: Span) -> str:
    """The question in SQL."""
    look = _LOOKS.get(rule) or next((one for name, one in _LOOKS.items() if rule.startswith(name)), Look())
    lacking = _LACKING.get(look.table, ())
    where = ["kind = 'call'"] if look.table == "calls" else []
    where += [f"{name} = {_text(subject[name])}" for name in COLUMNS if subject.get(name) and name not in lacking]
    # Received is what partitions are cut by; it is never before the event.
    where += [
        f"received_at >= {_moment(window.start)}",
        f"least(ts, received_at) >= {_moment(window.start)}",
        f"least(ts, received_at) < {_moment(window.end + MARGIN_MS)}",
    ]
    if look.condition:
        where.append(look.condition)
    every = " AND ".join(where)
    return f"SELECT {_MADE_OF[look.table]} FROM {look.table} WHERE {every} ORDER BY {look.order} LIMIT {LIMIT}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _moment(at_ms: int) -> str:
    at = datetime.fromtimestamp(max(0, min(at_ms, 4_000_000_000_000)) / 1000, UTC)
    return f"toDateTime64('{at:%Y-%m-%d %H:%M:%S}', 3, 'UTC')"
