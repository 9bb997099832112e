"""Part (c) of `bench detection`: the labelled series of the Numenta Anomaly Benchmark, taken for what a tenant spends.

Each sample is twelve equal calls that together cost what it says, in units of the series' median. Labels are windows,
and some of them are contested; they mark falls, changes of pattern and slight rises, too, which are no findings of a
rule that pages for a doubling. So recall is given for all windows and, as `nab_rises`, for those in which an hour
reached twice the mean of the week before. Nothing was chosen by this material.
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from bench.detection.feed import Spent, judged
from bench.detection.naive import BOUNDS, told
from bench.detection.play import Series, Told
from bench.detection.score import MONTH, Score, add
from bench.figures import Report
from bench.loops_material import SHARED

NAB: Final = SHARED.parent / "timeseries" / "nab"
RULE: Final = "cost.spike"
CALLS: Final = 12
# Nano-dollars of the median sample's calls.
NANO: Final = 5_000_000
DAY: Final = 1_440
QUICK: Final = 5

Window = tuple[int, int]


def figures(quick: bool = False) -> Report:
    """Every figure of part (c); empty, with a note, without the material."""
    report = Report("detection")
    if not NAB.is_dir():
        report.notes.append("NAB: the series are not beside this checkout (../shared/data/timeseries); not measured")
        return report
    labels: dict[str, list[list[str]]] = json.loads((NAB / "labels" / "combined_windows.json").read_text())
    files = sorted(NAB.glob("data/*/*.csv"))[:: QUICK if quick else 1]
    names = ["", *BOUNDS]
    total = {name: Score() for name in names}
    rises = {name: Score() for name in names}
    for path in files:
        samples = _read(path)
        first, last = _minute(samples[0][0]), _minute(samples[-1][0]) + 5
        last += (first - last) % 5
        marked = labels[f"{path.parent.name}/{path.name}"]
        windows = [(_minute(begin) - first, _minute(end) - first) for begin, end in marked]
        ours, series = _judge(samples, path.stem, first, last)
        high = _rises(series, windows)
        for name in names:
            found = ours if not name else list(told(series, name, RULE))
            _count(total[name], found, windows, windows, last - first)
            _count(rises[name], found, high, windows, last - first)
    for name in names:
        prefix = f"naive.{name}." if name else ""
        add(report, f"{RULE}.nab", total[name], prefix)
        add(report, f"{RULE}.nab_rises", rises[name], prefix)
    report.notes.append(
        f"NAB: {len(files)} series as money; negatives are days outside every window, a false alarm one outside of "
        "them; every label counts in `nab`, falls and changes of pattern as well, and in `nab_rises` those with an "
        "hour at twice the mean of the week before"
    )
    return report


def _read(path: Path) -> list[tuple[str, float]]:
    with path.open() as file:
        return sorted((row["timestamp"], float(row["value"])) for row in csv.DictReader(file))


def _minute(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).replace(tzinfo=UTC).timestamp()) // 60


def _judge(samples: list[tuple[str, float]], name: str, first: int, last: int) -> tuple[list[Told], Series]:
    values = [value for _, value in samples if value > 0]
    unit = median(values) if values else 1.0
    calls: dict[int, list[Spent]] = {}
    for stamp, value in samples:
        one = Spent(name, "series", ("provider", "model"), round(NANO * max(0.0, value) / unit))
        calls.setdefault(_minute(stamp), []).extend([one] * CALLS)
    return judged(calls, first, last, (RULE,), step=5)


def _rises(series: Series, windows: list[Window]) -> list[Window]:
    (cost,) = series.cost.values()
    hours = np.convolve(cost, np.ones(60), "full")[: len(cost)]
    found = []
    for begin, end in windows:
        before = hours[max(60, begin - 7 * DAY) : begin]
        if len(before) and hours[begin : end + 1].max(initial=0.0) >= 2 * before.mean():
            found.append((begin, end))
    return found


def _count(into: Score, told: list[Told], wanted: list[Window], windows: list[Window], minutes: int) -> None:
    into.tenant_months += minutes / DAY / MONTH
    into.positives += len(wanted)
    for begin, end in wanted:
        mine = sorted(one.minute for one in told if begin <= one.minute <= end)
        into.right += len(mine)
        if mine:
            into.found += 1
            into.found_by_own += 1
            into.delays.append(mine[0] - begin)
    false = [one.minute for one in told if not any(begin <= one.minute <= end for begin, end in windows)]
    into.false += len(false)
    covered = {day for begin, end in windows for day in range(begin // DAY, end // DAY + 1)}
    into.negatives += sum(1 for day in range(minutes // DAY) if day not in covered)
    into.taken += len({minute // DAY for minute in false} - covered)
