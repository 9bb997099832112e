"""Messages between a redactor and its worker process: a length of four bytes, then MessagePack. Typed on both ends."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any, Final

import msgspec

from pipeline.redaction.values import RedactionConfig

_LENGTH: Final = struct.Struct(">I")
_MAX_BYTES: Final = 256 * 1024 * 1024

WireFinding = tuple[str, int, int, float]
"""Entity, start, end, score."""

WireAnswer = list[WireFinding] | str
"""Findings of a text, or the reason code of a failure."""


class Start(msgspec.Struct, frozen=True):
    """What a worker is told first: how to redact, and the gates of an equal engine, compiled before."""

    config: RedactionConfig
    database: bytes = b""


class Hello(msgspec.Struct, frozen=True):
    """What a worker says first: the engine's manifest, or why there is no engine.

    `sieve` answers for the worker where it has nothing to find; empty if some recogniser can find anything.
    """

    manifest: str = ""
    error: str = ""
    sieve: bytes = b""


class Ask(msgspec.Struct, frozen=True):
    """Texts to judge; `names` says whether the model is asked."""

    texts: list[str]
    names: bool = True


class Deadline:
    """A point in time that several waits share."""

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def left_s(self) -> float | None:
        """Seconds left, or None for an endless wait.

        Raises:
            TimeoutError: if none are left.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def send(channel: socket.socket, message: Any, deadline: Deadline) -> None:
    """Send one message.

    Raises:
        TimeoutError: if the other end does not take it in time.
        OSError: if the other end is gone.
    """
    payload = msgspec.msgpack.encode(message)
    channel.settimeout(deadline.left_s())
    channel.sendall(_LENGTH.pack(len(payload)) + payload)


def receive(channel: socket.socket, kind: Any, deadline: Deadline) -> Any:
    """Receive one message of the given type.

    Raises:
        TimeoutError: if it does not come in time.
        EOFError: if the other end is gone or out of its mind.
        OSError: if it is gone.
        msgspec.DecodeError: if it is something else.
    """
    (size,) = _LENGTH.unpack(_read(channel, _LENGTH.size, deadline))
    if size > _MAX_BYTES:
        raise EOFError
    return msgspec.msgpack.decode(_read(channel, size, deadline), type=kind)


def _read(channel: socket.socket, size: int, deadline: Deadline) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        channel.settimeout(deadline.left_s())
        count = channel.recv_into(view)
        if count == 0:
            raise EOFError
        view = view[count:]
    return data
