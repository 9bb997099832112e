"""Part (a) of `bench detection`: simulated tenants, thirty days each, and everything that may happen to them.

Parameters were chosen on worlds with odd seeds; those with even seeds are reported. `office` worlds are of the kind
that they were chosen on; `other` ones are made by other means (`traffic`), which nothing was chosen by.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

from bench.detection.naive import BOUNDS, RULES, as_played
from bench.detection.plan import Sort
from bench.detection.play import Played, played
from bench.detection.score import add, score
from bench.detection.worlds import Style, rules_of
from bench.figures import Report

Job = tuple[Sort, Style, int, int]
# (sort, style, seed, days); 0 days are all of them.
HELD_OUT: Final[list[Job]] = [
    *(("money", "office", seed, 0) for seed in (2, 4, 6, 8, 10)),
    ("money", "other", 2, 0),
    *(("answers", "office", seed, 0) for seed in (2, 4, 6, 8)),
    *(("trouble", "office", seed, 0) for seed in (2, 4, 6, 8, 10)),
]
TUNED_ON: Final[list[Job]] = [
    (sort, style, seed - 1, days) for sort, style, seed, days in HELD_OUT if style == "office"
]
QUICK: Final[list[Job]] = [("money", "office", 2, 11), ("trouble", "office", 2, 9)]


def figures(quick: bool = False, tuned: bool = False) -> Report:
    """Every figure of part (a); `tuned` of the half that parameters were chosen on."""
    report = Report("detection")
    worlds = play_all(QUICK if quick else TUNED_ON if tuned else HELD_OUT)
    for style, source in (("office", "simulated"), ("other", "simulated_other")):
        for sort in ("money", "trouble", "answers"):
            known = [one for (kind, how, _, _), one in worlds.items() if (kind, how) == (sort, style)]
            if known:
                _report(report, known, sort, source)
    named = ", ".join(f"{sort} {style} {seed}" for sort, style, seed, _ in worlds)
    half = "tuned on" if tuned else "held out: parameters were chosen on odd seeds"
    report.notes.append(
        f"simulated: worlds {named}; {half}; recall counts every event, also those at night with nothing to see; "
        "recall_visible those that an oracle which knows the tenant's own noise would find at one false page a month; "
        "recall_usd weighs events by what they cost"
    )
    return report


def _report(report: Report, worlds: list[Played], sort: Sort, source: str) -> None:
    for rule in rules_of(sort):
        add(report, f"{rule}.{source}", score(worlds, rule))
    for name in BOUNDS:
        theirs = [as_played(one, name) for one in worlds]
        for rule in (rule for rule in RULES if rule in rules_of(sort)):
            add(report, f"{rule}.{source}", score(theirs, rule), f"naive.{name}.")


def play_all(jobs: list[Job]) -> dict[Job, Played]:
    """Play worlds in as many processes as there are processors for this one, the longest first; says how far it is."""
    found: dict[Job, Played] = {}
    begun = time.monotonic()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(jobs), len(os.sched_getaffinity(0))), context) as pool:
        asked = {pool.submit(played, *job): job for job in jobs}
        for done in as_completed(asked):
            found[asked[done]] = done.result()
            print(f"{len(found)} of {len(jobs)} worlds, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return {job: found[job] for job in jobs}
