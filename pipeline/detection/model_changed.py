"""`model.changed`: another model than before answers a feature's calls, asked for or not."""

from __future__ import annotations

from typing import ClassVar

from pipeline.detection.rule import Count, Finding, KeyRecipe, Memory, NotNegative, Positive, Share, Taint
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES, MINUTE_MS
from schemas.anomaly import Span


class ModelChanged(KeyRecipe, frozen=True, kw_only=True):
    """The recipe. It is told once: a week later the new model is the usual one.

    Attributes:
        share: Share of the last hour's answers that the new model must have.
        known_share: A model that had more of the past week's answers than this is not new.
        least_count: Answers of the new model within the hour, at least.
        usual_count: Answers that the past must hold.
    """

    rule = "model.changed"
    tier = 2
    taint: ClassVar[int] = Taint.NONE
    every: ClassVar[int] = 15

    warm_up_hours: NotNegative = 24.0
    clear_minutes: NotNegative = 360.0
    rejoin_minutes: NotNegative = 7 * 1_440.0
    longest_hours: Positive = 168.0
    share: Share = 0.3
    known_share: Share = 0.02
    least_count: Count = 15
    usual_count: Count = 100

    def evaluate(self, scene: Scene, firing: bool, memory: Memory) -> Finding | None:
        """Judge the last hour; see `KeyRecipe`."""
        shape = scene.blocks(HOUR_MINUTES).shape
        if shape is None or not shape.models:
            return None
        total = sum(shape.models.values())
        if firing:
            # As long as it answers, and is not the usual one yet.
            known_as = memory["model"]
            left = shape.models.get(known_as, 0)
            return self._finding(scene, known_as, left, total) if left >= self.share * total / 2 else None
        model, count = max(shape.models.items(), key=lambda item: (item[1], item[0]))
        if count < self.least_count or count < self.share * total:
            return None
        usual = scene.reference(1, self.taint).total.shape
        known = usual.models if usual is not None else {}
        before = sum(known.values())
        if before < self.usual_count or known.get(model, 0) > self.known_share * before:
            return None
        return self._finding(scene, model, count, total)

    def lacks(self, scene: Scene) -> str:
        """See `KeyRecipe`."""
        known = super().lacks(scene)
        if not known:
            shape = scene.reference(1, self.taint).total.shape
            count = sum(shape.models.values()) if shape is not None else 0
            known = f"{count:,} of {self.usual_count:,} answers" if count < self.usual_count else ""
        return known

    def _finding(self, scene: Scene, model: str, count: int, total: int) -> Finding:
        asked = {one.key[4] for one in scene.parts("model") if one.last_minute > scene.minute - HOUR_MINUTES}
        how = "which was asked for by this name" if model in asked else "though none was asked for by this name"
        first = scene.minute - HOUR_MINUTES + 1
        return Finding(
            window=Span(first * MINUTE_MS, scene.end_ms),
            observed=round(count / total, 4),
            baseline=0.0,
            threshold=self.share,
            unit="share",
            severity="SEV3",
            why=f"{scene.who}: {count:,} of {total:,} answers of the last hour came from {model}, {how}; until then "
            "next to none did.",
            began_at=first * MINUTE_MS,
            details={"model": model, "asked_for": model in asked, "models": sorted(asked)},
            memory={"model": model},
        )
