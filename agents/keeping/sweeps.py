"""Sweeps: finishes erasures that nobody finished, and sweeps for the last time when Kafka has forgotten the subject.

By the clock it is given and by what Kafka's topics still hold, whichever is later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from agents.keeping.job import Keeping
from pipeline.control.erasures import Request
from pipeline.errors import RetryableError
from pipeline.storage.erase import Eraser, steps
from pipeline.transport.erasures import requests, still_held
from pipeline.transport.policies import read_holds

log = logging.getLogger(__name__)

# Who asked for an erasure sweeps itself; after this it is taken to have been ended.
GRACE_MS: Final = 300_000


class Sweeps:
    """The job. State: none.

    Args:
        now_ms: The clock, milliseconds since 1970.
    """

    name = "sweeps"
    every_s = 600.0

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms

    def run(self, at: Keeping) -> None:
        """Do what is due for every request that is not done."""
        pending = [request for request in requests(at.settings) if request.id]
        if not pending:
            return
        eraser = Eraser(at.settings, at.client, at.keys, at.partitions, read_holds(at.settings, at.keys))
        failure: RetryableError | None = None
        for request in pending:
            try:
                self._tend(at, eraser, request)
            except RetryableError as error:  # a sink that is away must not hold up the others' requests
                failure = error
        if failure is not None:
            raise failure

    def _tend(self, at: Keeping, eraser: Eraser, request: Request) -> None:
        done = steps(at.client, request.id)
        names = {step.step for step in done}
        now_ms = self._now_ms()
        if "done" in names:
            return
        if not names & {"first", "again"}:
            if now_ms - request.asked_at >= GRACE_MS:
                self._sweep(eraser, request, last=False)
        elif now_ms >= max(step.due_at for step in done):
            if topics := still_held(at.settings, at.partitions, request.asked_at):
                told = {"request": request.id, "topics": ",".join(topics)}
                log.warning("Kafka still holds records from before an erasure; it is looked at again", extra=told)
            else:
                self._sweep(eraser, request, last=True)

    def _sweep(self, eraser: Eraser, request: Request, *, last: bool) -> None:
        step = eraser.sweep(request, last=last)
        told = {"request": request.id, "step": step.step, "rows": sum(step.rows.values()), "held": step.held}
        log.info("an erasure was swept", extra=told)
