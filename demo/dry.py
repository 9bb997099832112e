"""`python -m demo.dry --seeds 20`: days through the pure cores only, without Kafka: planted, found, invented by seed.

Facts, partials, rules and loops are the same code that the stages run; only transport, storage and redaction are left
out. A day takes a few seconds, so that rules can be looked at over many seeds. Exit code 1 when a seed does not hold.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final
from zlib import crc32

from demo.desk import Body
from demo.scenario import DAY_MS, EVENTS_A_DAY, HOUR_MS, MINUTE_MS, Scenario, draw
from demo.traffic import day
from demo.truth import Found, Verdict, compare
from demo.wire import Writer, tick
from pipeline.audit.positions import Mark
from pipeline.detection.fingerprint import loop_marks
from pipeline.detection.judging import Judge
from pipeline.detection.loops import LoopWatch
from pipeline.intake.decode import decode
from pipeline.intake.facts import FactMaker, Where
from pipeline.intake.identify import Identifiers
from pipeline.keys import Keys
from pipeline.pricing import PriceBook
from pipeline.redaction.identifiers import is_clean_identifier
from pipeline.windows.partials import PartialFold, records
from schemas.anomaly import Anomaly
from schemas.position import Position

PARTITIONS: Final = 4
HISTORY_DAYS: Final = 1


class Dry:
    """One installation in memory.

    Args:
        keys: The key store.
        flush_minutes: How many simulated minutes of facts `meter` gathers before it publishes; the live demo's clock
            runs so fast that a fifth of a second is ten minutes.
    """

    def __init__(self, keys: Keys, flush_minutes: int = 1) -> None:
        self._keys = keys
        self._facts = FactMaker(Identifiers(keys, is_clean_identifier), PriceBook())
        self._writer = Writer()
        self._folds = [PartialFold(Mark(0, 0)) for _ in range(PARTITIONS)]
        self._guards = [LoopWatch(Mark(0, 0)) for _ in range(PARTITIONS)]
        self._judge = Judge(PARTITIONS)
        self._offsets = [0] * PARTITIONS
        self._flush_ms = flush_minutes * MINUTE_MS
        self._flushed_ms = 0
        self._now_ms = 0
        self.anomalies: list[Anomaly] = []

    def play(self, events: Iterable[Body], until_ms: int) -> None:
        """Play events in order of time, and ticks up to `until_ms`."""
        for event in events:
            self._clock(event["ts"])
            message = self._writer.message(event)
            self._send(crc32(message.key) % PARTITIONS, message.value)
        self._clock(until_ms)
        self._flush()

    def _clock(self, ts_ms: int) -> None:
        minute_ms = ts_ms // MINUTE_MS * MINUTE_MS
        if not self._now_ms:
            self._now_ms = minute_ms - MINUTE_MS
        while self._now_ms < minute_ms:
            self._now_ms += MINUTE_MS
            for partition in range(PARTITIONS):
                self._send(partition, tick(self._now_ms))
            if self._now_ms - self._flushed_ms >= self._flush_ms:
                self._flushed_ms = self._now_ms
                self._flush()

    def _send(self, partition: int, value: bytes) -> None:
        offset = self._offsets[partition]
        self._offsets[partition] += 1
        where = Where(Position(0, partition, offset), offset, self._now_ms + DAY_MS)
        event = decode(value, where.received_at)
        marks = None
        if event.kind == "call":
            tenant = self._facts.identifiers.tenant(event.tenant)
            marks = loop_marks(event, self._keys.derive("fingerprint", tenant))
        fact = self._facts.fact(event, where, marks)
        self._folds[partition].fold(fact)
        self.anomalies += self._guards[partition].fold(fact)

    def _flush(self) -> None:
        for partition, fold in enumerate(self._folds):
            for record in records(fold, partition):
                self.anomalies += self._judge.apply(record, self._now_ms).anomalies


def findings(anomalies: Iterable[Anomaly], midnight_ms: int) -> list[Found]:
    """Anomalies as the comparison with the truth wants them."""
    return [
        Found(one.id, one.rule, one.subject, one.opened_at - midnight_ms, one.detected_at - midnight_ms, None, one.why)
        for one in anomalies
    ]


def try_day(scenario: Scenario, flush_minutes: int = 1) -> tuple[Verdict, list[Anomaly]]:
    """Play a scenario's day after its day of history; returns the comparison with the truth, and all anomalies."""
    midnight_ms = 1_780_012_800_000
    keys = Keys(b"only for the dry run, not a secret")
    dry = Dry(keys, flush_minutes)
    for before in range(HISTORY_DAYS, -1, -1):
        dry.play(day(scenario, midnight_ms, before=before), midnight_ms + (1 - before) * DAY_MS)
    hashed = Identifiers(keys, is_clean_identifier).hashed
    verdict = compare(
        scenario, findings(dry.anomalies, midnight_ms), lambda tenant, run: hashed(tenant, "run", run) or ""
    )
    return verdict, dry.anomalies


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.dry", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--events", type=int, default=EVENTS_A_DAY, help="about how many events a day")
    parser.add_argument("--flush-minutes", type=int, default=1, help="simulated minutes between partials")
    parser.add_argument("--all", action="store_true", help="every anomaly with its sentence")
    options = parser.parse_args(argv)
    held = 0
    for seed in range(options.first, options.first + options.seeds):
        begun = time.monotonic()
        verdict, anomalies = try_day(draw(seed, options.events), options.flush_minutes)
        held += verdict.holds
        print(f"seed {seed}: {'holds' if verdict.holds else 'FAILS'} ({time.monotonic() - begun:.1f} s)")
        for line in _lines(verdict):
            print(f"    {line}")
        if options.all:
            for one in anomalies:
                print(f"      {one.rule} {one.state} r{one.revision} {one.subject} {one.why}")
    print(f"{held} of {options.seeds} seeds hold")
    return 0 if held == options.seeds else 1


def _lines(verdict: Verdict) -> Iterator[str]:
    for outcome in verdict.outcomes:
        one = outcome.incident
        what = f"{one.kind:5} {one.tenant} {one.feature} {one.provider} {one.model}".strip()
        at = f"{one.start_ms / HOUR_MS:.2f}-{one.end_ms / HOUR_MS:.2f} h"
        found = "MISSED" if outcome.found is None else f"found after {(outcome.delay_event_s or 0) / 60:.1f} min"
        yield f"{what} {one.form if one.kind == 'loop' else ''} {at}: {found}"
    for name, group in (("explained", verdict.explained), ("INVENTED", verdict.invented)):
        for found_one in group:
            at = f"{found_one.opened_ms / HOUR_MS:.2f} h"
            yield f"{name}: {found_one.rule} {dict(found_one.subject)} at {at}: {found_one.why}"


if __name__ == "__main__":
    sys.exit(main())
