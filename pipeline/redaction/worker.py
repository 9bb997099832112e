"""The program of a worker process: `python -m pipeline.redaction.worker FD PARENT`. Ends with its channel or parent.

It reads texts from an inherited socket, judges them with an engine and answers with spans. It writes nothing anywhere
else: after start-up its error output goes nowhere, and it leaves no core file, because both could hold text.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from typing import Final

from pipeline.redaction.frames import Ask, Deadline, Hello, Start, WireAnswer, receive, send

_PR_SET_PDEATHSIG: Final = 1
_FOREVER: Final = Deadline(None)


def main(fd: int, parent: int) -> None:
    """Serve the channel until it is closed.

    Args:
        fd: number of the inherited socket.
        parent: process id of the one who started us.
    """
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides about our end
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=fd)
    start: Start = receive(channel, Start, _FOREVER)
    config = start.config
    with contextlib.suppress(OSError):
        os.nice(config.nice)
    try:
        from pipeline.redaction.engine import Engine  # slow and able to fail, so only now

        engine = Engine(config, start.database or None)
    except Exception as error:
        send(channel, Hello(error=f"{error}" or type(error).__name__), _FOREVER)
        return
    silence()
    send(channel, Hello(manifest=engine.manifest, sieve=engine.sieve()), _FOREVER)
    while True:
        ask: Ask = receive(channel, Ask, _FOREVER)
        answers: list[WireAnswer] = [
            a if isinstance(a, str) else [(f.entity, f.start, f.end, f.score) for f in a]
            for a in engine.find(ask.texts, ask.names)
        ]
        send(channel, answers, _FOREVER)


def die_with(parent: int) -> None:
    """Have the kernel end us with our parent (Linux); elsewhere the closed channel does, once we look at it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(0)


def silence() -> None:
    """Send the error output nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    with contextlib.suppress(EOFError, OSError):
        main(int(sys.argv[1]), int(sys.argv[2]))
