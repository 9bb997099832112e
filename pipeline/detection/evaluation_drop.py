"""`evaluation.drop`: what evaluators say of a feature's answers is worse than usual, or below a bound that was set."""

from __future__ import annotations

from pipeline.detection.judgements import SAFETY, SENTIMENT
from pipeline.detection.scores import ScoreRecipe


class EvaluationDrop(ScoreRecipe, frozen=True, kw_only=True):
    """The recipe. Evaluations about safety or sentiment have rules of their own."""

    rule = "evaluation.drop"
    tier = 1

    def is_about(self, name: str) -> bool:
        """All names but those of the other rules."""
        return name not in SAFETY and name not in SENTIMENT
