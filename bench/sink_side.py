"""One side of `bench sink` as a process: takes orders as JSON lines on stdin and answers with JSON lines on stdout.

`prepare` is not measured. `run` counts the CPU of this process and of both servers, and the wall's time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, cast

import clickhouse_connect
import msgspec
from clickhouse_connect.datatypes.registry import get_from_name
from clickhouse_connect.driver.httputil import get_pool_manager
from pydantic import SecretStr

from agents.sink import Sink
from bench.clock import cpu_of, cpu_s
from bench.sink_records import Records, Row, plain_call, plain_content
from pipeline.audit.batch import Slot, build
from pipeline.audit.tables import TABLES
from pipeline.keys import Keys
from pipeline.keys import load as load_keys
from pipeline.settings import Settings
from pipeline.storage.native import type_of
from pipeline.transport.context import Context
from pipeline.transport.host import Host
from pipeline.transport.ranges import KafkaRecord, Range
from schemas.clean import Clean

_decode = msgspec.json.Decoder(Clean).decode
# A partition that the sink does not write.
OTHER_PARTITION: Final = 3


class Side(Protocol):
    """One side of the comparison."""

    async def open(self) -> None:
        """Connect."""
        ...

    def prepare(self, ranges: int) -> int:
        """Make the ranges of the next run; returns how many records they hold."""
        ...

    async def run(self) -> None:
        """Insert them."""
        ...


class Ours:
    """The stage itself, with two partitions in flight as its lanes would have them."""

    def __init__(self, settings: Settings, records: Records, size: int, partitions: int) -> None:
        self._settings, self._records, self._size = settings, records, size
        self._next = dict.fromkeys(range(partitions), 0)
        self._work: dict[int, list[Range]] = {}
        self._sink = Sink()

    async def open(self) -> None:
        """Open the stage and claim the partitions."""
        # The stage asks nothing of the host, which is Faust's side of a context.
        self._context = Context(Sink.name, self._settings, cast(Host, None))
        self._context.controls.start()
        await self._context.to_thread(self._context.epochs.check)
        await self._context.controls.ready()
        await self._sink.open(self._context)
        for partition in self._next:
            await self._sink.assigned(partition)

    def prepare(self, ranges: int) -> int:
        """As many ranges for each partition."""
        topic = self._settings.topic("calls")
        for partition, first in self._next.items():
            self._work[partition] = []
            for begin in range(first, first + ranges * self._size, self._size):
                values = self._records.range(partition, begin)
                records = [KafkaRecord(offset, 0, None, value) for offset, value in enumerate(values, begin)]
                self._work[partition].append(Range(topic, partition, records, begin, begin + self._size))
            self._next[partition] = first + ranges * self._size
        return ranges * self._size * len(self._work)

    async def run(self) -> None:
        """Every range through `work`, and the last DONE of each partition."""
        await asyncio.gather(*(self._lane(partition, work) for partition, work in self._work.items()))

    async def _lane(self, partition: int, work: list[Range]) -> None:
        work.reverse()
        while work:
            await self._sink.work(work.pop())
        await self._sink.idle(partition, time.monotonic())


class Insert:
    """clickhouse-connect's `insert` with column types given, so that it asks the server nothing.

    Args:
        begins_with: `bytes`: it decodes records and makes tuples first; `tuples`: they are ready.
    """

    def __init__(self, settings: Settings, keys: Keys, records: Records, size: int, begins_with: str) -> None:
        self._settings, self._keys, self._records, self._size = settings, keys, records, size
        self._begins_with = begins_with
        self._next = 0
        self._work: list[Callable[[], tuple[list[Row], list[Row]]]] = []

    async def open(self) -> None:
        """Connect as a user on the same machine would: without compression, which costs more than it saves there."""
        settings = self._settings
        self._client = clickhouse_connect.get_client(
            host=settings.clickhouse_host, port=settings.clickhouse_port, username=settings.clickhouse_user,
            password=settings.password(), database=settings.database, compress=False, autogenerate_session_id=False,
            settings={"async_insert": 0}, pool_mgr=get_pool_manager(),
        )  # fmt: skip
        self._types = {
            name: [get_from_name(type_of(column)) for column in TABLES[name].columns]
            for name in ("call_content", "calls")
        }

    def prepare(self, ranges: int) -> int:
        """Ranges of one partition; what audit work gives of them is there before."""
        self._work = []
        for _ in range(ranges):
            values = self._records.range(OTHER_PARTITION, self._next)
            slots = [Slot(offset, _decode(value), 0) for offset, value in enumerate(values, self._next)]
            batch = build(slots, self._next, self._next + self._size, self._keys)
            text, calls = ({part.cell.table: part.rows for part in batch.parts}[name] for name in self._types)
            audit = [((row[7], row[8], row[-1]), (row[7], call[-1])) for row, call in zip(text, calls, strict=True)]
            work = partial(_tuples, values, audit)
            if self._begins_with == "tuples":
                ready = work()
                work = partial(lambda tuples: tuples, ready)
            self._work.append(work)
            self._next += self._size
        return ranges * self._size

    async def run(self) -> None:
        """One insert a table and range."""
        while self._work:
            made = self._work.pop(0)()
            for (name, types), rows in zip(self._types.items(), made, strict=True):
                self._client.insert(name, rows, TABLES[name].names, column_types=types)


def _tuples(values: list[bytes], audit: list[tuple[Row, Row]]) -> tuple[list[Row], list[Row]]:
    """Rows of both tables out of records' bytes."""
    cleans = [_decode(value) for value in values]
    return (
        [plain_content(clean, of) for clean, (of, _) in zip(cleans, audit, strict=True)],
        [plain_call(clean, of) for clean, (_, of) in zip(cleans, audit, strict=True)],
    )


async def serve(side: Side, servers: dict[str, int]) -> None:
    """Take orders until there are no more."""
    await side.open()
    records = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "prepare":
            records = side.prepare(order["ranges"])
            # What was prepared is none of a run's garbage: neither side's collector walks it.
            gc.collect()
            gc.freeze()
            answer: dict[str, float] = {"records": records}
        else:
            answer = await _measured(side.run, servers, records)
        print(json.dumps(answer), flush=True)


async def _measured(run: Callable[[], Awaitable[None]], servers: dict[str, int], records: int) -> dict[str, float]:
    before = {name: cpu_of(pid) for name, pid in servers.items()}
    ours, begun = cpu_s(), time.perf_counter()
    await run()
    wall, ours = time.perf_counter() - begun, cpu_s() - ours
    used = {name: cpu_of(pid) - before[name] for name, pid in servers.items()}
    used = {f"{name}_us": seconds / records * 1e6 for name, seconds in {"client": ours, **used}.items()}
    return {"records": records, "rows_per_s": records / wall, "cpu_us": sum(used.values()), **used}


def main() -> None:
    """Become one side."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=("ours", "bytes", "tuples"))
    parser.add_argument("--settings", type=json.loads)
    parser.add_argument("--servers", type=json.loads)
    parser.add_argument("--size", type=int)
    parser.add_argument("--chars", type=int)
    parser.add_argument("--partitions", type=int)
    asked = parser.parse_args()
    settings = Settings(**asked.settings, clickhouse_password=SecretStr(os.environ["BENCH_PASSWORD"]))
    keys = load_keys(settings)
    records = Records(keys, asked.size, asked.chars)
    side: Side = (
        Ours(settings, records, asked.size, asked.partitions)
        if asked.side == "ours"
        else Insert(settings, keys, records, asked.size, asked.side)
    )
    asyncio.run(serve(side, asked.servers))


if __name__ == "__main__":
    main()
