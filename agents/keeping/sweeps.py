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
# Rows that a hold keeps are looked at again when one is released, and once a day.
DAY_MS: Final = 86_400_000


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
        done = [step for step in steps(at.client, request.id) if step.step != "found"]
        now_ms = self._now_ms()
        if not done:
            if now_ms - request.asked_at >= GRACE_MS:
                self._sweep(eraser, request, last=False)
            return
        before = done[-1]
        is_last = now_ms >= max(step.due_at for step in done)
        if before.step == "done":
            return
        if before.held:
            released = any((hold.released_at or 0) > before.at for hold in eraser.holds.all)
            if not released and now_ms - before.at < DAY_MS:
                return
        elif not is_last:
            return
        if is_last and (topics := still_held(at.settings, at.partitions, request.asked_at)):
            told = {"request": request.id, "topics": ",".join(topics)}
            log.warning("Kafka still holds records from before an erasure; it is looked at again", extra=told)
            is_last = False
        if is_last or before.held:
            self._sweep(eraser, request, last=is_last)

    def _sweep(self, eraser: Eraser, request: Request, *, last: bool) -> None:
        step = eraser.sweep(request, last=last)
        told = {"request": request.id, "step": step.step, "rows": sum(step.rows.values()), "held": step.held}
        log.info("an erasure was swept", extra=told)
