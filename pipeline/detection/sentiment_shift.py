"""`sentiment.shift`: the sentiment of a feature's answers, or of what people write, has become more negative."""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection.judgements import SENTIMENT
from pipeline.detection.rule import Count, Share
from pipeline.detection.scores import ScoreRecipe


class SentimentShift(ScoreRecipe, frozen=True, kw_only=True):
    """The recipe. Judged by evaluations named `sentiment`: scores, or labels `negative`, `neutral` and `positive`."""

    rule = "sentiment.shift"
    tier = 2
    words: ClassVar[str] = "sentiment"

    least_share: Share = 0.0
    least_count: Count = 30

    def is_about(self, name: str) -> bool:
        """The name of evaluations about sentiment."""
        return name in SENTIMENT
