"""Free ports on loopback, outside the range the kernel gives to outgoing connections.

A port out of the ephemeral range can be taken by anybody's outgoing connection while a server is down, and then a
restart on the same port fails; so the choice is made below it.
"""

from __future__ import annotations

import random
import socket

from infra.embedded.errors import PortTaken

HOST = "127.0.0.1"
LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As Java and ClickHouse do: a port in TIME_WAIT after a restart is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def require_free(port: int, *, what: str) -> int:
    """Return `port`, which somebody asked for by number.

    Raises:
        PortTaken: if another process listens there.
    """
    if not is_free(port):
        raise PortTaken(f"Port {port} for {what} is in use by another process. Stop that one or choose another port.")
    return port


def pick(preferred: int | None, *, but_not: frozenset[int] = frozenset()) -> int:
    """Return `preferred` when it is free, else some free port.

    Args:
        preferred: the port used last time, if any.
        but_not: ports that are already promised to somebody else.

    Raises:
        PortTaken: if hardly any port is free.
    """
    if preferred is not None and preferred not in but_not and is_free(preferred):
        return preferred
    for _ in range(200):
        port = random.randrange(LOWEST, HIGHEST)
        if port not in but_not and is_free(port):
            return port
    raise PortTaken(f"No free port was found on {HOST} between {LOWEST} and {HIGHEST}.")
