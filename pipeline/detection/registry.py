"""All rules, in the order in which they are shown, judged and documented: the one place where a rule is registered.

An entry says for which dimensions a rule is judged and with which defaults; everything else a rule says of itself, in
its own file. A rules file (`rules_file`) changes the defaults, `ruleset` puts both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pipeline.detection.budget_exceeded import BudgetExceeded
from pipeline.detection.budget_near import BudgetNear
from pipeline.detection.cost_spike import Bound, CostSpike
from pipeline.detection.latency_p95 import LatencyP95
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loss_detected import LossDetected
from pipeline.detection.price_unknown import PriceUnknown
from pipeline.detection.rule import Recipe
from pipeline.detection.run_velocity import RunVelocity

Stage = Literal["guard", "judge"]

# A child's finding waits this long for its parent's, which has more calls to stand on and so is usually first.
CHILD_HOLD_MINUTES: Final = 10.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule.

    Attributes:
        recipe: Its recipe's type; names rule and tier.
        stage: Who judges it.
        dimensions: What it is judged for, with the defaults there. `guard`'s rules have the one dimension `run`, or
            `partition`.
    """

    recipe: type[Recipe]
    stage: Stage
    dimensions: Mapping[str, Recipe]

    @property
    def name(self) -> str:
        """Name of the rule."""
        return self.recipe.rule


RULES: Final[tuple[Entry, ...]] = (
    Entry(LoopRunaway, "guard", {"run": LoopRunaway()}),
    Entry(RunVelocity, "guard", {"run": RunVelocity()}),
    Entry(LossDetected, "guard", {"partition": LossDetected()}),
    Entry(
        CostSpike,
        "judge",
        {
            "tenant": CostSpike(),
            # What one feature costs hangs on fewer calls than what a tenant costs.
            "feature": CostSpike(hold_minutes=CHILD_HOLD_MINUTES, least_excess_usd=0.25, least_expected_calls=30.0),
            # One person's use comes in bursts: no habit of the day, and a burst must be far beyond every earlier one.
            "user": CostSpike(
                hold_minutes=CHILD_HOLD_MINUTES,
                same_hour=(),
                busiest_hour=Bound(60, 4.0, 6.0),
                per_call=Bound(60, 4.0, 6.0),
                warm_up_hours=6,
                least_calls=30,
                least_excess_usd=1.0,
            ),
        },
    ),
    Entry(
        LatencyP95,
        "judge",
        {
            "provider": LatencyP95(),
            "feature": LatencyP95(hold_minutes=CHILD_HOLD_MINUTES, least_calls=30, least_slow=5),
        },
    ),
    Entry(BudgetNear, "judge", {"budget": BudgetNear()}),
    Entry(BudgetExceeded, "judge", {"budget": BudgetExceeded()}),
    Entry(PriceUnknown, "judge", {"provider": PriceUnknown()}),
)
BY_NAME: Final = {entry.name: entry for entry in RULES}
