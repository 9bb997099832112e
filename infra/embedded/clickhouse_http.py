"""One query over HTTP with nothing but the standard library, for starting and stopping the server."""

from __future__ import annotations

import base64
import http.client

from infra.embedded.ports import HOST


def ask(port: int, user: str, password: str, query: str, *, limit_s: float = 5.0) -> bytes:
    """Send one query and return the body of the answer, an error's text included.

    Raises:
        OSError: if nothing answers.
        http.client.HTTPException: if what answers is no HTTP server.
    """
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Connection": "close"}
    connection = http.client.HTTPConnection(HOST, port, timeout=limit_s)
    try:
        connection.request("POST", "/", body=query.encode(), headers=headers)
        return connection.getresponse().read()
    finally:
        connection.close()
