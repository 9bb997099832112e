"""A small TCP proxy that can cut, refuse, delay and stall connections: all of them, or those of some clients.

Runs in a thread of its own. Knows of Kafka only that a client's first request names the client; what stands in requests
to ClickHouse is the business of `inserts`.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from dataclasses import dataclass, field

CHUNK = 1 << 18


@dataclass(eq=False)
class Link:
    """One connection: who made it (its first bytes say), and both its ends."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    name: str = ""
    held: bool = False  # nothing comes back until it is released
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def close(self) -> None:
        """Reset both ends, at once."""
        for writer in (self.client, self.server):
            with contextlib.suppress(Exception):
                writer.transport.abort()


class Proxy:
    """Forwards `port` to `target`, both on loopback.

    Attributes:
        refusing: New connections are reset.
        delay_s: Every chunk waits so long.
        stalled: Nothing is forwarded.
        only: Delays and stalls only links whose name holds this; empty: all.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port, self.target = port, target
        self.refusing, self.stalled, self.delay_s, self.only = False, False, 0.0, ""
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Close everything."""
        if self._server is None:
            return
        self.cut()
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def cut(self, only: str = "") -> int:
        """Reset the links whose name holds `only`; returns how many there were."""
        return asyncio.run_coroutine_threadsafe(self._cut(only), self._loop).result(10)

    def release(self) -> None:
        """Let what was held come back."""
        for link in list(self._links):
            link.held = False

    def heal(self) -> None:
        """Forward as if nothing were."""
        self.release()
        self.refusing, self.stalled, self.delay_s, self.only = False, False, 0.0, ""

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _cut(self, only: str) -> int:
        links = [link for link in self._links if only in link.name]
        for link in links:
            link.close()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target, limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, to_server)
        self._links.add(link)
        try:
            async with asyncio.TaskGroup() as both:
                link.tasks = [
                    both.create_task(self.upstream(link, reader)),
                    both.create_task(self.downstream(link, from_server)),
                ]
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            link.close()

    async def upstream(self, link: Link, reader: asyncio.StreamReader) -> None:
        """From the client to the server."""
        while data := await reader.read(CHUNK):
            if not link.name:
                link.name = client_id(data)
            await self.hold(link)
            link.server.write(data)
            await link.server.drain()
        raise ConnectionResetError

    async def downstream(self, link: Link, reader: asyncio.StreamReader) -> None:
        """From the server to the client."""
        while data := await reader.read(CHUNK):
            await self.hold(link)
            while link.held:  # noqa: ASYNC110 - released by another thread
                await asyncio.sleep(0.005)
            link.client.write(data)
            await link.client.drain()
        raise ConnectionResetError

    async def hold(self, link: Link) -> None:
        """Wait as long as this link is delayed or stalled."""
        if self.only in link.name:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            while self.stalled and self.only in link.name:  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.02)


def client_id(data: bytes) -> str:
    """The client id in a Kafka request's header (size, key, version, correlation, then a short string)."""
    if len(data) < 14:
        return "?"
    (length,) = struct.unpack_from(">h", data, 12)
    return data[14 : 14 + length].decode(errors="replace") if 0 < length <= 200 else "?"
