"""Events out of other people's material for `bench e2e`: answers of models, and tool-using runs with their history."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any, Final

import orjson

from bench.material import DATA

BASE_MS: Final = 1_763_683_200_000


def encoded(source: str, limit: int) -> list[tuple[bytes, bytes]]:
    """(key, value) of at most so many events of a source (`tau` or `arena`); empty where it is not there."""
    events = {"tau": _tau, "arena": _arena}[source]()
    chosen = [event for event, _ in zip(events, range(limit), strict=False)]
    return [(f"{e['tenant']}\x1f{e['run']}".encode(), orjson.dumps(e)) for e in chosen]


def _event(number: int, rng: random.Random, run: str, step: int, **more: Any) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=rng.getrandbits(128))), "kind": "call", "ts": BASE_MS + number * 1000,
        "tenant": "bench", "environment": "prod", "service": "bench", "feature": "chat", "run": run, "step": step,
        "user": f"user-{number % 50}", "provider": "openai", "model": "gpt-4o", "latency_ms": 812.5, "status": "ok",
        "usage": {"input": 900, "output": 200}, "finish_reason": "stop", **more,
    }  # fmt: skip


def _tau() -> Iterator[dict[str, Any]]:
    file = DATA / "agents" / "tau_bench" / "gpt-4o-airline.json"
    if not file.exists():
        return
    rng, number = random.Random(1), 0
    for run in json.loads(file.read_text()):
        step = 0
        for i, message in enumerate(run["traj"]):
            if message["role"] != "assistant":
                continue
            calls = [
                {"name": c["function"]["name"], "arguments": c["function"]["arguments"]}
                for c in message.get("tool_calls") or []
            ]
            more = {"tool_calls": calls} if calls else {}
            yield _event(
                number, rng, f"tau-{run['task_id']}-{run['trial']}", step, input=run["traj"][:i],
                output=[{"role": "assistant", "content": message.get("content")}], **more,
            )  # fmt: skip
            number, step = number + 1, step + 1


def _arena() -> Iterator[dict[str, Any]]:
    rng, number = random.Random(2), 0
    for file in sorted((DATA / "text").glob("arena_hard/**/model_answer/*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            answer = row["messages"][-1]["content"]
            text = answer["answer"] if isinstance(answer, dict) else answer
            yield _event(
                number, rng, f"arena-{number}", 0,
                input=[{"role": m["role"], "content": m["content"]} for m in row["messages"][:-1]],
                output=[{"role": "assistant", "content": text}],
            )  # fmt: skip
            number += 1
