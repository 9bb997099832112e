"""By which rules a key is judged already, and what the others wait for: the warm-up, made visible.

A rule is asked about a key only once there is enough to judge by (`KeyRecipe.lacks`). That is looked at when an hour
ends: for a key of less than two days every time, later every six hours, at another hour for each key, so that it never
has to be done for all of them at once. What was found goes out with the key's window of that hour. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

from pipeline.detection.rule import KeyRecipe
from pipeline.detection.ruleset import Active
from pipeline.detection.scene import Scene
from pipeline.windows.watermark import HOUR_MINUTES
from schemas.partial import Key
from schemas.window import Standing

YOUNG_HOURS: Final = 48
EVERY_HOURS: Final = 6


def is_due(key: Key, hour: int, age_hours: float) -> bool:
    """Whether a key is looked at when an hour ends."""
    return age_hours < YOUNG_HOURS or not (hour + zlib.crc32("\x1f".join(key).encode())) % EVERY_HOURS


def review(scene: Scene, rules: Iterable[Active], now_ms: int) -> Standing:
    """Look which rules have enough to judge a key by, and write it into its timeline."""
    ready, waiting = dict[str, int](), dict[str, str]()
    before = scene.timeline.ready
    for rule in rules:
        recipe = rule.recipe
        if not isinstance(recipe, KeyRecipe):
            continue
        lacks = recipe.lacks(scene)
        if lacks:
            waiting[recipe.rule] = lacks
        elif recipe.rule in before:
            ready[recipe.rule] = before[recipe.rule]
        else:
            first = scene.timeline.book.first()
            # What has nothing to wait for has judged from the first call on.
            began = now_ms if recipe.warms_up or first is None else first * HOUR_MINUTES * 60_000
            ready[recipe.rule] = began
    scene.timeline.ready = ready
    return Standing(ready, waiting)


def look_again(scene: Scene, recipe: KeyRecipe, now_ms: int) -> None:
    """Look at one rule at once: late events may have made a past for a key that had none."""
    ready = scene.timeline.ready
    if recipe.rule not in ready and not recipe.lacks(scene):
        scene.timeline.ready = {**ready, recipe.rule: now_ms}
