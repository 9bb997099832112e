"""Events for the benches: seeded, of a stated size, with as much personal data as ordinary support chats hold."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

import orjson

WORDS = (
    "please could you explain why the invoice for order was charged twice on my account last week and how do I get a "
    "refund because the package arrived late and one item was missing from the box when I opened it in the office also "
    "the tracking page says delivered but nobody signed for it so I would like to talk to someone about that thank you "
    "the model suggests restarting the service after changing the timeout in the configuration file then check the logs"
).split()
NAMES = "Maria Lopez|John Carter|Aisha Khan|Peter Novak|Yuki Tanaka|Emma Brown|Liam Walsh|Sofia Rossi".split("|")


def text(rng: random.Random, chars: int) -> str:
    """Plain words with a name, an address or a number now and then (about one finding in 600 characters)."""
    parts: list[str] = []
    length = 0
    while length < chars:
        draw = rng.random()
        if draw < 0.003:
            part = f"{rng.choice(NAMES)}"
        elif draw < 0.005:
            part = f"user{rng.randrange(10_000)}@example.com"
        elif draw < 0.006:
            part = f"(202) 555-01{rng.randrange(100):02d}"
        else:
            part = rng.choice(WORDS)
        parts.append(part)
        length += len(part) + 1
    return " ".join(parts)[:chars]


def events(count: int, text_chars: int, seed: int = 1, tenants: int = 8) -> Iterator[dict[str, Any]]:
    """Calls with `text_chars` characters of text each, half prompt and half answer; no text twice."""
    rng = random.Random(seed)
    now = int(time.time() * 1000)
    for number in range(count):
        yield {
            "id": str(uuid.UUID(int=rng.getrandbits(128))),
            "kind": "call",
            "ts": now,
            "tenant": f"tenant-{number % tenants}",
            "environment": "prod",
            "service": "bench",
            "feature": f"feature-{number % 3}",
            "run": f"run-{number // 5}",
            "step": number % 5,
            "user": f"user-{rng.randrange(500)}",
            "provider": "openai",
            "model": "gpt-4o",
            "input": [{"role": "user", "content": text(rng, text_chars // 2)}],
            "output": [{"role": "assistant", "content": text(rng, text_chars - text_chars // 2)}],
            "usage": {"input": 200 + rng.randrange(800), "output": 50 + rng.randrange(300)},
            "latency_ms": round(rng.lognormvariate(6.5, 0.4), 1),
            "status": "ok",
            "finish_reason": "stop",
        }


def encoded(count: int, text_chars: int, seed: int = 1) -> list[tuple[bytes, bytes]]:
    """(key, value) of each event."""
    return [
        (f"{event['tenant']}\x1f{event['run']}".encode(), orjson.dumps(event))
        for event in events(count, text_chars, seed)
    ]
