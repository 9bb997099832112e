"""Loop rules that others have published, as far as what they say can be applied to a run's calls, to stand beside ours.

three_equal: the same call three times in a row (the naive rule). by_count: the same tool with the same arguments,
white space aside, three times in a run, wherever (OpenLIT, pull request 1494). by_pairs: the same call three times in a
row, or the same two calls in turn three times (ClawMetry, pull request 3011). None of them looks at results.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from bench.loops_material import Call, Case
from pipeline.detection.messages import calls_in, said

Rule = Callable[[Sequence[str]], bool]


def three_equal(done: Sequence[str]) -> bool:
    """Whether the last three calls are the same."""
    return len(done) >= 3 and len(set(done[-3:])) == 1


def by_count(done: Sequence[str]) -> bool:
    """Whether the last call has been made three times in the run."""
    return bool(done) and Counter(done)[done[-1]] >= 3


def by_pairs(done: Sequence[str]) -> bool:
    """Whether the last call was made three times in a row, or the last two in turn."""
    pair = list(done[-2:])
    return three_equal(done) or (len(done) >= 6 and list(done[-4:-2]) == pair == list(done[-6:-4]))


RULES: Final[dict[str, Rule]] = {"naive": three_equal, "by_count": by_count, "by_pairs": by_pairs}


def found_at(rule: Rule, case: Case) -> int | None:
    """Index of the call at which a rule speaks; None where it does not."""
    done: list[str] = []
    for place, call in enumerate(case.calls):
        what = _what(call)
        if what is not None:
            done.append(what)
            if rule(done):
                return place
    return None


def _what(call: Call) -> str | None:
    """What a call did, in one line: its tools with their arguments, else what it said."""
    event = call.event
    tools = event.tool_calls or calls_in(event.output)
    if tools:
        return " ".join(" ".join(f"{one.name} {_plain(one.arguments)}".split()) for one in tools)
    text = said(event.output)
    return " ".join(text.split()) if text else None


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
