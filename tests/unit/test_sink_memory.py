"""What the sink holds while ClickHouse is away: nothing of an attempt that failed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3

from agents.sink import Sink
from pipeline.audit.effects import ServerTime
from pipeline.errors import RetryableError
from pipeline.storage.client import ClickHouseError, _translated


class Built:
    """Stands for the rows and blocks of a range."""


class Away(Sink):
    """A sink whose every effect fails, as while no server answers."""

    def __init__(self) -> None:
        pass

    async def _do(self, at: Any, effect: Any) -> Any:
        raise RetryableError("nobody answers")


def test_what_a_failed_attempt_had_built_is_gone_without_the_collector() -> None:
    """The collector rarely looks in a stage that works range by range: a circle would hold a range for each attempt."""
    held: list[weakref.ref[Built]] = []

    def attempt() -> Generator[Any, Any, None]:
        built = Built()
        held.append(weakref.ref(built))
        yield ServerTime()

    async def attempts() -> None:
        for _ in range(3):
            with pytest.raises(RetryableError):
                await Away()._perform(SimpleNamespace(), attempt())  # type: ignore[arg-type]

    gc.disable()
    try:
        asyncio.run(attempts())
        assert [one() for one in held] == [None, None, None]
    finally:
        gc.enable()


def test_a_connection_that_is_refused_leaves_no_frames_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ClickHouseError), _translated("asking"), urllib3.PoolManager() as pool:
            pool.request("POST", "http://127.0.0.1:1/", body=b"rows", retries=1)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        assert [one.f_code.co_name for one in gc.garbage if hasattr(one, "f_code")] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
