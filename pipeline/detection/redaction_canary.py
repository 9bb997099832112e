"""`redaction.canary`: a tenant's canary was seen in text that had been redacted. Pure.

The text was replaced before it was stored, so nothing has leaked; but what let the canary through will let others
through. A fact and not a state: one page for a tenant and hour, never resolved. What can be set of it is the canary
itself, in the redaction policy, so it has no table in the rules file.
"""

from __future__ import annotations

from typing import Final

from pipeline.detection.lifecycle import identity
from pipeline.detection.rule import Life
from pipeline.detection.shown import query
from schemas.anomaly import Anomaly, Span
from schemas.fact import Fact

LIFE: Final = Life("redaction.canary", 1)
HOUR_MS: Final = 3_600_000


def canary_seen(fact: Fact, texts: int) -> Anomaly:
    """The page for a record in which a canary came through.

    Args:
        fact: of the record.
        texts: how many of its texts showed the canary.
    """
    hour = fact.received_at - fact.received_at % HOUR_MS
    subject = {"tenant": fact.tenant}
    position = f"{fact.position.epoch}/{fact.position.partition}/{fact.position.offset}"
    window = Span(hour, hour + HOUR_MS)
    return Anomaly(
        id=identity(LIFE.rule, subject, hour),
        rule=LIFE.rule,
        tier=LIFE.tier,
        severity="SEV1",
        state="open",
        revision=1,
        subject=subject,
        window=window,
        observed=float(texts),
        baseline=None,
        threshold=1.0,
        ratio=None,
        unit="texts",
        evidence=(position,),
        why=f"The canary of {fact.tenant} was still in the text of {position} after redaction; "
        "that text was replaced whole.",
        runbook=LIFE.runbook,
        opened_at=fact.received_at,
        detected_at=fact.received_at,
        query=query(LIFE.rule, subject, window),
    )
