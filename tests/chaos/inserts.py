"""The proxy in front of ClickHouse: lets the sink's next inserts fail in a chosen way, and notes which they were."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from tests.chaos.proxy import CHUNK, Link, Proxy

# refused: answer 500 without asking the server; half: the server gets half of it; unanswered: it got and did all of
# it, but the answer is lost; sent: cut as soon as all is sent; late: it arrives after its deadline; full: answer what
# a server without disk space answers; held: its answer waits until `release`.
How = Literal["refused", "half", "unanswered", "sent", "late", "full", "held"]
_TOKEN = re.compile(rb"insert_deduplication_token=([^& ]+)")
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)", re.IGNORECASE)
LATE_S = 5.5


@dataclass(frozen=True)
class Failed:
    """One insert that was made to fail: how, and its token, which says range, table and partition."""

    how: How
    token: str


class InsertProxy(Proxy):
    """A proxy that understands so much HTTP as tells inserts apart.

    Attributes:
        script: What happens to the next inserts.
        failed: What happened so far.
    """

    def __init__(self, port: int, target: int) -> None:
        super().__init__(port, target)
        self.script: deque[How] = deque()
        self.failed: list[Failed] = []

    def heal(self) -> None:
        """Forward as if nothing were."""
        super().heal()
        self.script.clear()

    async def upstream(self, link: Link, reader: asyncio.StreamReader) -> None:
        """From the client to the server, request by request as far as inserts are concerned."""
        link.name = "http"
        while data := await reader.read(CHUNK):
            await self.hold(link)
            token = _TOKEN.search(data[:4096]) if data.startswith(b"POST ") and self.script else None
            if token is not None and self.script:
                how = self.script.popleft()
                self.failed.append(Failed(how, unquote(token.group(1).decode())))
                whole = data + await _rest(data, reader)
                await self._fail(link, how, whole)
                continue
            link.server.write(data)
            await link.server.drain()
        raise ConnectionResetError

    async def _fail(self, link: Link, how: How, request: bytes) -> None:
        if how in ("refused", "full"):
            code, said = (999, "chaos") if how == "refused" else (243, "Cannot reserve 1.00 MiB, not enough space")
            body = f"Code: {code}. DB::Exception: {said}. (CHAOS)\n".encode()
            head = f"HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: {code}\r\nConnection: close\r\n"
            link.client.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await link.client.drain()
            link.client.close()
            raise ConnectionResetError
        if how == "half":
            link.server.write(request[: len(request) // 2])
            await link.server.drain()
            raise ConnectionResetError
        if how == "held":
            link.held = True
            link.server.write(request)
            await link.server.drain()
            return
        if how == "late":
            await asyncio.sleep(LATE_S)
        if how == "unanswered":
            link.tasks[1].cancel()
        link.server.write(request)
        await link.server.drain()
        if how == "unanswered":
            # The server answers only when the insert is over.
            await asyncio.sleep(0.5)
        if how in ("unanswered", "sent"):
            raise ConnectionResetError


async def _rest(data: bytes, reader: asyncio.StreamReader) -> bytes:
    """What is still to come of a request of which `data` has come."""
    head, found, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not found or length is None:
        return b""
    missing = int(length.group(1)) - len(body)
    return await reader.readexactly(missing) if missing > 0 else b""
