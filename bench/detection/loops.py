"""Part (b) of `bench detection`: loops planted into real runs, invented runs, real runs that went wrong; and guard.

Recall counts a loop as found when the finding is open by its 5th round (exact, cycle), its 10th (near), or at all
(no_progress, whose rounds mean little). Parameters were chosen on the runs of which `is_tuned_on` holds; only the
others are reported. `quick` takes a fifth of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bench import loops_invented, loops_planted, loops_rules
from bench.figures import Report
from bench.loops_guard import cost_figures
from bench.loops_material import Case, available, found_at, is_tuned_on, magentic, tau

RULE: Final = "loop.runaway"
IN_TIME: Final = {"exact": 5, "cycle": 5, "near_volatile": 10, "near_reworded": 10}
INVENTED: Final = 60

Finder = Callable[[Case], int | None]
FINDERS: Final[dict[str, Finder]] = {
    "": found_at,
    **{f"{name}.": partial(loops_rules.found_at, rule) for name, rule in loops_rules.RULES.items()},
}


@dataclass(frozen=True)
class Score:
    """What a rule did with a set of looping runs and one of honest runs.

    Attributes:
        positives: Looping runs.
        found: Of these, how many were found in time.
        ever: How many were found at all.
        negatives: Honest runs.
        false: Of these, how many were taken for loops.
        delays_s: From the beginning of the loop to the finding, in seconds.
        rounds: In which round it was found.
    """

    positives: int
    found: int
    ever: int
    negatives: int
    false: int
    delays_s: tuple[float, ...]
    rounds: tuple[int, ...]

    @property
    def recall(self) -> float:
        """Part of the looping runs that was found in time."""
        return self.found / self.positives if self.positives else math.nan

    @property
    def precision(self) -> float:
        """Part of the findings that are right, where both sets are as large as each other."""
        right, wrong = self.ever / max(1, self.positives), self.false / max(1, self.negatives)
        return right / (right + wrong) if right + wrong else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def figures(quick: bool = False) -> Report:
    """Every figure of part (b), as a report to be joined with the others; empty, with a note, without the material."""
    report = Report("detection")
    if not available():
        report.notes.append(
            "loops: the agents' runs are not beside this checkout (../shared/data/agents); not measured"
        )
        return report
    runs = [(name, messages) for name, messages in tau() if not is_tuned_on(name)]
    runs = runs[:: 5 if quick else 1]
    honest = [loops_planted.untouched(name, messages) for name, messages in runs]
    planted = {
        kind: [loops_planted.plant(kind, name, messages) for name, messages in runs] for kind in loops_planted.KINDS
    }
    each = INVENTED // 5 if quick else INVENTED
    invented = {kind: list(loops_invented.cases((kind,), each)) for kind in loops_invented.LOOPING}
    others = list(loops_invented.cases(loops_invented.HONEST, each))
    real = magentic()
    for prefix, find in FINDERS.items():
        for kind, cases in planted.items():
            _add(report, f"{prefix}{RULE}.tau_{kind}", score(cases, honest, find, IN_TIME.get(kind)))
        _share(report, f"{prefix}{RULE}.tau_untouched.false_share", [find(case) is not None for case in honest])
        for kind, cases in invented.items():
            in_time = None if kind == "stuck_plans" else 10
            _add(report, f"{prefix}{RULE}.invented_{kind}", score(cases, others, find, in_time))
        for kind in loops_invented.HONEST:
            told = [find(case) is not None for case in others if case.source == kind]
            _share(report, f"{prefix}{RULE}.invented_{kind}.false_share", told)
        looping, clean = (
            [case for case in real if case.begins is not None],
            [case for case in real if case.begins is None],
        )
        _add(report, f"{prefix}{RULE}.magentic", score(looping, clean, find, None))
        _share(report, f"{prefix}{RULE}.magentic_clean.false_share", [find(case) is not None for case in clean])
    report.notes.append(
        f"loops: {len(runs)} held-out tau runs, each untouched and with a loop of each of {len(planted)} kinds; {each} "
        f"invented runs of each of {len(invented)} looping and {len(loops_invented.HONEST)} honest kinds; magentic: "
        f"{len(looping)} runs in which the orchestrator says that it loops, {len(clean)} in which it does not "
        "(self-judged: no bar)"
    )
    report.notes.append(
        "loops: found in time means open by the 5th round (exact, cycle), the 10th (near, invented), at all "
        "(no_progress, plans, magentic); rounds count what the run did, the first included; precision for as many "
        "looping as honest runs"
    )
    cost_figures(report, quick)
    return report


def score(cases: Sequence[Case], honest: Iterable[Case], find: Finder, in_time: int | None) -> Score:
    """Let a rule look at looping and honest runs."""
    found = ever = 0
    delays, rounds = [], []
    for case in cases:
        place = find(case)
        if place is None or (case.begins is not None and place < case.begins):
            continue
        ever += 1
        number = sum(begin <= place for begin in case.rounds)
        found += in_time is None or number <= in_time
        rounds.append(number)
        assert case.begins is not None
        delays.append((case.calls[place].at_ms - case.calls[case.begins].at_ms) / 1000)
    others = list(honest)
    false = sum(find(case) is not None for case in others)
    return Score(len(cases), found, ever, len(others), false, tuple(delays), tuple(rounds))


def _add(report: Report, name: str, one: Score) -> None:
    low, high = _interval(one.found, one.positives)
    report.add(f"{name}.recall", [low, one.recall, high], "1")
    report.add(f"{name}.precision", [one.precision], "1")
    report.add(f"{name}.f1", [one.f1], "1")
    report.add(f"{name}.positives", [one.positives], "runs")
    report.add(f"{name}.negatives", [one.negatives], "runs")
    for quantile, values, unit in (("delay_{}_s", one.delays_s, "s"), ("round_{}", one.rounds, "rounds")):
        ordered = sorted(values)
        for label, at in (("p50", 0.5), ("p95", 0.95)):
            if ordered:
                report.add(
                    f"{name}.{quantile.format(label)}", [ordered[min(len(ordered) - 1, int(at * len(ordered)))]], unit
                )


def _share(report: Report, name: str, told: Sequence[bool]) -> None:
    low, high = _interval(sum(told), len(told))
    report.add(name, [low, sum(told) / max(1, len(told)), high], "1")


def _interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
