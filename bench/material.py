"""Other people's texts that the benches of redaction read where they lie, and made ones where they are not there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"


def answers(folder: Path) -> dict[tuple[str, str], str]:
    """Answers of language models by (file, question); empty where the folder is missing."""
    found = {}
    for file in sorted(folder.glob("arena_hard/**/model_answer/*.jsonl")):
        for line in file.read_text().splitlines():
            one = json.loads(line)
            parts: list[str] = []
            _collect(one.get("choices") or one.get("messages"), parts)
            if text := "\n".join(parts):
                found[file.name, str(one.get("question_id") or one.get("uid"))] = text
    return found


def _collect(value: Any, parts: list[str]) -> None:
    if isinstance(value, str):
        parts.append(value)
    elif isinstance(value, list):
        for item in value:
            _collect(item, parts)
    elif isinstance(value, dict):
        _collect(value.get("content", value.get("turns", value.get("answer"))), parts)


def texts(size: int, count: int) -> list[str]:
    """Pieces of one size out of the answers of three models, evenly spread; made text where they are not there."""
    from bench.events import text

    stream = "\n".join(answers(DATA / "text").values())
    if not stream:
        rng = random.Random(5)
        return [text(rng, size) for _ in range(count)]
    step = (len(stream) - size) // count
    return [stream[i * step : i * step + size] for i in range(count)]


def chats(limit: int) -> list[list[str]]:
    """The texts of each call of tool-using runs: every call repeats the history before it."""
    file = DATA / "agents" / "tau_bench" / "gpt-4o-airline.json"
    if not file.exists():
        return [[f"turn {n}: please look up booking {n * 7919}" for n in range(i + 1)] for i in range(20)]
    calls: list[list[str]] = []
    for run_ in json.loads(file.read_text())[:limit]:
        seen: list[str] = []
        for message in run_["traj"]:
            content = message.get("content")
            arguments = [c["function"]["arguments"] for c in message.get("tool_calls") or []]
            now = [*([content] if content else []), *arguments]
            if message["role"] == "assistant":
                calls.append([*seen, *now])
            seen += now
    return calls
