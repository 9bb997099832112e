"""Figures as `tokentrail bench NAME --json` prints them: a value, its unit and spread, and the other side's."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        value: The median.
        unit: Its unit (`1` for a ratio).
        spread: Least and greatest of the runs.
        against: What the other side measured, in the same unit; None where there is no other side.
        ratio: Ours against theirs, measured in one run; above 1 means ours is better.
    """

    value: float
    unit: str
    spread: tuple[float, float]
    against: float | None = None
    ratio: float | None = None


@dataclass
class Report:
    """What one bench says."""

    bench: str
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, values: Sequence[float], unit: str, **more: Any) -> None:
        """Add a figure by its runs' values."""
        self.figures[name] = Figure(statistics.median(values), unit, (min(values), max(values)), **more)

    def as_json(self) -> dict[str, Any]:
        """The object of the contract."""
        return {
            "bench": self.bench,
            "figures": {
                name: {
                    "value": round(one.value, 4),
                    "unit": one.unit,
                    "spread": [round(one.spread[0], 4), round(one.spread[1], 4)],
                    "against": one.against,
                    "ratio": one.ratio,
                }
                for name, one in self.figures.items()
            },
            "notes": self.notes,
        }


def last_json_object(output: str) -> dict[str, Any]:
    """The last line of a child's output that is a JSON object."""
    line = next(line for line in reversed(output.splitlines()) if line.startswith("{"))
    answer: dict[str, Any] = json.loads(line)
    return answer


def last_json(output: str) -> dict[str, float]:
    """The same, of numbers."""
    return last_json_object(output)
