"""`loss.detected`: Kafka has proven that records were gone from the raw log before they were read. Pure.

It is a fact and not a state: one page for each stretch, never resolved. A single missing position is none, because the
markers of transactions take one each.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pipeline.detection.lifecycle import identity
from pipeline.detection.rule import Recipe
from schemas.anomaly import Anomaly, Span
from schemas.fact import Fact


class LossDetected(Recipe, frozen=True, kw_only=True):
    """The recipe.

    Attributes:
        least_positions: Missing positions in a row, at least.
    """

    rule = "loss.detected"
    tier = 1

    least_positions: Annotated[int, Meta(ge=1)] = 2

    def evaluate(self, gap: Fact) -> Anomaly | None:
        """The page for a gap record; None where a transaction's marker explains it."""
        position, count = gap.position, gap.next_offset - gap.position.offset
        if count < self.least_positions:
            return None
        last = f"{position.epoch}/{position.partition}/{gap.next_offset - 1}"
        subject = {"epoch": str(position.epoch), "partition": str(position.partition), "offset": str(position.offset)}
        return Anomaly(
            id=identity(self.rule, subject, 0, shadow=self.shadow),
            rule=self.rule,
            tier=self.tier,
            severity="SEV1",
            state="open",
            revision=1,
            subject=subject,
            window=Span(gap.received_at, gap.received_at + 1),
            observed=float(count),
            baseline=None,
            threshold=float(self.least_positions),
            ratio=None,
            unit="records",
            evidence=(f"{position.epoch}/{position.partition}/{position.offset}", last),
            why=f"{count:,} records of partition {position.partition} were deleted from the raw topic before they were "
            f"read: {position.epoch}/{position.partition}/{position.offset} to {last}.",
            runbook=self.life.runbook,
            opened_at=gap.received_at,
            detected_at=gap.received_at,
            shadow=self.shadow,
            query="tokentrail verify",
        )
