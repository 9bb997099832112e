"""act: `anomalies` to a log line and, where one is named, a webhook; and, beside that, to ClickHouse.

First form: it tells, it switches nothing. A webhook may be told the same revision twice after a crash; the header
`Idempotency-Key` (id and revision) says so. Findings that are a quarter of an hour old when they are read are
not told any more: a page about last night's spike helps nobody.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import httpx
import msgspec

from agents.archive import Archive
from pipeline import metrics
from pipeline.control.policy import Policies
from pipeline.errors import RetryableError
from pipeline.transport.erasures import Following
from pipeline.transport.stage import Limits, Range, StageContext
from schemas.anomaly import Anomaly

log = logging.getLogger(__name__)

OLD_MS: Final = 900_000
ATTEMPTS: Final = 4
TIMEOUT_S: Final = 5.0
ARCHIVE_EVERY_S: Final = 0.5
# A policy takes effect 30 s after it was appended; who is this far behind at most has read it by then.
CONTROLS_LAG_S: Final = 10.0
_read = msgspec.json.Decoder(Anomaly).decode
# What of a finding's subject names somebody.
PERSONAL: Final = ("user", "session", "run")


class Act:
    """The stage. Memory: what it told of the range at work, so that a repeat tells nothing twice."""

    name = "act"
    source = "anomalies"
    limits = Limits(max_records=50, max_bytes=1_000_000, linger_s=0.005)

    async def open(self, context: StageContext) -> None:
        """Begin to archive."""
        self._context = context
        self._erasures = Following(context.controls, context.keys)
        self._webhook = context.settings.webhook_url.get_secret_value()
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        self._told: set[tuple[str, int]] = set()
        self._archiving = asyncio.create_task(self._archive())

    async def assigned(self, partition: int) -> int | None:
        """Resume at the committed offset: what was told is told."""
        return None

    async def work(self, range: Range) -> None:
        """Tell every revision of the range once."""
        now_ms = int(time.time() * 1000)
        for record in range.records:
            try:
                anomaly = _read(record.value or b"")
            except msgspec.MsgspecError:
                metrics.SKIPPED.labels(self.name, "unreadable").inc()
                continue
            name = anomaly.id, anomaly.revision
            if name in self._told:
                continue
            old = now_ms - record.timestamp > OLD_MS
            if anomaly.shadow:
                # A rule that is being tried out: it is archived, and nobody is told.
                self._told.add(name)
                continue
            fields = {"rule": anomaly.rule, "state": anomaly.state, "severity": anomaly.severity, "id": anomaly.id}
            log.warning("old finding" if old else "finding", extra={**fields, "why": nameless(anomaly)})
            if self._webhook and not old:
                await self._post(anomaly, record.value or b"")
            self._told.add(name)
        self._told.clear()
        metrics.RECORDS.labels(self.name, "anomaly").inc(len(range.records))

    async def _post(self, anomaly: Anomaly, body: bytes) -> None:
        """Post one revision; a webhook that stays away costs this revision, not the next ones."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"{anomaly.id}:{anomaly.revision}"}
        for attempt in builtins.range(ATTEMPTS):
            try:
                answer = await self._http.post(self._webhook, content=body, headers=headers)
                if answer.status_code < 500 and answer.status_code != 429:
                    if answer.is_error:
                        log.error("the webhook refused a finding", extra={"id": anomaly.id, "code": answer.status_code})
                    return
                problem = str(answer.status_code)
            except httpx.HTTPError as error:
                problem = type(error).__name__
            await asyncio.sleep(0.2 * 2**attempt)
        log.error("the webhook did not take a finding", extra={"id": anomaly.id, "problem": problem})

    async def _archive(self) -> None:
        """Move anomalies and windows into ClickHouse for as long as the stage runs."""
        archive = await self._context.to_thread(Archive, self._context.settings, self._policies, self._is_erased)
        try:
            while True:
                try:
                    moved = await self._context.to_thread(archive.step)
                except RetryableError as error:
                    log.warning("findings wait for ClickHouse", extra={"problem": str(error)})
                    moved = 0
                    await asyncio.sleep(2)
                if not moved:
                    await asyncio.sleep(ARCHIVE_EVERY_S)
        finally:
            await asyncio.shield(self._context.to_thread(archive.close))

    def _is_erased(self, tenant: str, subject: Mapping[str, str]) -> bool:
        """Whether a finding is about somebody whose erasure was asked for; in the archiver's thread."""
        subjects = self._erasures.subjects(self._erasures.known)
        return subjects is not None and subjects.names_any(tenant, subject)

    def _policies(self) -> Policies:
        """The policies as the log has them now; in the archiver's thread."""
        controls = self._context.controls
        if controls.lag_s > CONTROLS_LAG_S:
            raise RetryableError("llm.controls is not read to its end yet, and the policy says how long findings live")
        return Policies(controls.records("policy"))

    async def idle(self, partition: int, now_s: float) -> None:
        """Notice when the archiver has ended: that is a bug, and the stage must not look healthy."""
        if self._archiving.done():
            self._archiving.result()

    async def revoked(self, partition: int) -> None:
        """Nothing is kept of a partition."""

    async def close(self) -> None:
        """End the archiver and the connections."""
        self._archiving.cancel()
        with suppress(asyncio.CancelledError):
            await self._archiving
        await self._http.aclose()


def nameless(anomaly: Anomaly) -> str:
    """The sentence without pseudonyms: a log cannot be erased row by row."""
    why = anomaly.why
    for kind in PERSONAL:
        if value := anomaly.subject.get(kind):
            why = why.replace(value, f"<{kind}>")
    return why
