"""The rules in force: which recipe judges a tenant, a feature, a user or a provider, and with which bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.detection.cost_spike import Bound, CostSpike
from pipeline.detection.latency_p95 import LatencyP95
from pipeline.detection.price_unknown import PriceUnknown
from pipeline.detection.rule import Life
from schemas.partial import Key

# A child's finding waits this long for its parent's, which has more calls to stand on and so is usually first.
CHILD_HOLD_MS: Final = 600_000

_HELD_COST: Final = Life("cost.spike", 1, hold_ms=CHILD_HOLD_MS)
_COST: Final = CostSpike()
# What one feature costs hangs on fewer calls than what a tenant costs.
_FEATURE_COST: Final = CostSpike(life=_HELD_COST, least_excess_usd=0.25, least_expected_calls=30.0)
# One person's use comes in bursts: no habit of the day, and a burst must be far beyond every earlier one.
_USER_COST: Final = CostSpike(
    life=_HELD_COST,
    same_hour=(),
    busiest_hour=Bound(60, 4.0, 6.0),
    per_call=Bound(60, 4.0, 6.0),
    warm_up_hours=6,
    least_calls=30,
    least_excess_usd=1.0,
)
_LATENCY: Final = LatencyP95()
_FEATURE_LATENCY: Final = LatencyP95(
    life=Life("latency.p95", 1, hold_ms=CHILD_HOLD_MS, clear_ms=900_000), least_calls=30, least_slow=5
)
_PRICE: Final = PriceUnknown()


@dataclass(frozen=True, slots=True)
class Rules:
    """The recipes in force."""

    cost: CostSpike = _COST
    feature_cost: CostSpike = _FEATURE_COST
    user_cost: CostSpike = _USER_COST
    latency: LatencyP95 = _LATENCY
    feature_latency: LatencyP95 = _FEATURE_LATENCY
    price: PriceUnknown = _PRICE

    def cost_of(self, key: Key) -> CostSpike | None:
        """The recipe for a key's cost."""
        return {"tenant": self.cost, "feature": self.feature_cost, "user": self.user_cost}.get(key[0])

    def latency_of(self, key: Key) -> LatencyP95 | None:
        """The recipe for a key's latency."""
        return {"provider": self.latency, "feature": self.feature_latency}.get(key[0])
