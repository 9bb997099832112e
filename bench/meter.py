"""`bench meter`: what an event and a key cost `meter`, `judge` and `guard`, in memory and in processor time.

10,000 keys (tenants, providers, features, models, prompts, variants, users) with four weeks of history, so that every
window and baseline is filled, and then a million events of 100,000 runs at 500 events/s of event time on four
partitions. Everything that the stages do for an event is counted but Kafka: decoding the fact, folding it, encoding
what is published, decoding that again, merging, judging by every rule, closing windows and encoding them. Each stage
runs in a process of its own, as it does in service, so that the memory of one is not taken for that of another.
"""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from bench.clock import cpu_s
from bench.figures import Report
from pipeline.audit.positions import Mark
from pipeline.detection.judging import Judge
from pipeline.detection.loops import LoopWatch
from pipeline.windows.partials import PartialFold, records
from schemas.fact import Fact, Loop
from schemas.partial import Bucket, Cell, Partials, Quality, Shape, Source
from schemas.position import Position

PARTITIONS: Final = 4
RATE: Final = 500
FLUSHES_A_SECOND: Final = 5
GLIMPSES_A_FLUSH: Final = 40 // PARTITIONS
DECILES: Final = 10
DAY_MS: Final = 86_400_000
MIDNIGHT_MS: Final = 20_400 * DAY_MS
STATUSES: Final = ("ok",) * 60 + ("error", "timeout", "rate_limited", "refused")
LABELS: Final = ("billing", "delivery", "complaint", "praise", "other")

_encode = msgspec.json.Encoder().encode
_fact = msgspec.json.Decoder(Fact).decode
_partials = msgspec.json.Decoder(Partials).decode


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    tenants: int
    users: int
    days: int
    events: int
    runs: int


FULL: Final = Size(tenants=100, users=7_000, days=28, events=1_000_000, runs=100_000)
QUICK: Final = Size(tenants=20, users=1_400, days=9, events=60_000, runs=20_000)


def run(quick: bool = False) -> Report:
    """Measure, one process after the other: the judge reads what the meters have said from a file."""
    size = QUICK if quick else FULL
    report = Report("meter")
    context = multiprocessing.get_context("spawn")
    parts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "partials"
        for name, target in (("meter", _meter), ("judge", _judge), ("guard", _guard)):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=target, args=(size, said, parts.get("meter"), sender))
            process.start()
            parts[name] = receiver.recv()
            process.join()
    meter, judge, guard = parts["meter"], parts["judge"], parts["guard"]
    report.add("event_us", meter["us"], "us")
    report.add("judge_event_us", judge["us"], "us")
    report.add("guard_event_us", guard["us"], "us")
    report.add("bytes_per_key", [judge["bytes"] / judge["keys"]], "B")
    report.add("bytes_per_key_meter", [meter["bytes"] / judge["keys"]], "B")
    report.add("bytes_busiest_key", [judge["busiest_bytes"]], "B")
    report.add("bytes_per_run", [guard["bytes"] / guard["runs"]], "B")
    report.add("snapshot_bytes_per_key", [judge["snapshot_bytes"] / judge["keys"]], "B")
    for name, part in parts.items():
        report.add(f"history_growth_{name}", [part["us"][-1] / part["us"][0]], "1")
    totals = [sum(pair) for pair in zip(meter["us"], judge["us"], strict=True)]
    report.add("history_growth", [totals[-1] / totals[0]], "1")
    report.notes.append(
        f"{judge['keys']:,} keys, {size.days} days of hours before, then {size.events:,} events of {size.runs:,} runs "
        f"at {RATE}/s of event time on {PARTITIONS} partitions, {judge['cells']:,} cells published, "
        f"{judge['windows']:,} windows; figures by tenth of the events, growth is the last over the first"
    )
    return report


# -- what happens


