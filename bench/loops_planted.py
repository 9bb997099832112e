"""Loops of four kinds planted into real runs, made of the runs' own steps; what is planted is written down with it.

exact: one step with its answer again and again. cycle: two to four steps in turn. near: one step, with what is volatile
in it changed, or said in other words. no_progress: known steps in a new order, thinking aloud, or other questions that
all bring the same nothing, while the context grows. A step is a message of the model with what answers it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from bench.loops_material import Case, Message, calls_of
from bench.loops_rewording import identifier, moment, path, renumbered, reworded

Step = list[Message]
KINDS: Final = ("exact", "cycle", "near_volatile", "near_reworded", "no_progress")

_FIELDS: Final = (
    "clientRef",
    "request_id",
    "x_trace",
    "idempotencyKey",
    "attemptToken",
    "sent",
    "workdir",
    "corr",
    "seq",
)


def plant(kind: str, name: str, messages: list[Message]) -> Case:
    """A run with a loop of a kind; the same every time for the same run."""
    dice = Random(f"{kind}:{name}")
    head, steps = _cut(messages)
    length = dice.randint(2, min(4, max(2, len(steps)))) if kind == "cycle" else 1
    begin = dice.randrange(max(1, len(steps) - length + 1))
    block = steps[begin : begin + length]
    before = [one for step in steps[:begin] for one in step]
    after = [one for step in steps[begin + length :] for one in step] if dice.random() < 0.5 else []
    times = dice.randint(24, 32) if kind == "no_progress" else dice.randint(10, 18)
    makers: dict[str, Callable[[], list[Step]]] = {
        "exact": lambda: [copy.deepcopy(block[0]) for _ in range(times)],
        "cycle": lambda: [copy.deepcopy(step) for _ in range(times) for step in block],
        "near_volatile": lambda: _volatile(block[0], times, dice),
        "near_reworded": lambda: _in_other_words(block[0], times, dice),
        "no_progress": lambda: _nowhere(steps[: begin + 1], times, dice),
    }
    looping = makers[kind]()
    first = sum(one["role"] == "assistant" for one in before)
    if kind == "no_progress":
        # The run's own steps stand; the loop comes after them.
        before, first = [*before, *block[0]], first + 1
    planted = [one for step in looping for one in step]
    calls = calls_of(f"{kind}-{name}", [*head, *before, *planted, *after])
    rounds = list(range(first, first + len(looping), length))
    return Case(f"{kind}-{name}", kind, calls, first, rounds, len(calls) - first - len(looping))


def untouched(name: str, messages: list[Message]) -> Case:
    """The run as it was."""
    return Case(name, "untouched", calls_of(name, messages))


def _cut(messages: list[Message]) -> tuple[list[Message], list[Step]]:
    """What comes before the model's first message, and its steps."""
    places = [place for place, one in enumerate(messages) if one["role"] == "assistant"]
    ends = [*places[1:], len(messages)]
    return list(messages[: places[0]]), [list(messages[a:b]) for a, b in zip(places, ends, strict=True)]


def _volatile(step: Step, times: int, dice: Random) -> list[Step]:
    """The same step, each time with other identifiers, numbers and paths."""
    # Some agents only add what is volatile; others ask with other numbers and get them back.
    share, noise = dice.choice(((0.0, 0.0), (0.0, 0.3), (1.0, 0.0), (1.0, 0.3)))
    if _is_sum(step):
        # Other numbers make another sum, and its result is news.
        share = noise = 0.0
    fields = dice.sample(_FIELDS, dice.randint(1, 3))
    kinds: tuple[Callable[[Random], Any], ...] = (identifier, identifier, path, moment)
    makers = [dice.choice(kinds) for _ in fields]
    return [_one_volatile(step, share, noise, fields, makers, dice) for _ in range(times)]


def _is_sum(step: Step) -> bool:
    """Whether a step asks for nothing but numbers."""
    calls = step[0].get("tool_calls") or []
    values = [str(value) for call in calls for value in json.loads(call["function"]["arguments"]).values()]
    return bool(values) and not any(one.isalpha() for value in values for one in value)


def _one_volatile(
    step: Step, share: float, noise: float, fields: list[str], makers: list[Callable[[Random], Any]], dice: Random
) -> Step:
    known: dict[str, str] = {}
    out: Step = []
    for message in copy.deepcopy(step):
        if message.get("tool_calls"):
            for call in message["tool_calls"]:
                text = renumbered(call["function"]["arguments"], dice, share, known)
                arguments = json.loads(text)
                for field, make in zip(fields, makers, strict=True):
                    arguments[field] = make(dice)
                call["function"]["arguments"] = json.dumps(arguments)
        elif isinstance(message.get("content"), str):
            # What the question changed is changed in the answer, too; other numbers now and then.
            content = renumbered(message["content"], dice, 0.0, dict(known) if share else {})
            content = renumbered(content, dice, noise, {}) if noise else content
            if message["role"] == "assistant" or dice.random() < 0.5:
                content += dice.choice((f" (ref {identifier(dice)})", f" [{path(dice)}]", f" - {moment(dice)}"))
            message["content"] = content
        out.append(message)
    return out


def _in_other_words(step: Step, times: int, dice: Random) -> list[Step]:
    """The same step, each time said in other words; results stay as they are.

    In a run without tools it is a person who answers, in other words too, or the program that drives the agent.
    """
    driven = dice.choice(("", "Continue.", "Please proceed with the next step.", "OK"))
    out = []
    for _ in range(times):
        again = copy.deepcopy(step)
        for message in again:
            if message.get("tool_calls"):
                for call in message["tool_calls"]:
                    arguments = json.loads(call["function"]["arguments"])
                    call["function"]["arguments"] = json.dumps(
                        {k: reworded(v, dice) if isinstance(v, str) and " " in v else v for k, v in arguments.items()}
                    )
                message["content"] = reworded("I will now look for the details again and check the result.", dice)
            elif message["role"] in ("assistant", "user") and isinstance(message.get("content"), str):
                by_program = driven and message["role"] == "user"
                message["content"] = driven if by_program else reworded(message["content"], dice)
        out.append(again)
    return out


def _nowhere(steps: list[Step], times: int, dice: Random) -> list[Step]:
    """Steps by which nothing is learned, none of them a repetition of the one before."""
    kind = dice.randrange(3)
    tools = [step for step in steps if step[0].get("tool_calls")]
    if kind == 0 and len(steps) > 1:
        pool = steps[-5:]
        return [copy.deepcopy(dice.choice(pool)) for _ in range(times)]
    if kind == 1 or not tools:
        plans = (
            "I should look at the details of the reservation again before I decide what to do.",
            "Let me think about which option would be the best one for the customer here.",
            "I need to make sure that the policy allows this change before I proceed with it.",
        )
        return [
            [
                {"role": "assistant", "content": reworded(dice.choice(plans), dice)},
                {"role": "user", "content": dice.choice(("Continue.", "Go on.", "Please continue with the task."))},
            ]
            for _ in range(times)
        ]
    nothing = dice.choice(("[]", '{"results": []}', "No results found.", '{"count": 0, "items": []}'))
    words = (
        "window aisle morning evening cheapest direct business economy summer refund upgrade weekend early late".split()
    )
    return [
        [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "function": {
                            "name": "search_notes",
                            "arguments": json.dumps({"query": " ".join(dice.sample(words, 3))}),
                        }
                    }
                ],
            },
            {"role": "tool", "name": "search_notes", "content": nothing},
        ]
        for _ in range(times)
    ]
