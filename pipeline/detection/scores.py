"""What rules over evaluations share: scores of a name fall, or its labels become bad, at a feature.

Scores are compared by their means, labels by their rate, each with what is usual for that very name and feature. Pure:
see `rule`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from pipeline.detection import chance
from pipeline.detection.judgements import Score, bad_of, score_of, shown
from pipeline.detection.reference import Reference
from pipeline.detection.rule import (
    UNDECIDED,
    Count,
    Finding,
    Memory,
    NotNegative,
    Positive,
    Share,
    Taint,
    Undecided,
)
from pipeline.detection.scene import Scene
from pipeline.detection.windowed import WindowedRecipe, in_words, window_of_open
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Severity, Span
from schemas.partial import Bucket, Judged


class ScoreRecipe(WindowedRecipe, frozen=True, kw_only=True):
    """Bounds of a rule over evaluations.

    Attributes:
        least_count: Evaluations of a name in a window, at least.
        usual_count: Evaluations that the past must hold to say what is usual.
        least_fall: How far the mean score must have fallen, in standard deviations of single scores.
        least_share: How far it must have fallen, as a part of the usual mean.
        bad_rise: How far the share of bad labels must have risen.
        surprise: Standard deviations beyond chance, at least.
        thresholds: By name, a mean score below which it is a finding whatever is usual.
        clear: An open finding is over when less than this part of the fall is left.
    """

    taint: ClassVar[int] = Taint.ANSWERS
    words: ClassVar[str] = "score"

    clear_minutes: NotNegative = 60.0
    rejoin_minutes: NotNegative = 240.0
    longest_hours: Positive = 168.0
    warm_up_hours: NotNegative = 24.0
    least_count: Count = 15
    usual_count: Count = 50
    least_fall: NotNegative = 0.4
    least_share: Share = 0.03
    bad_rise: Share = 0.1
    surprise: NotNegative = 4.5
    thresholds: dict[str, float] = msgspec.field(default_factory=dict)
    clear: Share = 0.4

    def is_about(self, name: str) -> bool:
        """Whether an evaluation's name is this rule's business."""
        raise NotImplementedError

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | Undecided | None:
        """Judge the windows that end with the scene's minute; see `KeyRecipe`."""
        if firing:
            return self._still(scene, memory)
        for hours, now in self.windows(scene):
            for name, judged in self._judged(now):
                found = self._judge(scene, hours, name, judged)
                if found is not None:
                    return found
        return None

    def _judged(self, bucket: Bucket) -> Iterator[tuple[str, Judged]]:
        if bucket.quality is not None:
            yield from ((name, one) for name, one in sorted(bucket.quality.judged.items()) if self.is_about(name))

    def _judge(self, scene: Scene, hours: int, name: str, judged: Judged) -> Finding | None:
        if max(judged.count, bad_of(judged)[1]) < self.least_count:
            return None
        usual = scene.reference(hours, self.taint)
        known = dict(self._judged(usual.total)).get(name, Judged())
        return self._by_score(scene, hours, name, judged, known, usual) or self._by_label(
            scene, hours, name, judged, known, usual
        )

    def _by_score(
        self, scene: Scene, hours: int, name: str, judged: Judged, known: Judged, usual: Reference
    ) -> Finding | None:
        now, before = score_of(name, judged), score_of(name, known)
        if now.number < self.least_count:
            return None
        bound = self.thresholds.get(name)
        value = shown(name, now.mean)
        if bound is not None and now.mean < shown(name, bound):
            return self._finding(scene, hours, name, "score", value, bound, now.number, 0.0)
        if before.number < self.usual_count:
            return None
        deviation = math.sqrt(before.variance)
        fall = before.mean - now.mean
        if fall <= 0 or fall < self.least_fall * deviation or fall < self.least_share * abs(before.mean):
            return None
        # Means of days scatter more than independent scores would.
        spread = _spread(name, usual, before)
        surprise = -chance.means(
            now.mean, now.variance * spread, now.number, before.mean, before.variance * spread, before.number
        )
        if surprise < self.surprise:
            return None
        return self._finding(scene, hours, name, "score", value, shown(name, before.mean), now.number, surprise)

    def _by_label(
        self, scene: Scene, hours: int, name: str, judged: Judged, known: Judged, usual: Reference
    ) -> Finding | None:
        (bad, labelled), (bad_before, before) = bad_of(judged), bad_of(known)
        if labelled < self.least_count or before < self.usual_count:
            return None
        rate, usually = bad / labelled, chance.usual_rate(bad_before, before)
        if rate - usually < self.bad_rise:
            return None

        def of(bucket: Bucket) -> tuple[float, float]:
            return bad_of(dict(self._judged(bucket)).get(name, Judged()))

        surprise = chance.rise(bad, labelled, bad_before, before, usual.dispersion(of))
        if surprise < self.surprise:
            return None
        return self._finding(scene, hours, name, "label", rate, usually, labelled, surprise)

    def _still(self, scene: Scene, memory: Memory) -> Finding | Undecided | None:
        hours, name, kind = memory["hours"], memory["name"], memory["kind"]
        judged = dict(self._judged(window_of_open(scene, hours))).get(name, Judged())
        if kind == "score":
            now = score_of(name, judged)
            count, value = now.number, shown(name, now.mean)
        else:
            bad, count = bad_of(judged)
            value = bad / count if count else 0.0
        if count < min(8, self.least_count):
            return UNDECIDED
        moved, left = memory["value"] - memory["usual"], value - memory["usual"]
        if left * moved < 0 or abs(left) < self.clear * abs(moved):
            return None
        return self._finding(scene, hours, name, kind, value, memory["usual"], count, memory["surprise"])

    def _finding(
        self, scene: Scene, hours: int, name: str, kind: str, value: float, usual: float, count: int, surprise: float
    ) -> Finding:
        length = hours * HOUR_MINUTES
        first = scene.minute - length + 1
        severity: Severity = "SEV1" if self.tier == 1 and surprise >= 2 * self.surprise else "SEV2"
        if kind == "score":
            said = f"the mean {self.words} of {count:,} evaluations {name} was {value:.3g}, and {usual:.3g} is usual"
        else:
            said = f"{100 * value:.0f} % of {count:,} evaluations {name} had a bad label, usually {100 * usual:.0f} %"
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(value, 5),
            baseline=round(usual, 5),
            threshold=None,
            unit="score" if kind == "score" else "share",
            severity=severity if self.tier < 3 else "SEV3",
            why=f"{scene.who}: {said}, within {in_words(hours)}.",
            began_at=first * MINUTE_MS,
            evidence=scene.timeline.samples("evaluation", first, length),
            details={"evaluation": name, "hours": hours, "count": count, "surprise": round(surprise, 1)},
            memory={
                "hours": hours, "name": name, "kind": kind, "value": value, "usual": usual, "surprise": surprise,
            },
        )  # fmt: skip

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            counts = (max(one.count, bad_of(one)[1]) for _, one in self._past(scene))
            count = max(counts, default=0)
            known = f"{count:,} of {self.usual_count:,} evaluations" if count < self.usual_count else ""
        return known

    def _past(self, scene: Scene) -> Iterator[tuple[str, Judged]]:
        return self._judged(scene.reference(self.hours[0], self.taint).total)

    def explain(self, scene: Scene, finding: Finding) -> dict[str, Any]:
        """Means by prompt version and variant, where there are several."""
        name = finding.details["evaluation"]

        def of(bucket: Bucket) -> tuple[float, float]:
            one = score_of(name, dict(self._judged(bucket)).get(name, Judged()))
            return shown(name, one.mean) * one.number, one.number

        return scene.breakdown(of)


def _spread(name: str, usual: Reference, before: Score) -> float:
    """By how much the means of the past's parts scatter more than independent scores would; at least 1."""
    means = []
    for part in usual.parts:
        judged = part.quality.judged.get(name) if part.quality is not None else None
        if judged is not None and judged.count >= 3:
            means.append(score_of(name, judged))
    if len(means) < 4 or before.variance <= 0:
        return 1.5
    total = sum(one.number * (one.mean - before.mean) ** 2 for one in means) / before.variance / (len(means) - 1)
    weight = len(means) / (len(means) + 4)
    return max(1.0, weight * total + (1 - weight) * 1.5)