class World:
    """Who calls: tenants of very different sizes, each with features, models, prompts, variants and users."""

    def __init__(self, size: Size) -> None:
        dice = Random("meter")
        self.dice = dice
        models = [(provider, f"model-{n}") for n in range(10) for provider in ("openai", "anthropic", "google", "x")]
        self.routes: list[dict[str, Any]] = []
        self.weights: list[float] = []
        self.users: dict[str, list[str]] = {}
        for number in range(size.tenants):
            tenant = f"tenant-{number}"
            self.users[tenant] = [f"{dice.getrandbits(128):032x}" for _ in range(size.users // size.tenants)]
            for feature in range(5):
                for provider, model in dice.sample(models, 2):
                    self.routes.append({
                        "tenant": tenant, "feature": f"feature-{feature}", "provider": provider, "model": model,
                        "prompt_name": f"prompt-{feature}", "prompt_version": str(dice.randrange(2)),
                        "variant": dice.choice("ab"),
                    })  # fmt: skip
                    self.weights.append(1 / (1 + number) ** 0.8 * dice.uniform(0.2, 1.0))

    def facts(self, size: Size, begin_ms: int) -> Iterator[tuple[int, bytes]]:
        """(partition, encoded fact) in order of time; every run belongs to one route and one partition."""
        dice = self.dice
        offsets = [0] * PARTITIONS
        calls = size.events // size.runs
        open_runs: list[tuple[str, dict[str, Any], int, str]] = []
        for number in range(size.events):
            at_ms = begin_ms + number * 1_000 // RATE
            if len(open_runs) < 200 or dice.random() < 1 / calls:
                (route,) = dice.choices(self.routes, self.weights)
                user = dice.choice(self.users[route["tenant"]])
                run = (f"{dice.getrandbits(128):032x}", route, dice.randrange(PARTITIONS), user)
                if len(open_runs) >= 200:
                    open_runs[dice.randrange(200)] = run
                else:
                    open_runs.append(run)
            name, route, partition, user = dice.choice(open_runs)
            status = dice.choice(STATUSES)
            yield partition, _encode(_make(dice, partition, offsets[partition], at_ms, name, user, status, route))
            offsets[partition] += 1


def _make(
    dice: Random, partition: int, offset: int, at_ms: int, run: str, user: str, status: Any, route: dict[str, Any]
) -> Fact:
    cost = int(dice.lognormvariate(16, 0.6))
    return Fact(
        type="call", position=Position(1, partition, offset), first=offset, received_at=at_ms, ts=at_ms,
        environment="prod", team="core", service="api", id=f"0190{dice.getrandbits(112):028x}", run=run, user=user,
        response_model=route["model"], operation="chat", step=3, input_tokens=900, cached_tokens=500,
        output_tokens=150, latency_ms=dice.lognormvariate(7, 0.5), ttft_ms=dice.lognormvariate(5.5, 0.4), retries=0,
        streaming=True, output_chars=600, status=status, finish_reason="stop" if status == "ok" else None,
        schema_valid=True, guardrails_triggered=0, cost_nano_usd=cost, list_cost_nano_usd=cost,
        cost_source="computed", price_version="1", retrieval_requested=8, retrieval_hits=6, language="en",
        length_bucket=dice.randrange(14, 20), topics=tuple(sorted(dice.sample(range(64), 4))),
        output_label=dice.choice(LABELS), loop=Loop(actions=("a1b2c3d4e5f60718.0a0b0c0d",),
        results=(f"{dice.getrandbits(64):016x}.0a0b0c0d",),
                  output="0011223344556677.8899aabb", input_tail=f"{dice.getrandbits(64):016x}.0a0b0c0d",
                  input_messages=5),
        **route,
    )  # fmt: skip


# -- measuring


def _meter(size: Size, said: Path, _theirs: Any, out: Any) -> None:
    """Meters: the events in, a line for each record that is published out into a file."""
    world = World(size)
    folds = [PartialFold(Mark(1, 0)) for _ in range(PARTITIONS)]
    facts = world.facts(size, _begin_ms(size) + 9 * 3_600_000)
    share, chunk = size.events // DECILES, RATE // FLUSHES_A_SECOND
    before, spent_us, lines = _memory(), [], []
    with said.open("wb") as file:
        for _ in range(DECILES):
            spent, count = 0.0, 0
            for _ in range(share // chunk):
                batch = [next(facts) for _ in range(chunk)]
                begun = cpu_s()
                for partition, value in batch:
                    folds[partition].fold(_fact(value))
                values = [_encode(one) for n, fold in enumerate(folds) for one in records(fold, n, GLIMPSES_A_FLUSH)]
                spent += cpu_s() - begun
                count += len(values)
                file.writelines(value + b"\n" for value in values)
            spent_us.append(spent / share * 1e6)
            lines.append(count)
            print(f"meter {spent_us[-1]:.1f} us an event", file=sys.stderr, flush=True)
    out.send({"us": spent_us, "lines": lines, "bytes": _memory() - before})


def _judge(size: Size, said: Path, meter: Any, out: Any) -> None:
    """The judge: history, then what the meters have said."""
    world = World(size)
    judge = Judge(PARTITIONS)
    before = _memory()
    _history(judge, world, size)
    history = _memory() - before
    print(f"history of {len(judge.store.timelines):,} keys: {history / 1e6:.0f} MB", file=sys.stderr, flush=True)
    spent_us, cells, windows, log_ms = [], 0, 0, 10**9
    share = size.events // DECILES
    with said.open("rb") as file:
        for lines in meter["lines"]:
            spent = 0.0
            for value in islice(file, lines):
                log_ms += 50
                begun = cpu_s()
                record = _partials(value)
                verdict = judge.apply(record, log_ms)
                for closed in verdict.windows:
                    _encode(closed)
                spent += cpu_s() - begun
                cells += len(record.cells)
                windows += sum(len(closed.windows) for closed in verdict.windows)
            spent_us.append(spent / share * 1e6)
            print(f"judge {spent_us[-1]:.1f} us an event", file=sys.stderr, flush=True)
    held = _memory() - before
    sizes = sorted(len(msgspec.msgpack.encode(one)) for one in judge.store.timelines.values())
    out.send({
        "us": spent_us, "keys": len(sizes), "cells": cells, "windows": windows, "bytes": held,
        "snapshot_bytes": sum(sizes), "busiest_bytes": sizes[-1],
    })  # fmt: skip


def _begin_ms(size: Size) -> int:
    """The midnight after the history."""
    return MIDNIGHT_MS + size.days * DAY_MS


def _history(judge: Judge, world: World, size: Size) -> None:
    """Hours of every source for so many days: one cell an hour, as full as twelve calls make it."""
    dice = Random("history")
    names = ("tenant", "feature", "provider", "model", "prompt_name", "prompt_version", "variant")
    routes: list[Source] = [("call", *(route[name] for name in names), "prod", "core") for route in world.routes]
    users: list[Source] = [("user", tenant, user) for tenant, known in world.users.items() for user in known]
    templates = [_encode(_bucket(dice)) for _ in range(100)]
    read = msgspec.json.Decoder(Bucket).decode
    position = 0
    for day in range(size.days):
        for hour in range(24):
            awake = 1.0 if 7 <= hour < 20 else 0.35
            minute = (MIDNIGHT_MS + day * DAY_MS) // 60_000 + hour * 60 + 30
            position += 1
            cells = [(source, read(dice.choice(templates))) for source in routes if dice.random() < awake]
            cells += [
                (source, Bucket(calls=2, facts=2, cost_nano_usd=10**7))
                for source in users
                if dice.random() < awake / 40
            ]
            made = tuple(Cell(source, False, minute, position, position, bucket) for source, bucket in cells)
            _tell(judge, made, minute, position)
            for step in range(31, 61, 5):
                position += 1
                _tell(judge, (), minute - 30 + step, position)


def _tell(judge: Judge, cells: tuple[Cell, ...], minute: int, position: int) -> None:
    for partition in range(PARTITIONS):
        theirs = cells if not partition else ()
        judge.apply(Partials(partition, 1, position + 1, cells=theirs, watermark=minute * 60_000), position * 1_000)


def _bucket(dice: Random) -> Bucket:
    made = Bucket(calls=12, facts=12, cost_nano_usd=12 * 10**7, cost_squares=10**12, max_cost_nano_usd=3 * 10**7)
    made.errors = {"error": 1}
    for _ in range(12):
        for counts, low in ((made.latency, 320), (made.ttft, 260)):
            place = low + dice.randrange(60)
            counts[place] = counts.get(place, 0) + 1
    made.quality = Quality(schema_checked=12, guarded=12, retrievals=12, requested=96, hits=70)
    topics = {dice.randrange(64): 1 for _ in range(12)}
    made.shape = Shape({"stop": 11}, {"billing": 7, "praise": 4}, {"en": 12}, {"model-1": 12}, {15: 6, 17: 6}, topics)
    return made


def _guard(size: Size, _said: Path, _theirs: Any, out: Any) -> None:
    """The watch over runs, with as many as it may hold."""
    world = World(size)
    watches = [LoopWatch(Mark(1, 0)) for _ in range(PARTITIONS)]
    before, spent_us = _memory(), []
    facts = world.facts(size, MIDNIGHT_MS)
    for _ in range(DECILES):
        spent = 0.0
        for _ in range(size.events // DECILES // 1_000):
            batch = [next(facts) for _ in range(1_000)]
            begun = cpu_s()
            for partition, value in batch:
                watches[partition].fold(_fact(value))
            spent += cpu_s() - begun
        spent_us.append(spent / (size.events // DECILES // 1_000 * 1_000) * 1e6)
    runs = sum(watch.keys_held() for watch in watches)
    out.send({"us": spent_us, "bytes": _memory() - before, "runs": runs})


def _memory() -> int:
    """Resident bytes of this process now."""
    gc.collect()
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a file of the kernel
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
