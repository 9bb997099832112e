"""classify: sampled answers of `calls` to `evaluation` events in `calls.raw`, judged by classifiers of your choice.

Reads redacted text only. Fails closed: a classifier that raises, answers late or answers nonsense gives no label, is
counted, and holds nothing up. Which calls are judged and the ids of what comes out depend on the call alone.

A crash doubles nothing: `redact` gives one record in `calls` for each in `calls.raw`, partition by partition, so before
a partition is begun the records behind the committed offset are read up to the end that `calls.raw` has now, and
evaluations that are already there are not made again. `calls.raw` itself, which holds raw text, is not read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from pipeline import metrics
from pipeline.classification.loading import load
from pipeline.classification.port import Answer, Classifier, Verdict, checked, evaluation_id, is_sampled
from pipeline.detection.messages import is_stand_in, said
from pipeline.settings import Settings
from pipeline.transport.producer import Outgoing
from pipeline.transport.ranges import Record
from pipeline.transport.stage import Limits, Range, StageContext
from pipeline.transport.tail import Reader
from schemas.clean import Clean
from schemas.fact import Fact
from schemas.topics import EVENT_SCHEMA

log = logging.getLogger(__name__)

SOURCE: Final = "calls"
# Longer than redaction takes, unless it stands still; then what it has not written yet may come twice.
CATCH_UP_S: Final = 60.0
LOOK_S: Final = 0.2
# Of evaluations that are known to be there, over all partitions.
MOST_KNOWN: Final = 500_000
# A classifier that is late so often in a row is left alone for a while.
MOST_LATE: Final = 16
REST_S: Final = 30.0
# Threads that a late classifier keeps for itself; beyond them nothing is asked until one comes back.
SPARE_THREADS: Final = 4
HEADERS: Final = (("schema", EVENT_SCHEMA.encode()), ("producer", b"classify"))

_read = msgspec.json.Decoder(Clean).decode
_encode = msgspec.json.Encoder().encode


class Classify:
    """The stage. Memory: ids of evaluations that were found at the last assignment.

    Args:
        settings: Which classifiers, how many calls, how long one may take.
    """

    name = "classify"
    source = SOURCE
    limits = Limits(max_records=200, max_bytes=2_000_000, linger_s=0.1)

    def __init__(self, settings: Settings) -> None:
        self._classifiers = load(settings.classifiers, settings.classify_timeout_s)
        self._share = settings.classify_share
        self._timeout_s = settings.classify_timeout_s
        self._most = settings.classify_concurrency

    async def open(self, context: StageContext) -> None:
        """Open the threads that classifiers are called in."""
        self._context = context
        self._free = asyncio.Semaphore(self._most)
        self._threads = ThreadPoolExecutor(self._most + SPARE_THREADS, "classifier")
        self._known: dict[int, set[str]] = {}
        self._late: dict[str, int] = {}
        self._rests_until_s: dict[str, float] = {}

    async def assigned(self, partition: int) -> int | None:
        """Resume at the committed offset, knowing which evaluations of later records are already there."""
        self._known[partition] = await self._context.to_thread(self._already, partition)
        return None

    def _already(self, partition: int) -> set[str]:
        """Ids of evaluations in the part of `calls` that was not committed; waits until all of them are there."""
        settings = self._context.settings
        with Reader(settings) as reader:
            written = reader.bounds("calls.raw", partition)[1]
            begin = committed(settings, partition)
            found: set[str] = set()
            last, deadline = -1, time.monotonic() + CATCH_UP_S
            while True:
                end = reader.bounds(SOURCE, partition)[1]
                for record in reader.read(SOURCE, partition, begin, end):
                    begin = record.offset + 1
                    fact = _fact(record.value)
                    if fact is None:
                        continue
                    last = max(fact.position.offset, fact.gap_last or 0)
                    if fact.type == "evaluation" and fact.id and len(found) < MOST_KNOWN:
                        found.add(fact.id)
                begin = max(begin, end)
                if last >= written - 1 or self._is_caught_up(reader, partition, written, last):
                    return found
                if time.monotonic() > deadline:
                    log.warning("redact is behind: evaluations from before the last end may come twice")
                    return found
                time.sleep(LOOK_S)

    def _is_caught_up(self, reader: Reader, partition: int, written: int, last: int) -> bool:
        """Whether `calls` is as far as `calls.raw` was, where nothing of it had to be read."""
        if written == 0:
            return True
        if last >= 0:
            return False
        start, end = reader.bounds(SOURCE, partition)
        for record in reader.read(SOURCE, partition, max(start, end - 1), end):
            fact = _fact(record.value)
            return fact is not None and max(fact.position.offset, fact.gap_last or 0) >= written - 1
        return start == end and reader.bounds("calls.raw", partition)[0] == written

    async def work(self, range: Range) -> None:
        """Judge the sampled answers of a range; returns when their evaluations are delivered."""
        jobs = [self._judge(fact, answer, record) for record, fact, answer in self._sampled(range)]
        known = self._known.get(range.partition, set())
        out = [
            Outgoing("calls.raw", value, record.key, range.partition, HEADERS)
            for record, made in await asyncio.gather(*jobs)
            for ident, value in made
            if ident not in known
        ]
        if out:
            await self._context.producer.deliver(out)
        metrics.RECORDS.labels(self.name, "evaluation").inc(len(out))

    def _sampled(self, range: Range) -> Iterator[tuple[Record, Fact, Answer]]:
        for record in range.records:
            try:
                clean = _read(record.value or b"")
            except msgspec.MsgspecError:
                metrics.SKIPPED.labels(self.name, "unreadable").inc()
                continue
            fact = clean.fact
            if fact.type != "call" or fact.backfill or not fact.id or not is_sampled(fact.id, self._share):
                continue
            text = _text(clean.content.output if clean.content else "")
            if text:
                yield record, fact, Answer(text, fact.language, fact.refusal)

    async def _judge(self, fact: Fact, answer: Answer, record: Record) -> tuple[Record, list[tuple[str, bytes]]]:
        made = []
        for one in self._classifiers:
            for verdict in await self._ask(one, answer):
                ident = evaluation_id(fact.id or "", one.spec, verdict.name)
                made.append((ident, _encode(_event(fact, ident, verdict))))
        return record, made

    async def _ask(self, classifier: Classifier, answer: Answer) -> list[Verdict]:
        """What a classifier says in time; nothing when it fails."""
        loop, spec = asyncio.get_running_loop(), classifier.spec
        if loop.time() < self._rests_until_s.get(spec, 0.0):
            metrics.CLASSIFIED.labels(spec, "resting").inc()
            return []
        try:
            async with asyncio.timeout(self._timeout_s * self._most), self._free:
                asked = loop.run_in_executor(self._threads, lambda: checked(classifier.classify(answer)))
                verdicts = await asyncio.wait_for(asked, self._timeout_s)
        except TimeoutError:
            metrics.CLASSIFIED.labels(spec, "late").inc()
            self._late[spec] = late = self._late.get(spec, 0) + 1
            if late >= MOST_LATE:
                self._late[spec], self._rests_until_s[spec] = 0, loop.time() + REST_S
            return []
        except Exception as error:
            metrics.CLASSIFIED.labels(spec, type(error).__name__).inc()
            return []
        metrics.CLASSIFIED.labels(spec, "ok").inc()
        self._late[spec] = 0
        return verdicts

    async def idle(self, partition: int, now_s: float) -> None:
        """Nothing to do between ranges."""

    async def revoked(self, partition: int) -> None:
        """Forget what was known of the partition."""
        self._known.pop(partition, None)

    async def close(self) -> None:
        """Leave classifiers that have not come back."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def committed(settings: Settings, partition: int) -> int:
    """The offset that the stage's group has committed in a partition; 0 where it has none."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(settings.librdkafka(**{"group.id": settings.group(Classify.name), "log_level": 3}))
    try:
        (found,) = consumer.committed([TopicPartition(settings.topic(SOURCE), partition)], timeout=10)
        return max(0, int(found.offset))
    finally:
        consumer.close()


def _fact(value: bytes | None) -> Fact | None:
    try:
        return _read(value or b"").fact
    except msgspec.MsgspecError:
        return None


def _text(stored: str) -> str:
    """What was said in an answer as it is stored; empty where only a hash of it is."""
    if not stored:
        return ""
    try:
        value: Any = msgspec.json.decode(stored)
    except msgspec.DecodeError:
        return stored
    messages = value if isinstance(value, list) else [value]
    return "" if any(is_stand_in(one) for one in messages) else said(value)


def _event(fact: Fact, ident: str, verdict: Verdict) -> dict[str, Any]:
    """The evaluation of a call, with what windows and rules sort it by."""
    names = {
        name: value
        for name in (
            "tenant", "environment", "team", "service", "feature", "provider", "model", "prompt_name",
            "prompt_version", "variant",
        )
        if (value := getattr(fact, name))
    }  # fmt: skip
    evaluation = {"name": verdict.name, "score": verdict.score, "label": verdict.label, "call": fact.id}
    return {
        "kind": "evaluation",
        "id": ident,
        "ts": fact.received_at,
        **names,
        "evaluation": {name: value for name, value in evaluation.items() if value is not None},
    }
