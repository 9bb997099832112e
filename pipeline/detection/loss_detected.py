"""`loss.detected`: Kafka has proven that records were gone from the raw log before they were read. Pure.

It is a fact and not a state: one page for each stretch, never resolved. A single missing position is none, because the
markers of transactions take one each.
"""

from __future__ import annotations

from typing import Final

from pipeline.detection.lifecycle import identity
from pipeline.detection.rule import Life
from schemas.anomaly import Anomaly, Span
from schemas.fact import Fact

LIFE: Final = Life("loss.detected", 1)
LEAST_POSITIONS: Final = 2


def lost(gap: Fact) -> Anomaly | None:
    """The page for a gap record; None where a transaction's marker explains it."""
    position, count = gap.position, gap.next_offset - gap.position.offset
    if count < LEAST_POSITIONS:
        return None
    last = f"{position.epoch}/{position.partition}/{gap.next_offset - 1}"
    subject = {"epoch": str(position.epoch), "partition": str(position.partition), "offset": str(position.offset)}
    return Anomaly(
        id=identity(LIFE.rule, subject, 0),
        rule=LIFE.rule,
        tier=LIFE.tier,
        severity="SEV1",
        state="open",
        revision=1,
        subject=subject,
        window=Span(gap.received_at, gap.received_at + 1),
        observed=float(count),
        baseline=None,
        threshold=float(LEAST_POSITIONS),
        ratio=None,
        unit="records",
        evidence=(f"{position.epoch}/{position.partition}/{position.offset}", last),
        why=f"{count:,} records of partition {position.partition} were deleted from the raw topic before they were "
        f"read: {position.epoch}/{position.partition}/{position.offset} to {last}.",
        runbook=LIFE.runbook,
        opened_at=gap.received_at,
        detected_at=gap.received_at,
    )
