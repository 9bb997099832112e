"""A lane is a thread with one worker process: it takes jobs, judges them, and keeps its worker alive.

Policy lives here: a request that hangs or kills the worker is repeated text by text, so that only the guilty text is
replaced; a worker that cannot be had makes the job fail as a whole, so that nothing is lost and nothing
passes unjudged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Protocol

from pipeline.redaction.errors import EngineError, RedactorUnavailable
from pipeline.redaction.process import WorkerDied, WorkerHung, WorkerProcess
from pipeline.redaction.sieve import Sieve
from pipeline.redaction.values import ENGINE_CRASHED, TIMEOUT, Answer, RedactionConfig


class Judge(Protocol):
    """Something that judges texts: a guarded worker process, or an engine in this process."""

    def start(self) -> str:
        """Get ready and tell the engine's manifest; raises EngineError."""

    @property
    def sieve(self) -> Sieve | None:
        """After `start`: what tells texts without findings; None if nothing can."""

    def answers(self, texts: Sequence[str], names: bool) -> list[Answer]:
        """An answer for each text, with what the model finds or without; raises RedactorUnavailable."""

    def close(self) -> None:
        """Give everything back."""


class GuardedWorker:
    """A worker process that is replaced when it hangs or dies. For one thread, which must outlive it.

    Args:
        config: for the workers.
        on_restart: called each time a worker had to be replaced.
    """

    def __init__(self, config: RedactionConfig, on_restart: Callable[[], None]) -> None:
        self._config = config
        self._on_restart = on_restart
        self._worker: WorkerProcess | None = None
        self._manifest = ""
        self.sieve: Sieve | None = None

    def start(self) -> str:
        """Start the first worker.

        Raises:
            EngineError: if it cannot work.
        """
        self._worker = WorkerProcess(self._config)
        self._manifest = self._worker.manifest
        self.sieve = Sieve.load(self._worker.sieve) if self._worker.sieve else None
        return self._manifest

    @property
    def pid(self) -> int | None:
        """Process id of the present worker."""
        return self._worker.pid if self._worker else None

    def answers(self, texts: Sequence[str], names: bool) -> list[Answer]:
        """Judge texts, whatever a text does to a worker.

        Raises:
            RedactorUnavailable: if no worker can be started.
        """
        try:
            return self._ask(texts, names)
        except (WorkerHung, WorkerDied):
            return [self._alone(text, names) for text in texts]

    def _alone(self, text: str, names: bool) -> Answer:
        try:
            return self._ask([text], names)[0]
        except WorkerHung:
            return TIMEOUT
        except WorkerDied:
            return ENGINE_CRASHED

    def _ask(self, texts: Sequence[str], names: bool) -> list[Answer]:
        worker = self._worker or self._replacement()
        try:
            return worker.ask(texts, names)
        except (WorkerHung, WorkerDied):
            self._worker = None
            self._on_restart()
            raise

    def _replacement(self) -> WorkerProcess:
        try:
            worker = WorkerProcess(self._config, self.sieve.database if self.sieve else b"")
        except (EngineError, OSError) as error:
            raise RedactorUnavailable(f"no redaction worker can be started: {error}") from error
        if worker.manifest != self._manifest:
            worker.kill()
            raise RedactorUnavailable("a new redaction worker has another engine than the others; restart this process")
        self._worker = worker
        return worker

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


@dataclass(frozen=True, slots=True)
class Job:
    """Texts to judge together, whether the model is asked, and where the answers go."""

    texts: Sequence[str]
    names: bool = True
    answers: Future[list[Answer]] = field(default_factory=Future)


class Lane(threading.Thread):
    """Serves a queue with one judge until it takes None from it.

    Attributes:
        ready: the manifest once the judge has started, or why it has not.
    """

    def __init__(self, judge: Judge, jobs: SimpleQueue[Job | None]) -> None:
        super().__init__(name="redaction-lane", daemon=True)
        self._judge = judge
        self._jobs = jobs
        self.ready: Future[str] = Future()

    def run(self) -> None:
        """Start the judge, serve, close the judge."""
        try:
            self.ready.set_result(self._judge.start())
        except BaseException as error:
            self.ready.set_exception(error)
            return
        try:
            while (job := self._jobs.get()) is not None:
                if not job.answers.set_running_or_notify_cancel():
                    continue
                try:
                    job.answers.set_result(self._judge.answers(job.texts, job.names))
                except BaseException as error:
                    job.answers.set_exception(error)
        finally:
            self._judge.close()
