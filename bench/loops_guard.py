"""What guard costs: CPU of one event, memory of one run, and whether either grows with history.

Facts of real runs, each under a new name, so many of them alive at a time that `runs` are held; what is timed is what
the
stage does with a record: decode it and fold it.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator
from hashlib import blake2b
from random import Random
from typing import Final

import msgspec

from bench.figures import Report
from bench.loops_material import NOON_MS, facts, tau
from bench.loops_planted import plant, untouched
from pipeline.audit.positions import Mark
from pipeline.detection.loops import LoopWatch
from schemas.fact import Fact
from schemas.position import Position

RUNS: Final = 100_000
CHUNK: Final = 5_000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Fact).decode


def cost_figures(report: Report, quick: bool) -> None:
    """Add `guard.*`: `event_us`, `event_us_looping`, `bytes_per_run`, `history_growth`."""
    held = RUNS // 10 if quick else RUNS
    honest = [list(facts(untouched(name, messages))) for name, messages in tau()[::4]]
    times, watch = _timed(honest, held, 4 * held)
    part = max(1, len(times) // 10)
    first, last = sum(times[:part]) / part, sum(times[-part:]) / part
    report.add("guard.event_us", times, "us")
    report.add("guard.history_growth", [last / first], "1")
    report.notes.append(
        f"guard: {len(watch.runs):,} runs held; {len(times) * CHUNK:,} facts timed after as many runs had begun; "
        f"{first:.1f} us in the first decile, {last:.1f} in the last"
    )
    looping = [list(facts(plant("near_volatile", name, messages))) for name, messages in tau()[::8]]
    report.add("guard.event_us_looping", _timed(looping, held // 20, held // 2)[0], "us")
    report.add("guard.bytes_per_run", [_bytes_per_run(honest, held)], "bytes")


def _timed(runs: list[list[Fact]], held: int, events: int) -> tuple[list[float], LoopWatch]:
    watch = LoopWatch(Mark(1, 0), max_runs=held)
    times = []
    source = _traffic(runs, held)
    # Until as many runs are known as are to be held.
    while len(watch.runs) < held:
        for fact in _chunk(source):
            watch.fold(_decode(fact))
    for _ in range(max(10, events // CHUNK)):
        records = _chunk(source)
        gc.collect()
        began = time.process_time()
        for record in records:
            watch.fold(_decode(record))
        times.append((time.process_time() - began) / len(records) * 1e6)
    return times, watch


def _bytes_per_run(runs: list[list[Fact]], held: int) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        watch = LoopWatch(Mark(1, 0), max_runs=held)
        # Every run to its end, so that all of them are as large as they get.
        offset = 0
        for number in range(held):
            for fact in runs[number % len(runs)]:
                watch.fold(_renamed(fact, number, offset))
                offset += 1
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / len(watch.runs)
    finally:
        tracemalloc.stop()


def _traffic(runs: list[list[Fact]], held: int) -> Iterator[Fact]:
    """Facts of many runs at a time; a run that has ended makes room for a new one."""
    dice, begun, offset = Random(1), 0, 0
    alive: list[list[int]] = []
    while True:
        while len(alive) < held:
            alive.append([begun, 0])
            begun += 1
        place = dice.randrange(len(alive))
        number, step = alive[place]
        run = runs[number % len(runs)]
        yield _renamed(run[step], number, offset)
        offset += 1
        alive[place][1] += 1
        if step + 1 == len(run):
            alive[place] = [begun, 0]
            begun += 1


def _renamed(fact: Fact, number: int, offset: int) -> Fact:
    at_ms = NOON_MS + offset // 4
    name = blake2b(str(number).encode(), digest_size=16).hexdigest()
    return msgspec.structs.replace(fact, position=Position(1, 0, offset), run=name, ts=at_ms, received_at=at_ms)


def _chunk(source: Iterator[Fact]) -> list[bytes]:
    return [_encode(next(source)) for _ in range(CHUNK)]
