"""What stages use: texts in, storable texts out. Fails closed, remembers what it has seen, never blocks the event loop.

A `Redactor` owns worker processes (`lanes`) and the span cache. It stores no text and logs nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock
from typing import Final

from pipeline.redaction.cache import SpanCache
from pipeline.redaction.errors import EngineError, RedactorUnavailable
from pipeline.redaction.fold import telling
from pipeline.redaction.lanes import GuardedWorker, Job, Judge, Lane
from pipeline.redaction.plans import Plan, batches
from pipeline.redaction.replace import apply
from pipeline.redaction.sieve import Sieve
from pipeline.redaction.treat import PLAIN, Treatment
from pipeline.redaction.values import (
    CANARY,
    INVALID_UNICODE,
    REASONS,
    RECOGNISER_ERROR,
    REPLACED,
    TOO_LONG,
    Finding,
    Redacted,
    RedactionConfig,
)

_NOTHING: Final[dict[str, int]] = {}


@dataclass(slots=True)
class Stats:
    """Running totals since the start. Metrics are exported elsewhere.

    Attributes:
        texts: texts asked for.
        chars: their characters.
        silent: texts in which nothing could be found, by the sieve alone.
        cache_hits: texts that were answered from memory.
        analysed_chars: characters that an engine had to judge.
        failures: replaced texts by reason code.
        restarts: workers that hung or died.
    """

    texts: int = 0
    chars: int = 0
    silent: int = 0
    cache_hits: int = 0
    analysed_chars: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    restarts: int = 0


class Redactor:
    """Redacts texts in worker processes.

    Args:
        config: how.
        processes: how many workers; one uses one core. 0 runs the engine in a thread of this process, without
            protection against hanging: for tests and small tools.
    """

    def __init__(self, config: RedactionConfig, *, processes: int = 1) -> None:
        if processes < 0:
            raise ValueError(f"processes is {processes}, but must be at least 0")
        self._config = config
        self._processes = processes
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lanes: list[Lane] = []
        self._judges: list[Judge] = []
        self._cache: SpanCache | None = None
        self._manifest = ""
        self._sieve: Sieve | None = None
        self._gate = Lock()  # for `stats.restarts`, and so that no job is queued behind the end of the queue
        self.stats = Stats()

    @property
    def manifest(self) -> str:
        """The engine's manifest, known after `start`: the `redaction_version` of what was redacted."""
        return self._manifest

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the present workers."""
        return [j.pid for j in self._judges if isinstance(j, GuardedWorker) and j.pid is not None]

    def start(self) -> None:
        """Start the workers; returns when all have passed their self-tests. Blocks for seconds.

        Raises:
            EngineError: if the engine cannot work as configured. Nothing is left running then.
        """
        if self._lanes:
            return
        self._jobs = SimpleQueue()
        self._judges = [self._new_judge() for _ in range(max(1, self._processes))]
        self._lanes = [Lane(judge, self._jobs) for judge in self._judges]
        for lane in self._lanes:
            lane.start()
        try:
            manifests = {lane.ready.result() for lane in self._lanes}
            if len(manifests) != 1:
                raise EngineError("workers have different engines; was the environment changed during the start?")
        except BaseException:
            self.close()
            raise
        self._manifest = manifests.pop()
        self._cache = SpanCache(self._config.cache_bytes, self._manifest)
        self._sieve = self._judges[0].sieve
        telling()  # a third of a second now, and not in the first text's event loop

    def _new_judge(self) -> Judge:
        if self._processes == 0:
            from pipeline.redaction.inprocess import InProcess  # imports Presidio and spaCy

            return InProcess(self._config)
        return GuardedWorker(self._config, self._count_restart)

    def _count_restart(self) -> None:
        with self._gate:
            self.stats.restarts += 1

    def close(self) -> None:
        """End the workers, after the work they have. Doing so twice does no harm."""
        with self._gate:
            lanes, self._lanes, self._judges = self._lanes, [], []
            for _ in lanes:
                self._jobs.put(None)
        for lane in lanes:
            lane.join()

    async def redact_many(
        self, texts: Sequence[tuple[str, str]], treatments: Sequence[Treatment] | None = None
    ) -> list[Redacted]:
        """Redact texts, each given with its tenant.

        Args:
            texts: (tenant, text); best many at once.
            treatments: how the findings of each are treated; None: all are replaced by their types.

        Returns:
            One result for each, in order. A text that could not be judged is replaced, with a reason code.

        Raises:
            RedactorUnavailable: if no worker can be had; repeat the whole call.
        """
        plan = self._plan(texts, treatments)
        if plan.jobs:
            # All are waited for, so that a failure of one leaves no job of this call behind.
            done = await asyncio.gather(*(asyncio.wrap_future(j.answers) for j, _ in plan.jobs), return_exceptions=True)
            for outcome in done:
                if isinstance(outcome, BaseException):
                    raise outcome
        return self._finish(plan)

    def redact_many_sync(
        self, texts: Sequence[tuple[str, str]], treatments: Sequence[Treatment] | None = None
    ) -> list[Redacted]:
        """Like `redact_many`, for callers without an event loop. Blocks."""
        return self._finish(self._plan(texts, treatments))

    def _plan(self, texts: Sequence[tuple[str, str]], treatments: Sequence[Treatment] | None) -> Plan:
        """Answer from memory what can be, and hand the rest to the lanes."""
        if self._cache is None:
            raise RedactorUnavailable("the redactor has not been started; call start() first")
        plan = Plan([text for _, text in texts], treatments or [PLAIN] * len(texts), [None] * len(texts))
        longest = self._config.chunk_chars
        misses: tuple[list[tuple[bytes, str]], list[tuple[bytes, str]]] = ([], [])  # without and with the model
        for i, (tenant, text) in enumerate(texts):
            names = self._config.ner and plan.treatments[i].names
            self.stats.texts += 1
            self.stats.chars += len(text)
            if not text:
                plan.answers[i] = ()
                continue
            if len(text) > self._config.max_chars:
                plan.answers[i] = TOO_LONG
                continue
            try:
                data = text.encode()
            except UnicodeEncodeError:
                plan.answers[i] = INVALID_UNICODE
                continue
            if not names and self._sieve is not None and len(text) <= longest and self._sieve.is_silent(text):
                # Nothing can be found, and the sieve needs no guard: its time grows with the text's length alone.
                self.stats.silent += 1
                plan.answers[i] = ()
                continue
            key = self._cache.key(tenant.encode("utf-8", "surrogatepass"), data, names)
            known = self._cache.get(key)
            if known is not None:
                self.stats.cache_hits += 1
                plan.answers[i] = known
            elif key in plan.waiting:
                plan.waiting[key].append(i)
            else:
                plan.waiting[key] = [i]
                misses[names].append((key, text))
        for names in (False, True):
            for batch in batches(misses[names], self._config.batch_chars):
                job = Job([text for _, text in batch], names)
                self.stats.analysed_chars += sum(len(text) for text in job.texts)
                plan.jobs.append((job, [key for key, _ in batch]))
        with self._gate:
            if plan.jobs and not self._lanes:
                raise RedactorUnavailable("the redactor has been closed")
            for job, _ in plan.jobs:
                self._jobs.put(job)
        return plan

    def _finish(self, plan: Plan) -> list[Redacted]:
        assert self._cache is not None
        for job, keys in plan.jobs:
            for key, answer in zip(keys, job.answers.result(), strict=True):
                if not isinstance(answer, str):
                    self._cache.put(key, tuple(answer))
                for i in plan.waiting[key]:
                    plan.answers[i] = answer
        redacted = self._redacted
        return [redacted(*one) for one in zip(plan.texts, plan.answers, plan.treatments, strict=True)]

    def _redacted(self, text: str, answer: Sequence[Finding] | str | None, treatment: Treatment) -> Redacted:
        reason = RECOGNISER_ERROR
        if isinstance(answer, str):
            reason = answer if answer in REASONS else RECOGNISER_ERROR
        elif answer is not None:
            try:
                done, counts = apply(text, answer, treatment) if answer else (text, _NOTHING)
                if not treatment.canary or not treatment.shows_canary(done):
                    return Redacted(done, counts, None)
                reason = CANARY
            except ValueError:  # offsets that cannot be
                pass
        self.stats.failures[reason] += 1
        return Redacted(REPLACED, {}, reason)
