"""What the models of a key cost together, each counted in its own payments.

The noise of a sum is that of its few most expensive runs, and a rise that is spread over all parts drowns in it;
counted in payments, every part speaks with all its calls. Decisions 0005 and 0024. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.detection.baseline import Past
from pipeline.detection.scene import Scene


class Parts(NamedTuple):
    """Parts together, in payments.

    Attributes:
        made: What they cost.
        due: What the same time of the week promised.
        rest_made: The same without the part that rose most.
        rest_due: What was promised of that; 0 where there are no two parts.
        days: How many days the promise stands on.
    """

    made: float
    due: float
    rest_made: float
    rest_due: float
    days: int


def in_payments(scene: Scene, minutes: int) -> Parts:
    """The parts of a scene's key over the `minutes` that end with it."""
    found = list[tuple[float, float, float]]()
    days = 1
    for part in scene.parts("model"):
        own = Scene(scene.store, part, scene.minute)
        past = Past(own)
        expected, payment = past.same_hour(minutes), past.payment(minutes)
        if expected is None or expected.cost <= 0 or payment <= 0:
            continue
        due = past.careful(expected, minutes).cost / payment
        made = (own.cost(minutes) - part.dearest_call(scene.minute, minutes)) / payment
        found.append((made - due, made, due))
        days = expected.days
    made, due = sum(one[1] for one in found), sum(one[2] for one in found)
    _, most, its_due = max(found, default=(0.0, 0.0, 0.0))
    return Parts(made, due, made - most, due - its_due if len(found) > 1 else 0.0, days)
