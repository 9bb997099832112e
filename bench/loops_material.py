"""Real agents' runs for `bench detection` (b), from material that stays outside the project, and how a run is watched.

A run is a list of messages; an agent's call is each message of the model, with everything before it as its input.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.audit.positions import Mark
from pipeline.detection.fingerprint import loop_marks
from pipeline.detection.loop_runaway import LoopRunaway
from pipeline.detection.loops import LoopWatch
from schemas.event import Event
from schemas.fact import Fact
from schemas.position import Position

Message = dict[str, Any]

SHARED: Final = Path(__file__).parents[2] / "shared" / "data" / "agents"
NOON_MS: Final = 1_763_726_400_000
STEP_MS: Final = 2_000
KEY: Final = b"a key for benchmarks, of no tenant"
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")
# US dollars a token, in nano-dollars: as a middling model costs.
_NANO_A_TOKEN: Final = 2_500
_NANO_A_TOKEN_OUT: Final = 10_000


@dataclass(frozen=True)
class Call:
    """One call of a run, ready to be watched: what the event says, and when."""

    event: Event
    at_ms: int


@dataclass
class Case:
    """A run with what is known of it.

    Attributes:
        name: Of the run; the same in every run of the bench.
        source: Kind of run, as it stands in the figures.
        calls: Its calls in order.
        begins: Index of the call that begins the loop's first round; None where there is no loop.
        rounds: Index of the call that begins each round, the first one included.
        tail: Calls after the last round.
    """

    name: str
    source: str
    calls: list[Call]
    begins: int | None = None
    rounds: list[int] = field(default_factory=list)
    tail: int = 0


def available() -> bool:
    """Whether the material is beside the checkout."""
    return (SHARED / "tau_bench").is_dir()


def tau() -> list[tuple[str, list[Message]]]:
    """200 runs of an agent with tools, without loops: (name, messages)."""
    runs = json.loads((SHARED / "tau_bench" / "gpt-4o-airline.json").read_text())
    return [(f"tau-{run['task_id']}-{run['trial']}", run["traj"]) for run in runs]


def magentic() -> list[Case]:
    """58 runs of several agents; the loop begins where their own orchestrator first said so."""
    labels = {}
    for line in (SHARED / "who_and_when" / "loop_labels.jsonl").read_text().splitlines():
        row = json.loads(line)
        labels[Path(row["file"]).stem] = sorted(turn["i"] for turn in row["turns"] if turn["in_loop"])
    cases = []
    for path in sorted((SHARED / "who_and_when" / "Hand-Crafted").glob("*.json"), key=lambda one: int(one.stem)):
        history = json.loads(path.read_text())["history"]
        calls = [
            _call(
                f"magentic-{path.stem}",
                place,
                [{"role": one["role"], "content": one["content"]} for one in history[max(0, place - 1) : place]],
                {"role": "assistant", "name": message["role"], "content": message["content"]},
            )
            for place, message in enumerate(history)
        ]
        looping = labels.get(path.stem, [])
        cases.append(Case(f"magentic-{path.stem}", "magentic", calls, looping[0] if looping else None))
    return cases


@lru_cache(maxsize=1)
def prose() -> tuple[tuple[str, ...], ...]:
    """Answers of real models, each as its sentences, those of at least six words."""
    answers = []
    for path in sorted((SHARED.parent / "text/arena_hard/arena-hard-v0.1/model_answer").glob("gpt-4-*.jsonl")):
        for line in path.read_text().splitlines():
            answer = json.loads(line)["messages"][-1]["content"]
            text = answer["answer"] if isinstance(answer, dict) else answer
            found = tuple(one for one in _SENTENCE.split(text) if one.count(" ") >= 5 and "```" not in one)
            if len(found) >= 4:
                answers.append(found)
    return tuple(answers)


def calls_of(name: str, messages: Sequence[Message], step_ms: int = STEP_MS) -> list[Call]:
    """A run's calls: each message of the model, with all before it as input."""
    found: list[Call] = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            found.append(_call(name, len(found), list(messages[:place]), message, step_ms))
    return found


def _call(name: str, number: int, given: list[Message], message: Message, step_ms: int = STEP_MS) -> Call:
    body = {
        "tenant": "acme",
        "feature": "agent",
        "run": name,
        "input": given,
        "output": [{"role": "assistant", "content": message.get("content")}],
        "tool_calls": [
            {"name": one["function"]["name"], "arguments": one["function"]["arguments"]}
            for one in message.get("tool_calls") or ()
        ]
        or None,
        "latency_ms": 900.0,
    }
    return Call(msgspec.convert(body, Event), NOON_MS + number * step_ms)


def facts(case: Case, key: bytes = KEY) -> Iterator[Fact]:
    """What `measure` would say of a run's calls."""
    for offset, call in enumerate(case.calls):
        event = call.event
        given, made = len(msgspec.json.encode(event.input)) // 4, len(msgspec.json.encode(event.output)) // 4
        yield Fact(
            type="call",
            position=Position(1, 0, offset),
            first=0,
            received_at=call.at_ms,
            ts=call.at_ms,
            tenant=event.tenant,
            feature=event.feature,
            run=event.run,
            session=event.session,
            status=event.status,
            error_type=event.error.type if event.error else None,
            retry_after_s=event.error.retry_after_s if event.error else None,
            latency_ms=event.latency_ms,
            input_tokens=given,
            output_tokens=made,
            cost_nano_usd=given * _NANO_A_TOKEN + made * _NANO_A_TOKEN_OUT,
            loop=loop_marks(event, key),
        )


def found_at(case: Case) -> int | None:
    """Index of the call at which our rule opens a finding; None where it does not."""
    watch = LoopWatch(Mark(1, 0))
    for place, fact in enumerate(facts(case)):
        if any(one.state == "open" and one.rule == LoopRunaway.rule for one in watch.fold(fact)):
            return place
    return None


def is_tuned_on(name: str) -> bool:
    """Whether a run belongs to the half on which parameters were chosen; by its name, so that it never moves."""
    return zlib.crc32(name.encode()) % 2 == 0
