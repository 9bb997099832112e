"""`bench transport`: events for a CPU second, our range transport beside stock Faust, on one topic, in turn."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from confluent_kafka.admin import AdminClient, NewTopic

from bench.events import encoded
from bench.figures import Report, last_json
from bench.servers import fill, installation
from pipeline.settings import Settings

TEXT_CHARS = 500


def run(quick: bool = False) -> Report:
    """Fill one topic, read it several times by each side in turn."""
    events, rounds = (20_000, 1) if quick else (100_000, 5)
    report = Report("transport")
    records = encoded(events, TEXT_CHARS)
    size = sum(len(value) for _, value in records) / len(records)
    with installation() as (_, settings, _folder):
        topic = "bench.transport"
        admin = AdminClient(settings.librdkafka())
        for future in admin.create_topics([NewTopic(topic, 4, 1)]).values():
            future.result()
        fill(settings, topic, records)
        del records
        ours: list[dict[str, float]] = []
        theirs: list[dict[str, float]] = []
        for _ in range(rounds):
            ours.append(_read(settings, topic, "range", events))
            theirs.append(_read(settings, topic, "stock", events))
    by_cpu = [one["events"] / one["cpu_s"] for one in ours]
    by_cpu_stock = [one["events"] / one["cpu_s"] for one in theirs]
    ratios = [a / b for a, b in zip(by_cpu, by_cpu_stock, strict=True)]
    report.add("cpu_ratio_stock_faust", ratios, "1", ratio=round(sorted(ratios)[len(ratios) // 2], 2))
    rates = [one["events"] / one["wall_s"] for one in ours]
    stock_rates = [one["events"] / one["wall_s"] for one in theirs]
    report.add("events_per_s", rates, "1/s", against=round(sorted(stock_rates)[len(stock_rates) // 2]))
    report.add(
        "cpu_us", [1e6 / rate for rate in by_cpu], "us", against=round(1e6 / sorted(by_cpu_stock)[rounds // 2], 1)
    )
    report.notes.append(
        f"{events} events of {size:.0f} bytes, one a record, 4 partitions, {rounds} rounds in turn; each side decodes "
        "every event with the same msgspec decoder, acknowledges and commits; CPU from the first event to the last."
    )
    return report


def _read(settings: Settings, topic: str, kind: str, events: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:  # stock Faust makes a data folder where it stands
        done = subprocess.run(
            [
                sys.executable, "-W", "ignore", "-m", "bench.reader", "--kind", kind,
            "--bootstrap", settings.kafka_bootstrap, "--topic", topic, "--count", str(events),
        ],
        capture_output=True, text=True, cwd=folder, timeout=180, check=True,
    )  # fmt: skip
    return last_json(done.stdout)
