"""What the runtime gives a stage: settings, keys, clients and a bounded thread pool, for the life of the process."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

from pipeline import keys
from pipeline.settings import Settings
from pipeline.transport.admin import Epochs
from pipeline.transport.controls import ControlsReader
from pipeline.transport.host import Host
from pipeline.transport.producer import RangeProducer

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 8


class Context:
    """The runtime's `StageContext`.

    Raises:
        UsageError: The key root cannot be used.
    """

    def __init__(self, stage: str, settings: Settings, host: Host) -> None:
        self.stage = stage
        self.settings = settings
        self.worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.keys = keys.load(settings)
        self.epochs = Epochs(settings)
        self.controls = ControlsReader(settings)
        self.producer = RangeProducer(settings, client_id=f"tokentrail-{stage}")
        self.host = host
        self.busy = 0  # blocking calls under way
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix=stage)

    async def to_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking call in the stage's bounded thread pool; cancelling the caller does not stop the call."""
        self.busy += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        future.add_done_callback(self._finished)
        return await future

    def _finished(self, _: object) -> None:
        self.busy -= 1

    async def log_start(self, partition: int) -> int:
        """Lowest offset that the input partition still holds; proves a gap at the front."""
        return await self.host.log_start(partition)

    async def log_end(self, partition: int) -> int:
        """Offset that the next record of the input partition will get."""
        return await self.host.log_end(partition)

    def assigned_partitions(self) -> frozenset[int]:
        """Input partitions that this process holds now."""
        return self.host.lanes.assigned()

    async def close(self) -> None:
        """Release clients and threads; waits for no blocking call."""
        await self.producer.close()
        await asyncio.to_thread(self.controls.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
