"""`error.novel`: calls fail with a message of a kind that this tenant has not seen before.

What kinds there are is found by `novelty`; the message itself stays where it is, so the finding names the type, the
status and a call that failed so. Pure: see `rule`.
"""

from __future__ import annotations

from pipeline.detection.novelty import Kind, Tenant
from pipeline.detection.rule import MINUTE_MS, Count, Finding, NotNegative, Positive, Recipe
from pipeline.windows.timeline import position_of
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.anomaly import Span
from schemas.partial import Key

HOUR_MS = HOUR_MINUTES * MINUTE_MS


class ErrorNovel(Recipe, frozen=True, kw_only=True):
    """The recipe. It is over when no call has failed so for an hour.

    Attributes:
        least_calls: Calls that failed so within an hour, at least.
        warm_up_hours: Hours after a tenant's first failure in which every kind is new and none is told.
        new_hours: So long a kind is new after it was first seen.
    """

    rule = "error.novel"
    tier = 2

    # An outage makes new errors, too, and should be told first.
    hold_minutes: NotNegative = 10.0
    clear_minutes: NotNegative = 5.0
    rejoin_minutes: NotNegative = 1_440.0
    longest_hours: Positive = 48.0
    least_calls: Count = 3
    warm_up_hours: NotNegative = 24.0
    new_hours: NotNegative = 24.0

    def evaluate(self, name: str, tenant: Tenant, kind: Kind, minute: int, firing: bool) -> Finding | None:
        """Judge a kind at a minute.

        Args:
            name: The tenant.
            tenant: Its kinds.
            kind: One of them.
            minute: Last minute under test.
            firing: Whether a finding of this kind is open.

        Returns:
            The finding; None where the kind is known, or there are too few of it.
        """
        count = kind.recent(minute)
        if firing:
            return self._finding(name, kind, minute, count) if count else None
        if tenant.overflowed or count < self.least_calls:
            return None
        if kind.first_ms - tenant.since_ms < self.warm_up_hours * HOUR_MS:
            return None
        if (minute + 1) * MINUTE_MS - kind.first_ms > self.new_hours * HOUR_MS:
            return None
        return self._finding(name, kind, minute, count)

    def _finding(self, name: str, kind: Kind, minute: int, count: int) -> Finding:
        _, _, feature, provider, model = kind.source[:5]
        where = " ".join(part for part in (provider, model) if part)
        said = " ".join(part for part in (kind.type, f"(HTTP {kind.http_status})" if kind.http_status else "") if part)
        return Finding(
            window=Span(kind.first_ms, (minute + 1) * MINUTE_MS),
            observed=float(count),
            baseline=0.0,
            threshold=float(self.least_calls),
            unit="calls",
            severity="SEV3",
            why=f"tenant {name}: {count:,} calls {f'of {where} ' if where else ''}failed within an hour with an error "
            f"that was not seen before{f': {said}' if said else ''}.",
            began_at=kind.first_ms,
            evidence=(position_of(kind.at),),
            details={"type": kind.type, "http_status": kind.http_status, "feature": feature, "words": len(kind.words)},
        )


def key_of(name: str, kind: Kind) -> Key:
    """The key under which a kind's finding stands."""
    _, _, _, provider, model = kind.source[:5]
    return ("template", name, provider, model, kind.name)
