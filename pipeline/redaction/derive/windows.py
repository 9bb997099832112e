"""The rarest run of neighbouring character classes that stands in every match of a pattern. Pure."""

from __future__ import annotations

import re._constants as op  # type: ignore[import-not-found]
from typing import Any, Final

from pipeline.redaction.derive.charset import render_class
from pipeline.redaction.derive.walk import REPEATS, Walk

_MOST_WINDOW: Final = 8
_MOST_OPTIONS: Final = 4_000
# How often a character turns up in prose and code, roughly; only to choose among windows, never for what is true.
_COMMON: Final = {" ": 0.16, "\n": 0.02, ".": 0.012, ",": 0.012, "-": 0.006, "_": 0.004, ":": 0.004, "/": 0.004}

Classes = list[frozenset[str]]


def rarest(walk: Walk, tree: Any) -> str:
    """The run as an expression; empty if there is none."""
    _, _, runs = _runs(walk, tree)
    best, likely = "", 1.0
    for run in runs:
        for first in range(len(run)):
            chance = 1.0
            for last in range(first, min(len(run), first + _MOST_WINDOW)):
                chance *= _chance(run[last])
                # Longer is not dearer to search for, and never likelier.
                if chance < likely:
                    best, likely = "".join(render_class(c) for c in run[first : last + 1]), chance
    return best


def _runs(walk: Walk, tree: Any) -> tuple[Classes, bool, list[Classes]]:
    """(classes that every match begins with, whether that is all of it, all runs in every match)."""
    finished: list[Classes] = []
    current: Classes = []
    prefix: Classes | None = None
    for code, value in tree:
        start, exact, inner = _runs_of(walk, code, value)
        current = current + start
        finished += inner
        if not exact:
            prefix = current if prefix is None else prefix
            finished.append(current)
            current = _tail_of(walk, code, value)
    finished.append(current)
    return (current if prefix is None else prefix), prefix is None, [run for run in finished if run]


def _runs_of(walk: Walk, code: Any, value: Any) -> tuple[Classes, bool, list[Classes]]:
    taken = walk.chars(code, value)
    if taken is not None:
        return [taken], True, []
    if code is op.SUBPATTERN:
        with walk.group(value) as inner:
            return _runs(walk, inner)
    if code is op.ATOMIC_GROUP:
        return _runs(walk, value)
    if code in REPEATS:
        least, most, inner = int(value[0]), value[1], value[2]
        if least == 0:
            return [], False, []
        start, exact, runs = _runs(walk, inner)
        if not exact:
            return start, False, runs
        return start * min(least, _MOST_WINDOW), least == most and least <= _MOST_WINDOW, []
    if code is op.BRANCH:
        if len(value[1]) > _MOST_OPTIONS:
            return [], False, []
        parts = [_runs(walk, branch) for branch in value[1]]
        size = min(len(start) for start, _, _ in parts)
        merged = [frozenset().union(*(start[i] for start, _, _ in parts)) for i in range(size)]
        return merged, all(exact and len(start) == size for start, exact, _ in parts), []
    if code in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return [], True, []
    return [], False, []


def _tail_of(walk: Walk, code: Any, value: Any) -> Classes:
    """Classes that every match of a node of changing length ends with, as far as they are known."""
    if code in REPEATS and int(value[0]) > 0:
        start, exact, _ = _runs(walk, value[2])
        return start * min(int(value[0]), _MOST_WINDOW) if exact else []
    return []


def _chance(chars: frozenset[str]) -> float:
    total = 0.0
    for char in chars:
        if char in _COMMON:
            total += _COMMON[char]
        elif "a" <= char <= "z":
            total += 0.03
        elif "A" <= char <= "Z":
            total += 0.004
        elif "0" <= char <= "9":
            total += 0.003
        else:
            total += 0.0015
    return min(total, 0.99)
