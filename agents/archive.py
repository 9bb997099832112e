"""Anomalies, windows, late events and controls into ClickHouse, beside `act`'s own work: no alarm waits for a database.

Reads with a plain consumer and commits after the insert; a repeated insert is the same rows again, which the tables'
engine makes one. For that every revision must get the same life: it is that of the policy in force when the window
began, the anomaly was opened, the late event was received or the control was set, never of one in force when it is
archived.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Consumer, KafkaException

from pipeline import metrics
from pipeline.control.policy import Class, Policies
from pipeline.errors import RetryableError
from pipeline.settings import Settings
from pipeline.storage.client import Client, connect
from schemas.anomaly import Anomaly
from schemas.control import Control
from schemas.window import Late, Windows

MOST: Final = 2_000
_encode = msgspec.json.Encoder().encode
_anomaly = msgspec.json.Decoder(Anomaly).decode
_windows = msgspec.json.Decoder(Windows | Late).decode
_control = msgspec.json.Decoder(Control).decode


Life = Callable[[Class, str, int], int]  # (class, tenant, milliseconds since 1970) to days


class Archived(NamedTuple):
    """A record to be archived: logical topic, value, offset, and when the broker took it (ms since 1970)."""

    topic: str
    value: bytes
    offset: int = 0
    at_ms: int = 0


def life_of(policies: Policies) -> Life:
    """How long a class is kept, by the policy in force at a time."""
    return lambda name, tenant, at_ms: policies.at(at_ms)[1].days(name, tenant)


class Archive:
    """One reader of `anomalies`, `windows` and `controls`. Blocking; memory: 2,000 records at a time.

    Args:
        settings: Which Kafka, which ClickHouse.
        policies: Gives the policies as the log has them now.
        is_erased: Whether a tenant's finding about a subject is about somebody whose erasure was asked for; those are
            not stored.
    """

    def __init__(
        self,
        settings: Settings,
        policies: Callable[[], Policies],
        is_erased: Callable[[str, Mapping[str, str]], bool] = lambda tenant, subject: False,
    ) -> None:
        self._settings = settings
        self._policies = policies
        self._is_erased = is_erased
        self._client: Client | None = None
        self._names = {settings.topic(name): name for name in ("anomalies", "windows", "controls")}
        self._consumer = Consumer(
            settings.librdkafka(
                **{
                    "group.id": settings.group("archive"),
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "session.timeout.ms": 10_000,
                }
            )
        )
        self._consumer.subscribe(list(self._names))
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def step(self) -> int:
        """Read what has come and insert it; returns the number of rows.

        Raises:
            RetryableError: Kafka or ClickHouse is away; the same rows are tried again at the next step.
        """
        if not (policies := self._policies()):
            raise RetryableError("llm.controls holds no policy yet; run `tokentrail migrate`")
        if not self._waiting:
            try:
                messages = self._consumer.consume(MOST, 0.05)
            except KafkaException as error:
                raise RetryableError(f"anomalies and windows cannot be read: {error}") from error
            found = rows_of(
                [
                    Archived(self._names[m.topic() or ""], m.value() or b"", m.offset() or 0, m.timestamp()[1])
                    for m in messages
                    if m.error() is None
                ],
                life_of(policies),
            )
            self._waiting = {table: kept for table, rows in found.items() if (kept := self._allowed(rows))}
        done = 0
        for table, rows in list(self._waiting.items()):
            self._insert(table, rows)
            del self._waiting[table]
            done += len(rows)
            metrics.ROWS.labels(table).inc(len(rows))
        if done:
            self._consumer.commit(asynchronous=True)
        return done

    def _allowed(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in rows if not self._is_erased(row["tenant"], row.get("subject", {}))]

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        if self._client is None:
            self._client = connect(self._settings, purpose="archive", timeout_s=20)
        columns = ", ".join(f"`{name}`" for name in rows[0])
        sql = f"INSERT INTO {self._client.database}.{table} ({columns}) FORMAT JSONEachRow"
        self._client.send(sql, b"\n".join(map(_encode, rows)), {"max_partitions_per_insert_block": 0})

    def close(self) -> None:
        """Leave the group and the server."""
        self._consumer.close()
        if self._client is not None:
            self._client.close()


def rows_of(records: Sequence[Archived], life: Life) -> dict[str, list[dict[str, Any]]]:
    """Rows by table; what is none of ours is left out and counted."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        try:
            if one.topic == "anomalies":
                found.setdefault("anomalies", []).append(_anomaly_row(_anomaly(one.value), life))
                continue
            if one.topic == "controls":
                found.setdefault("controls_log", []).append(_control_row(one, _control(one.value), life))
                continue
            record = _windows(one.value)
            if isinstance(record, Late):
                found.setdefault("late_events", []).append(_late_row(record, life))
            else:
                found.setdefault("windows", []).extend(_window_rows(record, life))
        except msgspec.MsgspecError:
            metrics.SKIPPED.labels("archive", "unreadable").inc()
    return {table: rows for table, rows in found.items() if rows}


