"""Start, fork and end of outboxes in a process. The only module with state of its own: which outboxes are live.

A fork leaves the child librdkafka's memory without its threads. Destroying such a producer waits for them (a second
with glibc), so the child lets it stand and makes its own at its first event. At exit all outboxes are flushed at the
same time, which is bounded.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
import weakref
from typing import Protocol

from confluent_kafka import Producer

from .courier import PURGE_S, Courier
from .ids import new_id
from .native import original, pause, start_thread
from .outbox import Outbox

_LOG = logging.getLogger("tokentrail")
_GRACE_S = 0.5
_WAIT_STEP_S = 0.002


class Forkable(Protocol):
    """What wants to know that it now lives in a forked child."""

    def after_fork(self) -> None:
        """Let go of everything that belongs to the parent."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()
_live: set[Outbox] = set()
_abandoned: list[object] = []
_is_fork = False


def watch(forkable: Forkable) -> None:
    """Have `after_fork` called in every child that this process forks, as long as the object lives."""
    _forkables.add(forkable)


def start(outbox: Outbox) -> None:
    """Connect an outbox and give it its thread, once. What stands in the way is logged and kept in the outbox."""
    with outbox.lock:
        if outbox.producer is not None or outbox.unavailable or outbox.close_by is not None:
            return
        outbox.connect()
        if outbox.producer is not None:
            outbox.finished = False
            _live.add(outbox)
            try:
                start_thread(lambda: _run(outbox))
            except RuntimeError as error:
                outbox.unavailable, outbox.last_error = "no_thread", str(error)
                outbox.finished, outbox.producer = True, None
                _live.discard(outbox)
    if outbox.unavailable:
        _LOG.error("tokentrail: events will be dropped: %s", outbox.last_error)
    elif _is_fork:
        _end_with_worker()


def _run(outbox: Outbox) -> None:
    outbox.thread = original("_thread", "get_ident")()
    try:
        Courier(outbox).run()
    finally:
        _live.discard(outbox)


def wait(outbox: Outbox, timeout_s: float) -> int:
    """Wait until all events of an outbox have a delivery report; returns how many have none after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while outbox.buffered() and time.monotonic() < until and not _is_own_thread(outbox):
        pause(_WAIT_STEP_S)
    return outbox.buffered()


def close(outbox: Outbox, timeout_s: float) -> None:
    """Close an outbox and wait for its thread, `timeout_s` seconds at most and what it takes to take the rest back."""
    outbox.request_close(time.monotonic() + timeout_s)
    _join(outbox)


def let_go(outbox: Outbox) -> None:
    """Have an outbox close by itself, without waiting."""
    outbox.request_close(time.monotonic() + outbox.plan.flush_timeout_s)


def close_all() -> None:
    """Close every live outbox, all at the same time."""
    outboxes = list(_live)
    for outbox in outboxes:
        outbox.request_close(time.monotonic() + outbox.plan.flush_timeout_s)
    for outbox in outboxes:
        _join(outbox)


def _join(outbox: Outbox) -> None:
    until = (outbox.close_by or 0.0) + PURGE_S + _GRACE_S
    while not outbox.finished and time.monotonic() < until and not _is_own_thread(outbox):
        pause(_WAIT_STEP_S)


def _is_own_thread(outbox: Outbox) -> bool:
    """Whether the caller is the outbox's thread (a logging handler, for example), which cannot wait for itself."""
    return bool(outbox.thread == original("_thread", "get_ident")())


def _after_fork() -> None:
    global _is_fork, _live
    _is_fork = True
    new_id.renew()
    for outbox in _live:
        _abandoned.append(outbox)
        if outbox.producer is not None:
            _keep_for_ever(outbox.producer)
    _live = set()
    for forkable in list(_forkables):
        forkable.after_fork()


def _keep_for_ever(producer: Producer) -> None:
    """Give the object one reference too many, so that no end of the interpreter destroys it."""
    try:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))
    except Exception:
        _abandoned.append(producer)


def _end_with_worker() -> None:
    """Workers of multiprocessing and Celery leave by `os._exit`, which runs their own finalisers but not `atexit`."""
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None:
            module.Finalize(None, close_all, exitpriority=10)


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
