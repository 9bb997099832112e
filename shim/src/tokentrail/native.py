"""Threads and locks of the operating system, also where gevent or eventlet has replaced Python's own.

The background thread sits in a blocking call of librdkafka. As a greenlet it would stop the whole application, so it
must be a real thread, and what it shares with the application must be a real lock. Nothing else belongs here.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from importlib import import_module
from typing import Any, Callable


def original(module: str, name: str) -> Any:
    """The unpatched attribute `name` of the standard library's `module`."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched(module):
        return gevent.get_original(module, name)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return getattr(eventlet.original(module), name)
    return getattr(import_module(module), name)


def new_lock() -> Any:
    """A re-entrant lock: a finaliser or a signal handler may emit while its own thread is emitting."""
    return original("threading", "RLock")()


def start_thread(target: Callable[[], None]) -> None:
    """Run `target` in a thread that does not keep the interpreter alive.

    Raises:
        RuntimeError: when the system or a finalising interpreter gives no thread.
    """
    original("_thread", "start_new_thread")(target, ())


def was_ctrl_c() -> bool:
    """Whether a Python signal handler that has just raised in this thread can only have been that of Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return [handler for handler in handlers if callable(handler)] == [signal.default_int_handler]


def pause(seconds: float) -> None:
    """Sleep so that greenlets go on: this is the one place that wants the patched function."""
    time.sleep(seconds)
