"""`bench anomaly`: from the producer's send to receipt by a plain consumer, at 500 events/s with loops among them.

Twice: with nothing else to do, and with redaction (with NER) at full load behind a backlog of text. And how long after
its event a row is durable, patterns only: from the append of the event to the append of the ledger's DONE.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.events import encoded, events
from bench.figures import Report
from bench.marks import row_delays_ms
from bench.servers import ends, fill, installation
from pipeline.cli.supervisor import Supervisor
from pipeline.cli.worker import STAGES
from pipeline.intake.identify import Identifiers
from pipeline.keys import load
from pipeline.settings import Settings

RATE: Final = 500
LOOP_EVERY: Final = 25  # every 25th event is a step of a looping run
LOOP_STEPS: Final = 12
BACKLOG: Final = 12_000
BACKLOG_CHARS: Final = 1_500


def run(quick: bool = False) -> Report:
    """Both anomaly delays and the row delay."""
    report = Report("anomaly")
    seconds = 20 if quick else 60
    for figure, behind in (("delay_p99_ms", False), ("delay_p99_ms_redaction_behind", True)):
        with installation({"TOKENTRAIL_NER": "true"}) as (_, settings, folder):
            delays, missing, notes = _loops(settings, folder, seconds, behind)
        _percentiles(report, figure, delays)
        report.notes.append(f"{figure}: {len(delays)} loops found, {missing} not found within 20 s; {notes}")
    with installation({"TOKENTRAIL_NER": "false"}) as (_, settings, folder):
        supervisor = Supervisor(settings, folder, STAGES)
        supervisor.start()
        try:
            _warm(settings, supervisor)
            first = ends(settings, settings.topic("calls.raw"))
            _steady(settings, seconds)
            time.sleep(5)
            rows = row_delays_ms(settings, first)
        finally:
            supervisor.stop()
    _percentiles(report, "row_delay_p99_ms", rows)
    report.notes.append(f"row_delay: {len(rows)} events at {RATE}/s, patterns only, event's append to DONE's append")
    return report


def _percentiles(report: Report, name: str, delays: Sequence[float]) -> None:
    ordered = sorted(delays)
    report.add(name, [ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]], "ms")
    report.add(name.replace("p99", "p50"), [statistics.median(ordered)], "ms")
    report.add(name.replace("p99", "max"), [ordered[-1]], "ms")


def _loops(settings: Settings, folder: Any, seconds: int, behind: bool) -> tuple[list[float], int, str]:
    supervisor = Supervisor(settings, folder, STAGES)
    supervisor.start()
    received: dict[str, float] = {}
    stop = threading.Event()
    listener = threading.Thread(target=_listen, args=(settings, received, stop))
    listener.start()
    try:
        _warm(settings, supervisor)
        note = "redaction idle"
        if behind:
            fill(settings, settings.topic("calls.raw"), encoded(BACKLOG, BACKLOG_CHARS, seed=7))
            time.sleep(5)  # measure is through with it in seconds, redaction has minutes to go
        sent = _steady(settings, seconds)
        if behind:
            raw = sum(ends(settings, settings.topic("calls.raw")).values())
            left = raw - sum(ends(settings, settings.topic("calls")).values())
            note = f"redaction {left} records behind at the end"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and len(received) < len(sent):
            time.sleep(0.1)
    finally:
        stop.set()
        listener.join()
        supervisor.stop()
    who = Identifiers(load(settings), lambda _: True)
    delays = []
    for (tenant, name), times in sent.items():
        found = received.get(who.hashed(tenant, "run", name) or "")
        if found is not None:
            # The step that made it a loop is the third equal one, or the first after it that was enough.
            delays.append((found - times[2]) * 1000)
    return delays, len(sent) - len(delays), note


def _steady(settings: Settings, seconds: int) -> dict[tuple[str, str], list[float]]:
    """Send `RATE` events a second; returns for each looping run when its steps were sent (monotonic seconds)."""
    producer = Producer(
        settings.librdkafka(**{"partitioner": "murmur2_random", "linger.ms": 5, "acks": "all"}),
    )
    sent: dict[tuple[str, str], list[float]] = {}
    begun = time.monotonic()
    loops = 0
    for number, event in enumerate(events(RATE * seconds, 200, seed=3)):
        due = begun + number / RATE
        now = time.monotonic()
        if due > now:
            producer.poll(due - now)
        event["ts"] = int(time.time() * 1000)
        if number % LOOP_EVERY == 0 and number < RATE * (seconds - 5):
            run = f"loop-{loops // LOOP_STEPS}"
            loops += 1
            event |= {
                "run": run,
                "tenant": "looper",
                "tool_calls": [{"name": "search", "arguments": {"q": "weather in Paris"}, "result": "no results"}],
                "output": "",
            }
            sent.setdefault(("looper", run), []).append(time.monotonic())
        producer.produce(settings.topic("calls.raw"), json.dumps(event), f"{event['tenant']}\x1f{event['run']}")
    producer.flush(30)
    return {key: times for key, times in sent.items() if len(times) == LOOP_STEPS}


def _listen(settings: Settings, received: dict[str, float], stop: threading.Event) -> None:
    """Note when the first revision of each run's loop arrives."""
    consumer = Consumer(settings.librdkafka(**{"group.id": "bench-listener", "fetch.wait.max.ms": 50}))
    consumer.assign([TopicPartition(settings.topic("anomalies"), 0, 0)])
    while not stop.is_set():
        message = consumer.poll(0.2)
        if message is None or message.error():
            continue
        now = time.monotonic()
        anomaly = json.loads(message.value())
        if anomaly["rule"] == "loop.runaway":
            received.setdefault(anomaly["subject"].get("run", ""), now)
    consumer.close()


def _warm(settings: Settings, supervisor: Supervisor) -> None:
    """Until every stage has worked something off."""
    fill(settings, settings.topic("calls.raw"), encoded(200, 200, seed=9))
    end = time.monotonic() + 90
    while sum(ends(settings, settings.topic("ledger")).values()) == 0:
        if time.monotonic() > end or supervisor.tend() is not None:
            raise RuntimeError("the stages did not start; see their logs")
        time.sleep(0.2)
    time.sleep(3)
