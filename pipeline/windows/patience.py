"""Whether calls that hit a rate limit come back with back-off: what of a storm can be seen from one unit of work.

A unit is a run, else a session, else a user, at one feature and model: what asks again there after a refusal is the
same caller. It was patient when it waited as long as it was told, or, told nothing, at least half a second and half as
long again each time. Without any of the three nobody can tell whose call the next one is, and nothing is said.

Memory: at most UNITS of about 0.3 kB, those that were refused last. Pure; time is that of the events.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.fact import Fact

UNITS: Final = 4_096
FIRST_WAIT_MS: Final = 500
GROWTH: Final = 1.5
# Clocks of producers and retries' jitter.
TOLERANCE: Final = 0.9
# Who comes back later than this is not retrying.
FORGOTTEN_MS: Final = 600_000

Unit = tuple[str, str, str, str, str]


class Refused(msgspec.Struct, array_like=True, gc=False):
    """The last refusal of a unit: when, how long it must wait now, and whether it was told so."""

    at_ms: int
    wait_ms: int
    told: bool


class Patience:
    """Units that were refused and have not come back."""

    def __init__(self) -> None:
        self.refused: dict[Unit, Refused] = {}

    def observe(self, fact: Fact) -> bool | None:
        """Take one call; whether it came back with patience, None when it did not come back from a refusal."""
        limited = fact.status == "rate_limited"
        if not limited and not self.refused:
            return None
        who = fact.run or fact.session or fact.user
        if not who:
            return None
        unit = (fact.tenant, fact.feature or "", fact.provider or "", fact.model or "", who)
        before = self.refused.pop(unit, None)
        patient, gap_ms = None, 0
        if before is not None:
            gap_ms = fact.event_ms - before.at_ms
            if gap_ms <= FORGOTTEN_MS:
                patient = gap_ms >= TOLERANCE * before.wait_ms
        if limited:
            self._note(unit, fact, gap_ms if patient is not None else 0)
        return patient

    def _note(self, unit: Unit, fact: Fact, gap_ms: int) -> None:
        if fact.retry_after_s:
            wait_ms, told = round(fact.retry_after_s * 1_000), True
        else:
            wait_ms, told = max(FIRST_WAIT_MS, round(GROWTH * gap_ms)), False
        if len(self.refused) >= UNITS:
            del self.refused[next(iter(self.refused))]
        self.refused[unit] = Refused(fact.event_ms, wait_ms, told)