def _anomaly_row(one: Anomaly, life: Life) -> dict[str, Any]:
    return {
        "tenant": one.subject.get("tenant", ""),
        "id": one.id,
        "revision": one.revision,
        "rule": one.rule,
        "tier": one.tier,
        "severity": one.severity,
        "state": one.state,
        "subject": one.subject,
        "window_start": _time(one.window.start),
        "window_end": _time(one.window.end),
        "observed": one.observed,
        "baseline": one.baseline,
        "threshold": one.threshold,
        "ratio": one.ratio,
        "unit": one.unit,
        "evidence": one.evidence,
        "why": one.why,
        "runbook": one.runbook,
        "opened_at": _time(one.opened_at),
        "detected_at": _time(one.detected_at),
        "shadow": one.shadow,
        "record": _encode(one).decode(),
        "retention_days": life("anomalies", one.subject.get("tenant", ""), one.opened_at),
    }


def _control_row(at: Archived, one: Control, life: Life) -> dict[str, Any]:
    tenant = one.selector.get("tenant", "")
    return {
        "tenant": tenant,
        "kind": one.kind,
        "selector": one.selector,
        "owner": one.owner,
        "version": one.version,
        "cause": one.cause or "",
        "appended_at": _time(at.at_ms),
        "offset": at.offset,
        "body": _encode(one.body).decode(),
        "retention_days": life("controls", tenant, at.at_ms),
    }


def _late_row(one: Late, life: Life) -> dict[str, Any]:
    return {
        "tenant": one.tenant,
        "epoch": one.position.epoch,
        "partition": one.position.partition,
        "offset": one.position.offset,
        "event_at": _time(one.event_ms),
        "received_at": _time(one.received_at),
        "late_by_ms": one.late_by_ms,
        "stage": "meter",
        "retention_days": life("anomalies", one.tenant, one.received_at),
    }


def _window_rows(closed: Windows, life: Life) -> list[dict[str, Any]]:
    return [
        {
            "tenant": closed.tenant,
            "dimension": one.dimension,
            "subject": one.subject,
            "subject_key": "\x1f".join(f"{name}={one.subject[name]}" for name in sorted(one.subject)),
            "window_ms": one.size_s * 1000,
            "start": _time(one.start),
            "end": _time(one.start + one.size_s * 1000),
            "revision": one.revision,
            "calls": one.calls,
            "errors": sum(one.errors.values()),
            "input_tokens": one.input_tokens,
            "output_tokens": one.output_tokens,
            "cost_usd": f"{one.cost_nano_usd // 10**9}.{one.cost_nano_usd % 10**9:09d}",
            "unpriced": one.unpriced,
            "latency_p50_ms": one.latency_ms.p50,
            "latency_p95_ms": one.latency_ms.p95,
            "latency_p99_ms": one.latency_ms.p99,
            "ttft_p50_ms": one.ttft_ms.p50,
            "ttft_p95_ms": one.ttft_ms.p95,
            "ttft_p99_ms": one.ttft_ms.p99,
            "run_p50_ms": one.run_ms.p50,
            "run_p95_ms": one.run_ms.p95,
            "run_p99_ms": one.run_ms.p99,
            "record": _encode(one).decode(),
            "retention_days": life("anomalies", closed.tenant, one.start),
        }
        for one in closed.windows
    ]


def _time(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"
