"""keep: what has to be done by the clock rather than by records. Copies, signs, drops what has had its life.

Not a stream stage: one process, one job after the other, each on its own period. Two of it harm nobody, because what a
job does is arbitrated by the ledger or the same when done twice; one is enough.
"""

from __future__ import annotations

import heapq
import logging
import signal
import threading
import time
from collections.abc import Sequence
from typing import Final

from agents.keeping import jobs
from agents.keeping.job import Job, Keeping
from pipeline import metrics
from pipeline.errors import FatalError, RetryableError, TokentrailError
from pipeline.keys import load
from pipeline.settings import Settings
from pipeline.storage.check import partition_count
from pipeline.storage.client import connect
from pipeline.transport import identity, logs

log = logging.getLogger(__name__)

# A job that failed is tried again after this, doubled up to its own period or this limit, whichever is longer.
FIRST_RETRY_S: Final = 1.0
LAST_RETRY_S: Final = 60.0
# Twelve days: beyond any limit, and a float still holds it.
MOST_DOUBLED: Final = 21
CONNECT_EVERY_S: Final = 1.0
ANSWER_S: Final = 300.0


def run(settings: Settings) -> int:
    """Keep an installation until SIGTERM or SIGINT; returns the exit code.

    Raises:
        UsageError: The key root is not to be had.
    """
    end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())
    metrics.serve(settings)
    at = _open(settings, end)
    if at is None:
        return 0
    try:
        return keep(at, jobs(), end)
    finally:
        at.client.close()


def keep(at: Keeping, jobs: Sequence[Job], end: threading.Event) -> int:
    """Run jobs when they are due until `end` is set; returns the exit code."""
    due = [(time.monotonic(), number, 0) for number in range(len(jobs))]
    while due:
        when_s, number, failures = heapq.heappop(due)
        if end.wait(max(0.0, when_s - time.monotonic())):
            return 0
        job = jobs[number]
        begun_s = time.monotonic()
        try:
            job.run(at)
        except FatalError:
            log.exception("%s cannot go on", job.name)
            return 70
        except TokentrailError as error:
            metrics.KEPT.labels(job.name, "failed").inc()
            log.warning("%s failed and is tried again", job.name, extra=logs.told(error))
            failures = min(failures + 1, MOST_DOUBLED)
            wait_s = min(FIRST_RETRY_S * 2 ** (failures - 1), max(LAST_RETRY_S, job.every_s))
        else:
            failures = 0
            metrics.KEPT.labels(job.name, "done").inc()
            wait_s = job.every_s
        heapq.heappush(due, (begun_s + wait_s, number, failures))
    end.wait()
    return 0


def _open(settings: Settings, end: threading.Event) -> Keeping | None:
    """Wait for Kafka and ClickHouse; None when asked to end before."""
    keys = load(settings)
    while True:
        try:
            identity.check(settings)
            return Keeping(
                settings, connect(settings, purpose="keep", timeout_s=ANSWER_S), keys, partition_count(settings)
            )
        except RetryableError as error:
            log.warning("Kafka or ClickHouse is not to be had; they are asked again", extra=logs.told(error))
        if end.wait(CONNECT_EVERY_S):
            return None
