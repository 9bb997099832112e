"""`bench detection`: precision, recall and delay of every rule on known truth, and what naive rules make of the same.

Parts: (a) simulated tenants, (b) loops in agents' runs, (c) NAB's labelled series, (d) real traffic of one tool's
    users.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from bench.detection import loops, nab, real, simulated
from bench.figures import Report

PARTS: Final[dict[str, Callable[[bool], Report]]] = {
    "a": simulated.figures,
    "b": loops.figures,
    "c": nab.figures,
    "d": real.figures,
    # Part (a) on the half that parameters were chosen on.
    "t": partial(simulated.figures, tuned=True),
}


def run(quick: bool = False, parts: str = "") -> Report:
    """Every part, or some of PARTS; `t` is not among all of them."""
    report = Report("detection")
    for part in parts or "abcd":
        found = PARTS[part](quick)
        report.figures |= found.figures
        report.notes += found.notes
    return report
