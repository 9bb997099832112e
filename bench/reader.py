"""One Faust worker that decodes every event of a topic, by our range transport or by the stock one.

A process of its own for each run: prints one JSON object with events, wall and CPU seconds from the first event to the
last, and ends. Both sides decode with the same decoder and acknowledge and commit what they have read.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from typing import Any

import faust
import mode
import msgspec

from bench.clock import cpu_s
from pipeline.transport.plugin import CODEC
from schemas.event import Event


def main() -> None:
    """Read `--count` events of `--topic`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=["range", "stock"], required=True)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    ranges = options.kind == "range"
    app = faust.App(
        f"bench-{options.kind}-{os.getpid()}",
        broker=f"kafka{'+range' if ranges else ''}://{options.bootstrap}",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=2000,
        stream_buffer_maxsize=8 if ranges else 8192,
        agent_supervisor=mode.CrashingSupervisor,
    )
    topic = app.topic(
        options.topic,
        value_serializer=CODEC if ranges else "raw",
        key_serializer="raw",
        value_type=None if ranges else bytes,
    )
    decode = msgspec.json.Decoder(Event).decode
    state: dict[str, Any] = {"done": 0, "wall": 0.0, "cpu": 0.0}

    def count(events: int) -> None:
        state["done"] += events
        if state["done"] >= options.count:
            spent = {"wall_s": time.perf_counter() - state["wall"], "cpu_s": cpu_s() - state["cpu"]}
            os.write(
                1, b"\n" + json.dumps({"events": state["done"], **spent}).encode() + b"\n"
            )  # Faust takes print away
            os._exit(0)

    def begin() -> None:
        if not state["done"]:
            state["wall"], state["cpu"] = time.perf_counter(), cpu_s()

    if ranges:

        @app.agent(topic, concurrency=1)  # type: ignore[untyped-decorator]
        async def by_range(stream: Any) -> None:
            async for event in stream.noack().events():
                begin()
                for record in event.value.records:
                    decode(record.value)
                event.ack()
                count(len(event.value.records))

    else:

        @app.agent(topic, concurrency=1)  # type: ignore[untyped-decorator]
        async def by_event(stream: Any) -> None:
            async for value in stream:
                begin()
                decode(value)
                count(1)

    sys.argv = ["reader", "worker", "--loglevel", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
