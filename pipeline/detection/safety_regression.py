"""`safety.regression`: evaluations about safety find a feature's answers worse than usual."""

from __future__ import annotations

from pipeline.detection.judgements import SAFETY
from pipeline.detection.rule import Count, NotNegative, Share
from pipeline.detection.scores import ScoreRecipe


class SafetyRegression(ScoreRecipe, frozen=True, kw_only=True):
    """The recipe. Unsafe answers are rare: a small rise counts."""

    rule = "safety.regression"
    tier = 1

    bad_rise: Share = 0.04
    least_count: Count = 20
    surprise: NotNegative = 4.2

    def is_about(self, name: str) -> bool:
        """Names of evaluations about safety."""
        return name in SAFETY
