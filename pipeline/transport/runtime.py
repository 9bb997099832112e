"""Run one stage as a process of its own: Faust app, consumer group, lanes, metrics, signals, exit code.

The stage's code is in `agents/`; here is only what all stages share. The exit codes: 0 after SIGTERM or SIGINT, 2 for
settings that cannot work, 69 when Kafka is not there at start, 70 for a bug, others as `pipeline.errors` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Awaitable
from typing import Any, Final

from aiokafka.errors import KafkaError

from pipeline import metrics
from pipeline.errors import FatalError, RetryableError, TokentrailError, UsageError
from pipeline.settings import Settings
from pipeline.transport import identity, logs
from pipeline.transport.admin import kafka_answers
from pipeline.transport.app import stage_app
from pipeline.transport.context import Context
from pipeline.transport.host import Host
from pipeline.transport.stage import Stage

log = logging.getLogger(__name__)

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 69
EXIT_BUG: Final = 70

KAFKA_AT_START_S: Final = 30.0
WATCH_EVERY_S: Final = 5.0
# Data waits in Kafka, nothing waits here, and nothing came for this long: the client hangs.
STALL_S: Final = 60.0
# A stop takes ten seconds at most: ranges at work, then the steps, then the process is ended whatever hangs.
DRAIN_S: Final = 5.0
DRAIN_AFTER_FAILURE_S: Final = 0.2
STEP_S: Final = 2.0
LAST_RESORT_S: Final = 9.5


class NoKafkaError(TokentrailError):
    """No broker answered at start."""


class Runtime:
    """One run of one stage."""

    def __init__(self, stage: Stage, settings: Settings) -> None:
        self._stage = stage
        self._settings = settings
        self._end = asyncio.Event()
        self._failure: BaseException | None = None
        self._app: Any = None
        self._context: Context | None = None
        self._opened = False
        self._fetching: dict[int, tuple[int, float]] = {}  # partition: next fetch, and since when it is that one

    async def run(self) -> int:
        """Run to the end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError):  # not the main thread: whoever runs us stops us
                loop.add_signal_handler(number, self._end.set)
        work = asyncio.create_task(self._run())
        end = asyncio.create_task(self._end.wait())
        await asyncio.wait({work, end}, return_when=asyncio.FIRST_COMPLETED)
        last_resort = threading.Timer(LAST_RESORT_S, lambda: os._exit(self._code()))
        last_resort.daemon = True
        last_resort.start()
        await self._stop(work)
        end.cancel()
        log.info("stage ended", extra={"code": self._code()})
        if self._context is None or self._context.busy == 0:
            last_resort.cancel()  # else a blocking call would keep the interpreter from ending
        return self._code()

    def fail(self, error: BaseException) -> None:
        """Something must end the process; the first such error decides the exit code."""
        if self._failure is None:
            self._failure = error
            log.error("the stage must end", extra=logs.told(error))
        self._end.set()

    def _code(self) -> int:
        failure = self._failure
        if failure is None:
            return 0
        if isinstance(failure, FatalError):
            return failure.exit_code
        if isinstance(failure, UsageError):
            return EXIT_USAGE
        return EXIT_UNAVAILABLE if isinstance(failure, NoKafkaError | RetryableError) else EXIT_BUG

    async def _run(self) -> None:
        try:
            host = self._build()
            await self._wait_for_kafka()
            await self._prepare(host)
            starting = asyncio.create_task(self._app.start())
            crashed = asyncio.create_task(self._app._crashed.wait())
            watch = asyncio.create_task(self._watch(host))
            try:
                await asyncio.wait({starting, crashed}, return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                await crashed
                raise FatalError("Faust's application crashed; see the log.") from self._app.crash_reason
            finally:
                for task in (starting, crashed, watch):
                    task.cancel()
        except KafkaError as error:
            self.fail(NoKafkaError(f"Kafka went away during the start ({type(error).__name__})."))
        except Exception as error:
            self.fail(error)

    async def _wait_for_kafka(self) -> None:
        deadline = time.monotonic() + KAFKA_AT_START_S
        while not await asyncio.to_thread(kafka_answers, self._settings):
            if time.monotonic() > deadline:
                raise NoKafkaError(
                    f"No Kafka answers at {self._settings.kafka_bootstrap}. Start it (`tokentrail up`), or set "
                    "TOKENTRAIL_KAFKA_BOOTSTRAP to where it is."
                )
            log.warning("Kafka does not answer yet", extra={"bootstrap": self._settings.kafka_bootstrap})

    def _build(self) -> Host:
        """The application; nothing is started, but the settings are checked."""
        topic = self._settings.topic(self._stage.source)
        self._app = stage_app(self._settings, self._stage.name, topic, lambda event: host.fetched(event))
        host = self._app.range_host = Host(self._app, self._stage, topic, self.fail)
        return host

    async def _prepare(self, host: Host) -> None:
        """Everything but the consumer: clients, registry, controls, the stage itself."""
        context = self._context = Context(self._stage.name, self._settings, host)
        await context.to_thread(identity.check, self._settings)
        context.controls.start()
        await context.to_thread(context.epochs.check)
        await context.controls.ready()
        await self._stage.open(context)
        self._opened = True
        try:
            port = metrics.serve(self._settings)
        except OSError as error:
            raise UsageError(
                f"The metrics port {self._settings.metrics_port} cannot be bound ({error.strerror}); "
                "set TOKENTRAIL_METRICS_PORT to another or to 0."
            ) from error
        log.info("stage starts", extra={"worker": context.worker_id, "metrics_port": port})

    async def _watch(self, host: Host) -> None:
        """Now and then: is the topic still the one we know, how far behind are we, does the client still fetch?"""
        assert self._context is not None
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            try:
                await self._context.to_thread(self._context.epochs.check)
                backlog = await host.backlog()
                self._look(host, backlog)
            except FatalError as error:
                self.fail(error)
            except Exception as error:
                log.warning("the watch could not look", extra=logs.told(error))

    def _look(self, host: Host, backlog: dict[int, tuple[int, int]]) -> None:
        now = time.monotonic()
        places, held = host.lanes.places(), host.lanes.held()
        for partition, (fetching, end) in backlog.items():
            if partition in places:
                metrics.LAG.labels(self._stage.name, partition).set(max(0, end - places[partition]))
            last, since = self._fetching.get(partition, (-1, now))
            if fetching != last or fetching >= end or partition in held:
                self._fetching[partition] = (fetching, now)
            elif now - since > STALL_S:
                raise FatalError(
                    f"Partition {partition} of {self._stage.source} is at {fetching} of {end}, and nothing was fetched "
                    f"for {STALL_S:.0f} s. The process ends to begin anew; if it comes again, look at the broker."
                )

    async def _stop(self, work: asyncio.Task[None]) -> None:
        """Finish the ranges at work, commit, leave the group, close; each step bounded."""
        grace_s = DRAIN_S if self._failure is None else DRAIN_AFTER_FAILURE_S
        host = None if self._context is None else self._context.host
        if host is not None:
            await _bounded("lanes", host.lanes.close(host.lanes.assigned(), grace_s), grace_s + STEP_S)
        if self._opened:
            await _bounded("stage", self._stage.close())
        if self._app is not None and self._app.started:
            await _bounded("commit", self._app.consumer.commit())
            await _bounded("app", self._app.stop())
        work.cancel()
        if self._context is not None:
            await _bounded("clients", self._context.close(), 2 * STEP_S)


def run_stage(stage: Stage, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (0) or an error that must end the process (its exit code); blocks."""
    logs.configure(stage.name, settings.log_level)

    async def run() -> int:
        return await Runtime(stage, settings).run()

    return asyncio.run(run())


async def _bounded(what: str, step: Awaitable[Any], timeout_s: float = STEP_S) -> None:
    """A step of the stop; what it raises or does not finish is logged and left behind."""
    try:
        async with asyncio.timeout(timeout_s):
            await step
    except Exception as error:
        log.warning("a step of the stop did not succeed", extra={"step": what, **logs.told(error)})
