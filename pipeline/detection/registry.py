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
from pipeline.detection.call_outlier import CallOutlier
from pipeline.detection.canary_failed import CanaryFailed
from pipeline.detection.cost_daily import CostDaily
from pipeline.detection.cost_spike import CostSpike
from pipeline.detection.error_novel import ErrorNovel
from pipeline.detection.error_rate import ErrorRate
from pipeline.detection.evaluation_drop import EvaluationDrop
from pipeline.detection.feedback_negative import FeedbackNegative
from pipeline.detection.guardrail_rate import GuardrailRate
from pipeline.detection.input_shift import InputShift
from pipeline.detection.latency_p95 import LatencyP95
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loss_detected import LossDetected
from pipeline.detection.model_changed import ModelChanged
from pipeline.detection.output_length import OutputLength
from pipeline.detection.output_shift import OutputShift
from pipeline.detection.price_unknown import PriceUnknown
from pipeline.detection.provider_degraded import ProviderDegraded
from pipeline.detection.rate_limit_storm import RateLimitStorm
from pipeline.detection.redaction_failed import RedactionFailed
from pipeline.detection.refusal_rate import RefusalRate
from pipeline.detection.retrieval_hit_rate import RetrievalHitRate
from pipeline.detection.rule import Recipe
from pipeline.detection.run_latency import RunLatency
from pipeline.detection.run_velocity import RunVelocity
from pipeline.detection.safety_regression import SafetyRegression
from pipeline.detection.schema_validity import SchemaValidity
from pipeline.detection.sentiment_shift import SentimentShift
from pipeline.detection.slo_burn import SloBurn
from pipeline.detection.traffic_silence import TrafficSilence
from pipeline.detection.user_cost import UserCost

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
            "feature": CostSpike(hold_minutes=20.0, least_excess_usd=0.25, least_expected_calls=30.0),
        },
    ),
    Entry(CostDaily, "judge", {"tenant": CostDaily()}),
    Entry(UserCost, "judge", {"user": UserCost(hold_minutes=CHILD_HOLD_MINUTES)}),
    Entry(CallOutlier, "judge", {"feature": CallOutlier(hold_minutes=CHILD_HOLD_MINUTES)}),
    Entry(
        ErrorRate,
        "judge",
        {
            "provider": ErrorRate(),
            "tenant": ErrorRate(hold_minutes=5.0),
            "feature": ErrorRate(hold_minutes=CHILD_HOLD_MINUTES),
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
    Entry(SloBurn, "judge", {"provider": SloBurn(), "feature": SloBurn(hold_minutes=5.0)}),
    Entry(ProviderDegraded, "judge", {"provider": ProviderDegraded()}),
    Entry(RateLimitStorm, "judge", {"model": RateLimitStorm()}),
    Entry(RunLatency, "judge", {"feature": RunLatency(hold_minutes=CHILD_HOLD_MINUTES)}),
    Entry(ErrorNovel, "judge", {"template": ErrorNovel()}),
    Entry(TrafficSilence, "judge", {"tenant": TrafficSilence(), "feature": TrafficSilence(hold_minutes=5.0)}),
    Entry(SafetyRegression, "judge", {"feature": SafetyRegression()}),
    Entry(EvaluationDrop, "judge", {"feature": EvaluationDrop()}),
    Entry(RefusalRate, "judge", {"feature": RefusalRate()}),
    Entry(SchemaValidity, "judge", {"feature": SchemaValidity()}),
    Entry(GuardrailRate, "judge", {"feature": GuardrailRate()}),
    Entry(RetrievalHitRate, "judge", {"feature": RetrievalHitRate()}),
    Entry(FeedbackNegative, "judge", {"feature": FeedbackNegative()}),
    Entry(SentimentShift, "judge", {"feature": SentimentShift()}),
    Entry(ModelChanged, "judge", {"feature": ModelChanged()}),
    Entry(InputShift, "judge", {"feature": InputShift()}),
    # Longer answers are spread over other languages and labels, too, and refusals are short.
    Entry(OutputLength, "judge", {"feature": OutputLength(hold_minutes=CHILD_HOLD_MINUTES)}),
    Entry(OutputShift, "judge", {"feature": OutputShift(hold_minutes=2 * CHILD_HOLD_MINUTES)}),
    Entry(CanaryFailed, "judge", {"canary": CanaryFailed()}),
    Entry(RedactionFailed, "judge", {"redaction": RedactionFailed()}),
    Entry(PriceUnknown, "judge", {"provider": PriceUnknown()}),
)
BY_NAME: Final = {entry.name: entry for entry in RULES}
