"""Evaluations by name: which of them are about safety or sentiment, and how scores and labels read."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.partial import Judged

SAFETY: Final = frozenset(("safety", "toxicity", "bias", "guardrails", "guardrail", "harm", "jailbreak"))
SENTIMENT: Final = frozenset(("sentiment",))
# Of these a high score is bad.
HIGHER_IS_WORSE: Final = frozenset(("toxicity", "bias", "hallucination", "harm", "jailbreak"))
BAD_LABELS: Final = frozenset(("fail", "bad", "incorrect", "no", "unsafe", "negative", "down"))
GOOD_LABELS: Final = frozenset(("pass", "good", "correct", "yes", "safe", "positive", "neutral", "up"))


class Score(NamedTuple):
    """Scores of one name: how many, their mean and variance; turned round where high is bad."""

    number: int
    mean: float
    variance: float


def score_of(name: str, judged: Judged) -> Score:
    """The scores of evaluations of a name."""
    if not judged.count:
        return Score(0, 0.0, 0.0)
    mean = judged.thousandths / 1_000 / judged.count
    variance = max(0.0, judged.squares / 1_000 / judged.count - mean * mean) * judged.count / max(1, judged.count - 1)
    return Score(judged.count, -mean if name in HIGHER_IS_WORSE else mean, variance)


def shown(name: str, mean: float) -> float:
    """A mean as people know it: as evaluators gave it."""
    return -mean if name in HIGHER_IS_WORSE else mean


def bad_of(judged: Judged) -> tuple[int, int]:
    """(bad labels, labels that are good or bad)."""
    bad = sum(count for label, count in judged.labels.items() if label in BAD_LABELS)
    good = sum(count for label, count in judged.labels.items() if label in GOOD_LABELS)
    return bad, bad + good
